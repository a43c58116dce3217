//! The ledger itself: archived to the harness's object store, and restored to a moment while services run.

use super::{DISPOSABLE, HOME};
use crate::clients::{self, Binding};
use crate::kubectl::Kubectl;
use crate::platform::{self, Api, SYSTEM, gone, helm, object_store, ready, uid};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The bucket of the ledger's archive.
const BUCKET: &str = "story-ledger";
/// Makes it, with the engine's own library from the ledger's own pod.
const MAKE: &str = r#"
import boto3, sys
from botocore.config import Config
endpoint, key, secret, bucket = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, verify=False, aws_access_key_id=key, aws_secret_access_key=secret,
    region_name="us-east-1", config=Config(s3={"addressing_style": "path"}))
if bucket not in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket=bucket)
"#;

/// What was acknowledged after the moment is lost; nobody is served before that is declared; then every reservation is held
/// again, every span that was lost is a gap, and no service noticed.
pub async fn restored() -> Result<()> {
    let (admin, ministry) = (Kubectl::admin(), Kubectl::service_account(HOME, "ministry-it").await?);
    admin.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: siyada-finance}\n").await?;
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: national-finance, namespace: siyada-finance}\n";
    admin.apply(account).await?;
    back_up(&admin).await?;
    restarted(&admin).await?;
    let early = ordered(&ministry, "early").await?;
    let moment = sql(
        &admin,
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    )
    .await?;
    let late = ordered(&ministry, "late").await?;
    archived(&admin).await?;
    let outcome = async {
        restore(&admin, &moment).await?;
        declared(&admin).await?;
        proved_again(&[&early, &late]).await?;
        for name in ["early", "late"] {
            ready(&ministry, "pgi", HOME, name, 60).await?;
            let binding = Binding::read(&ministry, HOME, &format!("{name}-postgresql")).await?;
            clients::postgres(&binding).await?.batch_execute("select 1").await?;
        }
        Ok::<_, anyhow::Error>(())
    }
    .await;
    // Whatever became of it, the other stories find the ledger that they know.
    platform::install().await?;
    // A collector that runs on would tell the ledger that it knew of a clock that jumped.
    admin.run(&["-n", SYSTEM, "rollout", "restart", "deployment/siyada-operator"]).await?;
    platform::wait_until_it_works().await?;
    let second =
        ["-n", SYSTEM, "delete", "cluster.postgresql.cnpg.io", "siyada-ledger-2", "--ignore-not-found"];
    admin.run(&second).await?;
    outcome?;
    for name in ["early", "late"] {
        ministry.run(&["-n", HOME, "delete", "pgi", name, "--wait=false"]).await?;
        gone("pgi", HOME, name, 180).await?;
    }
    Ok(())
}

/// An order that is ready, and its uid.
async fn ordered(ministry: &Kubectl, name: &str) -> Result<String> {
    ministry.apply(&super::postgres(HOME, name, DISPOSABLE)).await?;
    let order = ready(ministry, "pgi", HOME, name, 240).await?;
    let uid = uid(&order)?;
    eventually(seconds(60), "its compute to be metered", || async {
        let finance = Api::service_account("siyada-finance", "national-finance").await?;
        let path = format!(
            "/v1/tenants/interior/intervals?from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&orderUid={uid}"
        );
        let found = finance.read(&path).await?;
        ensure!(found["items"].as_array().is_some_and(|all| !all.is_empty()), "{found}");
        Ok(())
    })
    .await?;
    Ok(uid)
}

/// What the ledger's first database answers.
async fn sql(admin: &Kubectl, sql: &str) -> Result<String> {
    let words = ["psql", "-qAtX", "ledger", "-c", sql];
    Ok(admin.in_postgres(SYSTEM, "siyada-ledger-1", &words).await?.trim().to_owned())
}

/// Turns backups on, and waits for the first one.
async fn back_up(admin: &Kubectl) -> Result<()> {
    let store = object_store()?;
    let text = |key: &str| store[key].as_str().with_context(|| format!("the store has no {key}"));
    let (endpoint, id, key) = (text("endpoint")?, text("accessKeyId")?, text("secretAccessKey")?);
    let words = ["python3", "-W", "ignore", "-c", MAKE, endpoint, id, key, BUCKET];
    admin.in_postgres(SYSTEM, "siyada-ledger-1", &words).await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "siyada-ledger-store", "namespace": SYSTEM},
        "stringData": {"ACCESS_KEY_ID": id, "ACCESS_SECRET_KEY": key, "REGION": "us-east-1", "ca.crt": text("ca")?},
    });
    admin.apply(&secret.to_string()).await?;
    let settings = [
        "enabled=true".to_owned(),
        format!("bucket={BUCKET}"),
        format!("endpoint={endpoint}"),
        "ownAuthority=true".to_owned(),
    ];
    upgrade(&settings.map(|setting| format!("backup.{setting}"))).await?;
    eventually(seconds(240), "the ledger to be backed up", || async {
        let all = admin.list("backups.postgresql.cnpg.io", SYSTEM, "cnpg.io/cluster=siyada-ledger").await?;
        ensure!(all.iter().any(|backup| backup["status"]["phase"] == "completed"), "{} backups", all.len());
        Ok(())
    })
    .await
}

