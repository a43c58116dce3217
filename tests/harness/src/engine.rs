//! The database engine: CloudNativePG's own release manifest, with our image in it.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::binaries::{Binaries, ENGINE_VERSION};
use crate::command::{feed, output, succeeds, wait_until};
use crate::exec::kubectl;
use crate::images;
use crate::place::Place;

const NAMESPACE: &str = "cnpg-system";
const DEPLOYMENT: &str = "deploy/cnpg-controller-manager";

/// Applies the manifest; without a node only its resource definitions.
pub fn apply(place: &Place, binaries: &Binaries, node: bool) -> Result<()> {
    let path = binaries.path("engine.yaml");
    let manifest = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let manifest = with_our_image(&manifest);
    let manifest = if node { manifest } else { definitions(&manifest) };
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=harness", "-f", "-"];
    feed(kubectl(place, binaries).args(apply), &manifest).context("failed to install CloudNativePG")?;
    Ok(())
}

/// Waits until the operator answers. Fails with its pods and the end of its log.
pub fn wait(place: &Place, binaries: &Binaries) -> Result<()> {
    let ask = ["wait", "--for=condition=Available", DEPLOYMENT, "--timeout=1s"];
    if wait_until(120, || succeeds(kubectl(place, binaries).args(["-n", NAMESPACE]).args(ask))) {
        return Ok(());
    }
    let show = |arguments: &[&str]| {
        output(kubectl(place, binaries).args(["-n", NAMESPACE]).args(arguments)).unwrap_or_default()
    };
    bail!(
        "gave up waiting 120 s for CloudNativePG; `harness kubectl{} -n {NAMESPACE} describe pods` says more\n{}{}",
        place.flag(),
        show(&["get", "pods", "-o", "wide"]),
        show(&["logs", DEPLOYMENT, "--tail=8"]),
    )
}

fn with_our_image(manifest: &str) -> String {
    let theirs = format!("ghcr.io/cloudnative-pg/cloudnative-pg:{ENGINE_VERSION}");
    manifest
        .replace(&theirs, &images::engine_image())
        .replace("imagePullPolicy: Always", "imagePullPolicy: IfNotPresent")
}

fn definitions(manifest: &str) -> String {
    let is_definition = |part: &&str| part.lines().any(|line| line == "kind: CustomResourceDefinition");
    manifest.split("\n---\n").filter(is_definition).collect::<Vec<_>>().join("\n---\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_node_only_definitions_remain() {
        let manifest = "kind: CustomResourceDefinition\na: 1\n---\nkind: Deployment\nx:\n  kind: CustomResourceDefinition\n---\nkind: CustomResourceDefinition\nb: 1\n";
        let kept = definitions(manifest);
        assert!(kept.contains("a: 1") && kept.contains("b: 1") && !kept.contains("Deployment"), "{kept}");
    }

    #[test]
    fn no_image_is_pulled_from_outside() {
        let manifest = format!(
            "image: ghcr.io/cloudnative-pg/cloudnative-pg:{ENGINE_VERSION}\nimagePullPolicy: Always\n"
        );
        let ours = with_our_image(&manifest);
        assert!(
            ours.contains("image: localhost/") && !ours.contains("Always") && !ours.contains("ghcr.io"),
            "{ours}"
        );
    }
}
