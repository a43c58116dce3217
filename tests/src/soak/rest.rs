//! The long rest: databases that run, 500 orders, and nobody reads or writes.

use super::server::{Answer, Server, path};
use super::world::{Kind, Spec};
use super::{ABOVE, ENGINE, NOWHERE, TENANT};
use crate::audit::{log_length, renewed_since, requests_since};
use crate::kubectl::{Kubectl, condition};
use crate::platform::Api;
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

/// Databases that run.
const REAL: usize = 10;
/// Orders whose engine sleeps.
const OBJECTS: usize = 500;
/// Seconds in which nothing may happen; SIYADA_REST_SECONDS says otherwise.
const WINDOW: u64 = 300;
/// Orders sent at once.
const IN_FLIGHT: usize = 16;

/// Ten small databases fit on two cores only in a plan of their own.
fn offerings() -> String {
    let plan = "plans: [{name: rest, cpu: 150m, memory: 384Mi, storage: 1Gi, maximumStorage: 20Gi, computeSku: postgresql-dev, storageSku: volume}]";
    let offering = |name: &str, engine: &str, version: &str| {
        format!(
            "apiVersion: siyada.cloud/v1alpha1\nkind: ServiceOffering\nmetadata: {{name: {name}}}\nspec:\n  engine: {engine}\n  versions: [{version}]\n  {plan}\n---\n"
        )
    };
    let image = "image: \"localhost/postgresql:15\"";
    format!(
        "{}{}",
        offering("rest-postgresql", "PostgreSQL", &format!("{{version: \"15\", {image}}}")),
        offering(
            "rest-documents",
            "Documents",
            &format!("{{version: \"1.24\", {image}, gatewayImage: \"localhost/document-gateway:1.24.0\"}}")
        )
    )
}

async fn order(server: &Server, name: &str, kind: Kind, real: bool) -> Result<()> {
    let mut body = Spec::small(kind).body(name);
    if real {
        let offering = if kind == Kind::Postgres { "rest-postgresql" } else { "rest-documents" };
        body["spec"]["offering"] = json!(offering);
        body["spec"]["plan"] = json!("rest");
    } else {
        body["spec"]["site"] = json!(NOWHERE);
    }
    let path = path::order(kind, name);
    eventually(seconds(120), &format!("order {name} to be accepted"), || async {
        match server.apply(&path, &body).await? {
            Answer::Done(_) => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await
}

async fn sleep_engine(server: &Server) -> Result<()> {
    let admin = Kubectl::admin();
    admin.run(&["-n", "cnpg-system", "scale", "deployment/cnpg-controller-manager", "--replicas=0"]).await?;
    admin.run(&["delete", "validatingwebhookconfiguration", "cnpg-validating-webhook-configuration"]).await?;
    admin.run(&["delete", "mutatingwebhookconfiguration", "cnpg-mutating-webhook-configuration"]).await?;
    eventually(seconds(120), "the engine to sleep", || async {
        let pods = server.list(&path::pods("cnpg-system")).await?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })
    .await
}

/// Nothing is asked of the API server by the operator for so long.
async fn quiet(length: u64) -> Result<()> {
    let from = log_length()?;
    tokio::time::sleep(seconds(length)).await;
    let counts = requests_since(from)?;
    ensure!(counts.is_empty(), "the operator did {counts:?}");
    Ok(())
}

/// So many orders are beyond what the walks may have.
async fn without_limits(server: &Server, api: &Api) -> Result<()> {
    for tenant in [ABOVE, TENANT] {
        let path = format!("/apis/siyada.cloud/v1alpha1/tenants/{tenant}");
        let answer = server.merge(&path, &json!({"spec": {"quota": null}})).await?;
        ensure!(matches!(answer, Answer::Done(_)), "{answer:?}");
        eventually(seconds(60), &format!("tenant {tenant} to have no limit"), || async {
            let view = api.read(&format!("/v1/tenants/{tenant}/quota")).await?;
            ensure!(view["limit"].as_object().is_some_and(serde_json::Map::is_empty), "{}", view["limit"]);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Lives it. Afterwards the engine sleeps: nothing else can be lived in this cluster.
///
/// # Errors
/// Says what was done at rest.
pub async fn rest(server: &Server, api: &Api) -> Result<()> {
    Kubectl::admin().apply(&offerings()).await?;
    without_limits(server, api).await?;
    let real: Vec<(String, Kind)> = (0..REAL)
        .map(|index| (format!("rest-{index}"), if index < 2 { Kind::Documents } else { Kind::Postgres }))
        .collect();
    for (name, kind) in &real {
        order(server, name, *kind, true).await?;
    }
    for (name, kind) in &real {
        eventually(seconds(900), &format!("{name} to be Ready"), || async {
            let found = server.get(&path::order(*kind, name)).await?.context("it is gone")?;
            let (status, reason, message) = condition(&found, "Ready").context("no condition")?;
            ensure!(status == "True", "Ready is {status} {reason}: {message}");
            Ok(())
        })
        .await?;
    }
    sleep_engine(server).await?;
    let names = (0..OBJECTS).map(|index| format!("object-{index}"));
    futures::stream::iter(names)
        .map(|name| async move { order(server, &name, Kind::Postgres, false).await })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await?;
    eventually(seconds(600), "every order to be told of its engine", || async {
        let orders = server.list(&path::orders(Kind::Postgres)).await?;
        let told = orders.iter().filter(|o| o.pointer("/status/engineRef").is_some()).count();
        ensure!(told == OBJECTS + REAL - 2, "{told} were told");
        Ok(())
    })
    .await?;
    eventually(seconds(300), "ten quiet seconds", || quiet(10)).await?;
    let window = std::env::var("SIYADA_REST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(WINDOW);
    let from = log_length()?;
    quiet(window).await.context("at rest, in the measured window")?;
    ensure!(
        renewed_since(from)?,
        "the operator did not even renew its lease: it is dead, or the log is not read"
    );
    no_op(server).await
}

/// A change without meaning writes no part of an order.
async fn no_op(server: &Server) -> Result<()> {
    let versions = || async {
        let clusters =
            server.list(&format!("/apis/postgresql.cnpg.io/v1/namespaces/{ENGINE}/clusters")).await?;
        let version = |c: &Value| c.pointer("/metadata/resourceVersion").cloned();
        anyhow::Ok(clusters.iter().map(version).collect::<Vec<_>>())
    };
    let (before, from) = (versions().await?, log_length()?);
    let note = json!({"metadata": {"annotations": {"note": "nothing"}}});
    for name in ["rest-2", "object-1"] {
        let answer = server.merge(&path::order(Kind::Postgres, name), &note).await?;
        ensure!(matches!(answer, Answer::Done(_)), "{answer:?}");
    }
    eventually(seconds(60), "ten quiet seconds", || quiet(10)).await?;
    let counts = requests_since(from)?;
    ensure!(
        counts.keys().all(|k| k.contains("postgresinstances")),
        "a change without meaning did {counts:?}"
    );
    ensure!(versions().await? == before, "an engine object was written");
    Ok(())
}