/// A server that only restarts is the one that it was: nobody has to declare anything.
async fn restarted(admin: &Kubectl) -> Result<()> {
    admin.run(&["-n", SYSTEM, "delete", "pod", "siyada-ledger-1", "--grace-period=0", "--force"]).await?;
    eventually(seconds(180), "the ledger to serve again", || async {
        let ledger = sql(admin, "select count(*) from incarnation").await?;
        ensure!(ledger == "1", "{ledger} incarnations");
        let finance = Api::service_account("siyada-finance", "national-finance").await?;
        finance.read("/v1/periods").await.map(|_| ())
    })
    .await
}

/// Changes values of the ledger's cluster, and keeps the others.
async fn upgrade(settings: &[String]) -> Result<()> {
    let command = ["-n", SYSTEM, "upgrade", "siyada", "charts/siyada", "--reset-then-reuse-values"];
    let settings: Vec<String> = settings.iter().map(|setting| format!("ledger.cluster.{setting}")).collect();
    let settings = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
    helm(&command.into_iter().chain(settings).collect::<Vec<_>>()).await.map(|_| ())
}

/// Waits until what was written so far is in the store.
async fn archived(admin: &Kubectl) -> Result<()> {
    let timeout = sql(admin, "show archive_timeout").await?;
    ensure!(timeout == "1min", "what is lost is not bounded by the chart's minute, but by {timeout}");
    let last = sql(admin, "select pg_walfile_name(pg_switch_wal())").await?;
    eventually(seconds(180), "the ledger's archive to have everything", || async {
        let archiver =
            sql(admin, "select coalesce(last_archived_wal, ''), failed_count from pg_stat_archiver").await?;
        ensure!(
            archiver.get(..24).unwrap_or_default() >= last.as_str(),
            "{last} is not archived: {archiver:?}"
        );
        Ok(())
    })
    .await
}

/// As the runbook says: the api stops, and a cluster of the next generation begins from the archive.
async fn restore(admin: &Kubectl, moment: &str) -> Result<()> {
    admin.run(&["-n", SYSTEM, "scale", "deployment/siyada-api", "--replicas=0"]).await?;
    upgrade(&["restore.generation=2".to_owned(), format!("restore.to={moment}")]).await?;
    let wait = [
        "-n",
        SYSTEM,
        "wait",
        "cluster.postgresql.cnpg.io/siyada-ledger-2",
        "--for=condition=Ready",
        "--timeout=300s",
    ];
    admin.run(&wait).await.map(|_| ())
}

/// Nobody is served before it is declared, and the api is ready afterwards.
async fn declared(admin: &Kubectl) -> Result<()> {
    eventually(seconds(120), "the api to wait for a declaration", || async {
        let log = admin.run(&["-n", SYSTEM, "logs", "deployment/siyada-api", "--tail=50"]).await?;
        ensure!(log.contains("siyada-api recover"), "its log does not say so");
        Ok(())
    })
    .await?;
    let api = admin.get("deployment", SYSTEM, "siyada-api").await?.context("no api")?;
    ensure!(api["status"]["readyReplicas"].is_null(), "it is ready: {}", api["status"]);
    let words = ["recover", "--by", "story", "--reason", "a story"];
    let said = admin.in_platform("siyada-api", &words).await?;
    ensure!(said.contains("the ledger is restored as of"), "it says {said:?}");
    platform::wait_until_it_works().await
}

/// Both orders are held, and a span of each is a gap: of the late one the ledger knew nothing.
async fn proved_again(uids: &[&str]) -> Result<()> {
    eventually(seconds(420), "the operator to tell everything again", || async {
        let finance = Api::service_account("siyada-finance", "national-finance").await?;
        let of = |page: &Value, path: &str| -> BTreeSet<String> {
            let items = page["items"].as_array().into_iter().flatten();
            items.filter_map(|item| Some(item.pointer(path)?.as_str()?.to_owned())).collect()
        };
        let held = of(&finance.read("/v1/reservations?pageSize=500").await?, "/orderUid");
        let mut gaps = finance.read("/v1/gaps?pageSize=500").await?;
        if let Some(items) = gaps["items"].as_array_mut() {
            items.retain(|gap| gap["reason"] == "ledgerRestored" && gap["meter"] == "compute");
        }
        let gaps = of(&gaps, "/order/uid");
        for uid in uids {
            ensure!(held.contains(*uid), "{uid} is not held");
            ensure!(gaps.contains(*uid), "no gap of {uid} is on record");
        }
        Ok(())
    })
    .await
}
