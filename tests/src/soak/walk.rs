//! The walk: seeded steps over one cluster, one after the other.

use super::runner::Runner;
use super::server::Server;
use super::step;
use super::{ABOVE, ABOVE_HOME, HOME, NOWHERE, TENANT};
use crate::kubectl::Kubectl;
use crate::platform;
use anyhow::{Context as _, Result};
use std::time::Instant;

/// The tenants of the soak, one below the other, and a site that no pod can run on.
fn tenants() -> String {
    let quota = "{instances: 100, cpu: \"100\", memory: 200Gi, storage: 1Ti, monthlyCost: {amount: \"8000.00\", currency: MAD}}";
    let tenant = |name: &str, more: &str, namespace: &str| {
        format!(
            "apiVersion: siyada.cloud/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  kind: Agency\n  namespaces: \
             [{namespace}]\n  dataClassification: Internal\n  quota: {quota}\n{more}---\n"
        )
    };
    // A role above holds below too.
    let reader =
        format!("  access: [{{role: finance, groups: [\"system:serviceaccounts:{ABOVE_HOME}\"]}}]\n");
    format!(
        "{}{}apiVersion: siyada.cloud/v1alpha1\nkind: Site\nmetadata: {{name: {NOWHERE}}}\nspec:\n  country: MA\n  operatingBody: \
         Nobody\n  qualification: No node is here\n  dataClassification: Internal\n  storageClass: siyada-local\n  nodeSelector: \
         {{siyada.cloud/soak: nowhere}}\n",
        tenant(ABOVE, &reader, ABOVE_HOME),
        tenant(TENANT, &format!("  parent: {ABOVE}\n"), HOME)
    )
}

/// Installs the platform and sets the soak's tenants up.
///
/// # Errors
/// Says what does not work.
pub async fn set_up() -> Result<Server> {
    platform::install().await?;
    platform::wait_until_it_works().await?;
    platform::set_up().await?;
    let admin = Kubectl::admin();
    admin.apply(&tenants()).await?;
    for tenant in [ABOVE, TENANT] {
        platform::ready(&admin, "tenant", "default", tenant, 120).await?;
    }
    let reader = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: reader, namespace: {ABOVE_HOME}}}\n"
    );
    admin.apply(&reader).await?;
    Server::new().await
}

/// Walks the steps of a part, from an empty world back to an empty world. Stops before a step when `more` says so. Answers
/// with how many steps were walked.
///
/// # Errors
/// Says which step failed, and how.
pub async fn walk(
    runner: &mut Runner,
    seed: u64,
    part: &str,
    count: usize,
    more: impl Fn() -> bool,
) -> Result<usize> {
    runner.walked = 0;
    for (index, step) in step::walk(seed, part, count).into_iter().enumerate() {
        if !more() {
            break;
        }
        let started = Instant::now();
        println!("{part} step {index}: {step}");
        let outcome = runner.step(&step).await;
        println!("{part} step {index} took {:.1} s", started.elapsed().as_secs_f64());
        outcome.with_context(|| format!("{part} step {index}"))?;
        runner.count("steps of the walk", 1);
        runner.walked += 1;
    }
    runner.end().await.with_context(|| format!("{part}, the end"))?;
    Ok(runner.walked)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tenants_are_yaml_that_kubectl_reads() {
        let text = super::tenants();
        assert_eq!(text.split("---\n").count(), 3);
        assert!(text.contains("  parent: soak\n") && !text.contains("\t"));
    }
}
