//! Which crate may use which: the invariants of ARCHITECTURE.md, read from Cargo itself.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

fn dependencies(of: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Command::new(cargo).args(arguments).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|p| p["name"] == of).unwrap();
    let real = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
    real.map(|d| d["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let never = |of: &str, forbidden: &[&str]| {
        let used = dependencies(of);
        for name in forbidden {
            assert!(!used.contains(*name), "{of} must not depend on {name}");
        }
    };
    never(
        "siyada-model",
        &["tokio", "kube", "sqlx", "reqwest", "rand", "siyada-crds", "siyada-api", "siyada-operator"],
    );
    never("siyada-crds", &["tokio", "sqlx", "reqwest", "siyada-operator", "siyada-api"]);
    never("siyada-operator", &["sqlx", "siyada-api"]);
    never("siyada-api", &["kube", "siyada-crds", "siyada-operator"]);
}
