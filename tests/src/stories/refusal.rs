//! What is refused, and how.

use super::{DISPOSABLE, HOME, advice, postgres};
use crate::kubectl::Kubectl;
use crate::platform::Api;
use crate::wait::{eventually, seconds};
use anyhow::{Result, ensure};
use serde_json::json;

/// Bad input gets a sentence at `kubectl apply`.
pub async fn wrong_orders() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    let order = |more: &str| {
        format!(
            "apiVersion: siyada.cloud/v1alpha1\nkind: PostgresInstance\nmetadata: {{name: wrong, namespace: {HOME}}}\nspec: {{{more}}}\n"
        )
    };
    let cases: [(&str, &[&str]); 11] = [
        ("plan: huge, version: '15', dataClassification: Internal", &["there is no plan \"huge\"", "dev"]),
        (
            "plan: dev, version: '9.6', dataClassification: Internal",
            &["version \"9.6\" cannot be ordered", "15"],
        ),
        (
            "plan: small, version: '15', storage: 1Gi, dataClassification: Internal",
            &["outside of plan small", "5Gi"],
        ),
        ("plan: dev, version: '15', storage: 0, dataClassification: Internal", &["storage"]),
        (
            "plan: dev, version: '15', storage: 10GB, dataClassification: Internal",
            &["size greater than zero, like 10Gi"],
        ),
        ("plan: dev, version: '15', dataClassification: Restricted", &["class Restricted", "Confidential"]),
        ("plan: dev, version: '15'", &["dataClassification"]),
        (
            "plan: dev, version: '15', dataClassification: Internal, site: atlantis",
            &["no site \"atlantis\"", "rabat"],
        ),
        (
            "plan: dev, version: '15', dataClassification: Internal, highAvailability: true",
            &["has no standbys"],
        ),
        (
            "plan: dev, version: '15', dataClassification: Internal, parameters: [{name: shared_preload_libraries, value: x}]",
            &["cannot be set", "work_mem"],
        ),
        (
            "plan: dev, version: '15', dataClassification: Internal, maxMonthlyCost: {amount: '10', currency: MAD}",
            &["above maxMonthlyCost 10.00 MAD"],
        ),
    ];
    for (spec, texts) in cases {
        advice::refused(&ministry, &order(spec), texts).await?;
    }
    let long = postgres(HOME, &"a".repeat(31), "");
    ministry.refused(&long, &["at most 30 characters"]).await?;
    let large = crate::platform::file("examples/ministry/too-large.yaml")?;
    let texts = ["monthlyCost of tenant interior", "asked", "free", "MAD/month"];
    advice::refused(&ministry, &large, &texts).await?;
    let admin = Kubectl::admin();
    let nobody = postgres("default", "stray", "");
    advice::refused(&admin, &nobody, &["namespace default belongs to no tenant"]).await?;
    admin.apply(POORER).await?;
    let open = order("plan: dev, version: '15', dataClassification: Internal, site: open-data");
    let free = order("offering: unpriced, plan: free, version: '15', dataClassification: Internal");
    // The operator hears of both within a moment.
    eventually(seconds(30), "what the site and the prices lack to be told", || async {
        let texts = ["may not be held by site open-data", "choose another site"];
        advice::refused(&ministry, &open, &texts).await?;
        advice::refused(&ministry, &free, &["no price for nowhere", "publish a price list"]).await
    })
    .await?;
    admin.run(&["delete", "site/open-data", "serviceoffering/unpriced"]).await?;
    smaller(&ministry).await
}

/// A site for public data only, and a plan without a price.
const POORER: &str = "apiVersion: siyada.cloud/v1alpha1
kind: Site
metadata: {name: open-data}
spec: {country: MA, operatingBody: Agence, qualification: aucune, dataClassification: Public, storageClass: siyada-local}
---
apiVersion: siyada.cloud/v1alpha1
kind: ServiceOffering
metadata: {name: unpriced}
spec:
  engine: PostgreSQL
  versions: [{version: '15', image: 'localhost/postgresql:15'}]
  plans: [{name: free, cpu: 200m, memory: 384Mi, storage: 1Gi, maximumStorage: 2Gi, computeSku: nowhere, storageSku: volume}]
";

