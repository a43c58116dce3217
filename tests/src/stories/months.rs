//! Months: opened by national finance, closed by nobody before they are over.

use crate::kubectl::Kubectl;
use crate::platform::{Api, read_example};
use crate::wait::{eventually, seconds};
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
    let month = last["month"].as_str().unwrap_or_default();
    of_the_nation(&finance, &ministry, month).await?;
    eventually(seconds(90), "metering to be in order", || in_order(&finance)).await
}

/// What all tenants used so far comes as one file that proves itself whole; a ministry does not get it.
async fn of_the_nation(finance: &Api, ministry: &Api, month: &str) -> Result<()> {
    let path = format!("/v1/usage/export?period={month}&format=ndjson");
    let file = finance.text(&path).await?;
    let (rows, end) = file.trim_end().rsplit_once('\n').context("the stories before used nothing")?;
    let end: Value = serde_json::from_str(end)?;
    let count = rows.lines().count();
    ensure!(end["rows"].as_u64() == u64::try_from(count).ok() && count > 0, "{count} rows, and {end}");
    let row: Value = serde_json::from_str(rows.lines().next().unwrap_or_default())?;
    ensure!(row["payer"].is_string(), "{row}");
    let (status, problem) = ministry.get(&path).await?;
    ensure!(status == 403, "{status} {problem}");
    Ok(())
}

/// After all that the stories before did to the platform, collectors report, what is used has a price, and chains hold.
async fn in_order(finance: &Api) -> Result<()> {
    let health = finance.read("/v1/health/metering").await?;
    let checks = health["checks"].as_array().context("no checks")?;
    let names =
        ["watermarkStandsStill", "totalsStopped", "intervalWithoutPrice", "chainBroken", "closingBlocked"];
    for name in names {
        let check =
            checks.iter().find(|check| check["check"] == name).with_context(|| format!("no {name}"))?;
        ensure!(check["ok"] == json!(true), "{check}");
    }
    Ok(())
}
