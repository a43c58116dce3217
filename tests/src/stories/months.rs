//! Months: opened by national finance, closed by nobody before they are over.

use crate::kubectl::Kubectl;
use crate::platform::{Api, read_example};
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

/// National finance puts on record who bills; the month of now is open from then on, says why it does not close yet, and
/// a ministry can neither close it nor bill.
pub async fn months() -> Result<()> {
    let admin = Kubectl::admin();
    admin.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: siyada-finance}\n").await?;
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: national-finance, namespace: siyada-finance}\n";
    admin.apply(account).await?;
    let finance = Api::service_account("siyada-finance", "national-finance").await?;
    let issuer: Value = serde_json::from_str(&read_example("finance/issuer.json")?)?;
    let (status, stored) = finance.send(Method::PUT, "/v1/issuer", &issuer).await?;
    ensure!(status == 200 && stored == issuer, "{status} {stored}");
    let buyer: Value = serde_json::from_str(&read_example("finance/account-interior.json")?)?;
    let (status, stored) = finance.send(Method::PUT, "/v1/accounts/1.2.10", &buyer).await?;
    ensure!(status == 200, "{status} {stored}");

    let months = finance.read("/v1/periods").await?;
    let last = months["items"].as_array().and_then(|all| all.last()).context("no month is open")?;
    let at = |key: &str| last[key].as_str().unwrap_or_default().parse::<Timestamp>();
    let now = Timestamp::now();
    ensure!(at("start")? <= now && now < at("end")?, "it is {now}, and {last} is open");
    let path = format!("/v1/periods/{}/closing", last["month"].as_str().unwrap_or_default());
    for method in [Method::GET, Method::POST] {
        let (status, closing) = finance.send(method, &path, &json!({})).await?;
        ensure!(status == 200 && closing["closed"] == json!(false), "{status} {closing}");
        let reasons = closing["blockers"].as_array().map(Vec::as_slice).unwrap_or_default();
        ensure!(reasons.iter().any(|blocker| blocker["reason"] == "notOver"), "{closing}");
    }
    let key = finance.read("/v1/signing-key").await?;
    ensure!(key["algorithm"] == "Ed25519", "{key}");

    let ministry = Api::service_account("interior-apps", "default").await?;
    for (method, path) in [(Method::POST, path.as_str()), (Method::PUT, "/v1/issuer")] {
        let (status, problem) = ministry.send(method, path, &issuer).await?;
        ensure!(status == 403, "{status} {problem}");
    }
    let documents = ministry.read("/v1/tenants/interior/statements").await?;
    ensure!(documents["items"] == json!([]), "{documents}");
    Ok(())
}
