//! What an order that is deleted with its data leaves in the object store, and that it is gone when nobody needs it.

use super::deletion::{self, Parts};
use super::{HOME, backup};
use crate::kubectl::{Kubectl, condition};
use crate::platform::{Api, SYSTEM, engine, gone, object_store, ready, uid};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The bucket and the user of an order, as the store's administrator sees them.
const ASK: &str = r#"
import boto3, sys
from botocore.config import Config
endpoint, key, secret, uid = sys.argv[1:]
def client(service):
    return boto3.client(service, endpoint_url=endpoint, verify=False, aws_access_key_id=key, aws_secret_access_key=secret,
        region_name="us-east-1", config=Config(s3={"addressing_style": "path"}))
buckets = [b["Name"] for b in client("s3").list_buckets()["Buckets"] if b["Name"].endswith(uid)]
users = [u["UserName"] for u in client("iam").list_users()["Users"] if u["UserName"].endswith(uid)]
print("buckets", len(buckets), "users", len(users))
"#;

/// What the store has of an order. It is asked from where the ledger runs, which has the engine's tools.
async fn in_store(uid: &str) -> Result<String> {
    let store = object_store()?;
    let text = |key: &str| store[key].as_str().with_context(|| format!("the store has no {key}"));
    let (endpoint, id, key) = (text("endpoint")?, text("accessKeyId")?, text("secretAccessKey")?);
    let words = ["python3", "-W", "ignore", "-c", ASK, endpoint, id, key, uid];
    Ok(Kubectl::admin().in_postgres(SYSTEM, "siyada-ledger-1", &words).await?.trim().to_owned())
}

/// Waits until neither the store nor the accounts have anything of an order.
async fn nothing_of(uid: &str) -> Result<()> {
    let api = Api::service_account(HOME, "ministry-it").await?;
    eventually(seconds(300), "everything of the order to go from the store and from the accounts", || async {
        let there = in_store(uid).await?;
        ensure!(there == "buckets 0 users 0", "the store has {there}");
        ensure!(deletion::reservation(&api, "interior", uid).await?.is_none(), "its quota is still held");
        ensure!(deletion::open_intervals(&api, "interior", uid).await? == 0, "something is still billed");
        Ok(())
    })
    .await
}

/// An order deleted with its data leaves a last backup, which is listed, billed and restored under the same name; discarded, and
/// declined, nothing of it remains in the store.
pub async fn last_backup() -> Result<()> {
    backup::set_up().await?;
    let ministry = Kubectl::service_account(HOME, "ministry-it").await?;
    let wants = |more: &str| backup::order("parting", more).replace("lastBackup: false", "lastBackup: true");
    ministry.apply(&wants("")).await?;
    let order = ready(&ministry, "pgi", HOME, "parting", 240).await?;
    let (old, (namespace, cluster)) = (uid(&order)?, engine(&order)?);
    let (db, _) = backup::client(&ministry, "parting").await?;
    db.batch_execute("create table citizens (id int primary key, name text)").await?;
    backup::add(&db, 1, 640).await?;
    let before = backup::content(&db).await?;
    drop(db);
    ministry.run(&["-n", HOME, "delete", "pgi", "parting", "--wait=false"]).await?;
    gone("pgi", HOME, "parting", 420).await?;
    is_listed(&ministry, &old, (&namespace, &cluster)).await?;
    eventually(seconds(60), "the bucket to stay and its users to go", || async {
        let there = in_store(&old).await?;
        ensure!(there == "buckets 1 users 0", "the store has {there}");
        Ok(())
    })
    .await?;

    ministry.apply(&wants(&format!(", restoreFrom: {{retainedInstance: {cluster}}}"))).await?;
    let again = ready(&ministry, "pgi", HOME, "parting", 300).await?;
    let (db, _) = backup::client(&ministry, "parting").await?;
    let after = backup::content(&db).await?;
    ensure!(after == before, "there were {before:?}, restored are {after:?}");
    ministry.patch("rti", HOME, &cluster, &json!({"spec": {"discard": "parting"}})).await?;
    gone("rti", HOME, &cluster, 300).await?;
    nothing_of(&old).await?;
    ensure!(backup::content(&db).await? == before, "the restored rows went with what was discarded");
    drop(db);

    let parts = Parts::of(&again, &["ScheduledBackup", "Backup"]).await?;
    let declined = json!({"spec": {"backup": {"lastBackup": false}}});
    ministry.patch("pgi", HOME, "parting", &declined).await?;
    ministry.run(&["-n", HOME, "delete", "pgi", "parting", "--wait=false"]).await?;
    gone("pgi", HOME, "parting", 180).await?;
    nothing_of(&uid(&again)?).await?;
    parts.are_gone().await?;
    gone("rti", HOME, &engine(&again)?.1, 60).await
}

/// The listing says what is kept, until when, at what price and how to have it back; the volume and the engine object are gone, and
/// what is in the store alone is held and billed.
async fn is_listed(ministry: &Kubectl, uid: &str, (namespace, name): (&str, &str)) -> Result<()> {
    let admin = Kubectl::admin();
    let api = Api::service_account(HOME, "ministry-it").await?;
    eventually(seconds(120), "the last backup to be listed", || async {
        let listing = ministry.get("rti", HOME, name).await?.context("it is not listed")?;
        let status = &listing["status"];
        ensure!(listing["spec"]["orderUid"] == uid, "it lists another order: {}", listing["spec"]);
        ensure!(status["data"] == "last backup", "it is {}", status["data"]);
        for told in ["keptSince", "expires", "backups", "lastBackup", "restore", "discard"] {
            ensure!(status[told].is_string(), "{told} is not told: {status}");
        }
        ensure!(status["storage"].is_null(), "it has a volume: {status}");
        let price = status["cost"]["maximumMonthly"].as_str().unwrap_or_default();
        ensure!(price.parse::<f64>().is_ok_and(|price| price > 0.0), "its price is {price:?}");
        let restorable = condition(&listing, "Restorable").map(|(status, ..)| status);
        ensure!(restorable.as_deref() == Some("True"), "Restorable is {restorable:?}");
        println!("  listed: {status}");
        Ok(())
    })
    .await?;
    ensure!(
        admin.get("clusters.postgresql.cnpg.io", namespace, name).await?.is_none(),
        "the engine object is there"
    );
    let volumes = admin.list("pvc", namespace, &format!("siyada.cloud/order-uid={uid}")).await?;
    ensure!(volumes.is_empty(), "{} volumes are left", volumes.len());
    let held = deletion::reservation(&api, "interior", uid).await?.context("nothing is held for it")?;
    let resources = &held["commitment"]["resources"];
    ensure!(resources["instances"] == 0 && resources["storageBytes"] == 0, "held: {resources}");
    let open = |i: &Value| i.get("end").is_none_or(Value::is_null);
    let all = deletion::all_intervals(&api, uid).await?;
    let meters: Vec<&Value> = all.iter().filter(|i| open(i)).map(|i| &i["meter"]).collect();
    ensure!(meters == [&json!("backup")], "open: {meters:?}");
    Ok(())
}
