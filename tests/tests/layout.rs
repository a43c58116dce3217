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
    never("siyada-documents", &["tokio", "sqlx", "reqwest", "siyada-crds", "siyada-api", "siyada-operator"]);
}

#[test]
fn only_one_part_of_the_operator_writes_to_the_cluster() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("operator/src");
    let mut folders = vec![sources];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            read += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            // `LedgerClient::delete` speaks to the ledger.
            let writes = ["Patch::", "PostParams", "DeleteParams", ".patch(", ".patch_status(", ".create("];
            let found = writes.iter().find(|write| text.contains(**write));
            let may =
                path.ends_with("apply.rs") || path.parent().is_some_and(|folder| folder.ends_with("apply"));
            assert!(may || found.is_none(), "{} has {found:?}: writing is for apply", path.display());
        }
    }
    assert!(read > 20, "only {read} files were read");
}
