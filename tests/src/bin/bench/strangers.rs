//! What the operator's memory does when others fill the cluster.

use crate::bare::{Bare, ORDERS, all, order};
use crate::{NAMESPACE, operator_mib, row};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use siyada_tests::wait::{eventually, seconds};

/// Objects of each kind; half in a namespace that is nobody's, half in a tenant's own, where the operator reads Secrets.
const EACH: usize = 300;
/// Bytes of an object: an API server takes no more than 1 MiB of data in either kind.
const BYTES: usize = 1_000_000;
const ELSEWHERE: &str = "strangers";

/// Memory before, beside and after the strangers.
pub async fn memory(bare: &Bare) -> Result<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}});
    bare.create("/api/v1/namespaces", &namespace).await?;
    awake(bare, "before").await?;
    let before = operator_mib()?;
    all(EACH, |index| create(bare, "configmaps", "ConfigMap", index)).await?;
    all(EACH, |index| create(bare, "secrets", "Secret", index)).await?;
    awake(bare, "beside").await?;
    let beside = operator_mib()?;
    for kind in ["configmaps", "secrets"] {
        all(EACH, |index| async move { bare.delete(&path(kind, index)).await }).await?;
    }
    awake(bare, "after").await?;
    let after = operator_mib()?;
    row(
        &format!(
            "operator memory, MiB, before / beside / after {EACH} ConfigMaps and {EACH} Secrets of 1 MB that are not ours; goal: no more"
        ),
        &format!("{before} / {beside} / {after}"),
    );
    Ok(json!([before, beside, after]))
}

fn place(index: usize) -> &'static str {
    if index.is_multiple_of(2) { ELSEWHERE } else { NAMESPACE }
}

fn path(kind: &str, index: usize) -> String {
    format!("/api/v1/namespaces/{}/{kind}/stranger-{index}", place(index))
}

async fn create(bare: &Bare, kind: &str, name: &str, index: usize) -> Result<()> {
    let mut body =
        json!({"apiVersion": "v1", "kind": name, "metadata": {"name": format!("stranger-{index}")}});
    // The text of a Secret is written beside its data, and stored as the same bytes as a ConfigMap's.
    let field = if name == "Secret" { "stringData" } else { "data" };
    body[field] = json!({"text": "x".repeat(BYTES)});
    bare.create(&format!("/api/v1/namespaces/{}/{kind}", place(index)), &body).await
}

/// The operator has seen what came before: a new order went through all of it.
async fn awake(bare: &Bare, name: &str) -> Result<()> {
    let name = format!("stranger-{name}");
    bare.create(ORDERS, &order(&name)).await?;
    eventually(seconds(60), "the operator to plan an order", || async {
        let order = bare.read(&format!("{ORDERS}/{name}")).await?;
        ensure!(order.pointer("/status/engineRef").is_some(), "it does not know its engine object");
        Ok(())
    })
    .await
}