/// Storage never shrinks: not by its own field, nor by a smaller plan, which keeps the size.
async fn smaller(ministry: &Kubectl) -> Result<()> {
    let with = |plan: &str, storage: &str| {
        postgres(HOME, "shrinking", &format!("suspend: true, {storage}{DISPOSABLE}"))
            .replace("plan: dev", &format!("plan: {plan}"))
    };
    ministry.apply(&with("small", "")).await?;
    let held = |size: &'static str| async move {
        let order = ministry.get("pgi", HOME, "shrinking").await?.unwrap_or_default();
        let told = order.pointer("/status/storage").and_then(|v| v.as_str()).map(str::to_owned);
        ensure!(told.as_deref() == Some(size), "{told:?}");
        Ok(())
    };
    eventually(seconds(60), "5Gi to be held", || held("5Gi")).await?;
    advice::edit_refused(ministry, &with("dev", "storage: 2Gi, "), &["never shrink: it has 5Gi"]).await?;
    ministry.apply(&with("dev", "storage: 6Gi, ")).await?;
    eventually(seconds(60), "6Gi to be held", || held("6Gi")).await?;
    ministry.refused(&with("dev", "storage: 5Gi, "), &["storage can grow but never shrink"]).await?;
    ministry.refused(&with("dev", ""), &["storage cannot be removed"]).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "shrinking", "--wait=false"]).await?;
    crate::platform::gone("pgi", HOME, "shrinking", 120).await
}

/// Who ordered is stamped; engine namespaces and other tenants are out of reach.
pub async fn forgery() -> Result<()> {
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    let yaml = postgres(HOME, "forged", "suspend: true, deletionProtection: false, onDeletion: Delete")
        .replace(
            "namespace: interior-apps",
            "namespace: interior-apps, annotations: {siyada.cloud/requester: the-minister}",
        );
    ministry.apply(&yaml).await?;
    let order = ministry.get("pgi", HOME, "forged").await?.unwrap_or_default();
    let requester = order.pointer("/metadata/annotations/siyada.cloud~1requester").and_then(|v| v.as_str());
    ensure!(requester == Some("system:serviceaccount:interior-apps:ministry-it"), "stamped {requester:?}");
    let tries = [
        json!({"metadata": {"annotations": {"siyada.cloud/requester": "the-minister"}}}),
        json!({"metadata": {"finalizers": []}}),
        json!({"metadata": {"labels": {"siyada.cloud/tenant": "health"}}}),
    ];
    let admin = Kubectl::admin();
    eventually(seconds(30), "the finalizer", || async {
        let order = admin.get("pgi", HOME, "forged").await?.unwrap_or_default();
        ensure!(order.pointer("/metadata/finalizers/0").is_some(), "not there yet");
        Ok(())
    })
    .await?;
    for patch in tries {
        ensure!(ministry.patch("pgi", HOME, "forged", &patch).await.is_err(), "this was accepted: {patch}");
    }
    for arguments in [
        vec!["-n", "siyada-t-interior", "get", "secrets"],
        vec!["-n", "siyada-t-interior", "get", "clusters"],
        vec!["-n", "health-apps", "get", "pgi"],
        vec!["get", "tenants"],
    ] {
        ensure!(
            ministry.run(&arguments).await.is_err(),
            "a ministry may not: kubectl {}",
            arguments.join(" ")
        );
    }
    // Somebody with full rights in the cluster's RBAC, yet not break-glass, is held by the policy.
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: evil, namespace: siyada-t-interior}\n";
    admin
        .run(&[
            "create",
            "clusterrolebinding",
            "story-forgery",
            "--clusterrole=cluster-admin",
            "--user=story-admin",
        ])
        .await?;
    let printed = admin.try_with(&["--as=story-admin", "apply", "-f", "-"], secret).await;
    admin.run(&["delete", "clusterrolebinding", "story-forgery"]).await?;
    let printed = printed?;
    ensure!(!printed.ok && printed.err.contains("belongs to the platform"), "{}", printed.err);

    let api = Api::service_account(HOME, "ministry-it").await?;
    api.read("/v1/tenants/interior/quota").await?;
    let (other, body) = api.get("/v1/tenants/health/quota").await?;
    let (absent, nothing) = api.get("/v1/tenants/nothing/quota").await?;
    ensure!(other == 404 && absent == 404, "another tenant answers {other}, absence {absent}");
    ensure!(body == nothing, "{body} is not {nothing}");
    ministry.run(&["-n", HOME, "delete", "pgi", "forged", "--wait=false"]).await?;
    crate::platform::gone("pgi", HOME, "forged", 120).await
}
