//! Installing the platform, and asking its api.

use crate::kubectl::{Kubectl, condition, expect_condition, secret_value};
use crate::wait::{eventually, seconds};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tokio::process::Command;

/// National finance of the examples and the stories.
pub const NATIONAL_FINANCE: &str = "system:serviceaccount:siyada-finance:national-finance";

/// Namespace of the platform.
pub const SYSTEM: &str = "siyada-system";

/// The project's folder.
pub fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The text of a file of the project.
///
/// # Errors
/// When it cannot be read.
pub fn file(path: &str) -> Result<String> {
    read(&folder().join(path))
}

/// Runs Helm.
///
/// # Errors
/// What it printed, when it fails.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    let output =
        Command::new("helm").args(arguments).current_dir(folder()).kill_on_drop(true).output().await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "helm {} said: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A landing: its tree, and the tag that its images have on the node.
#[derive(Clone, Debug)]
pub struct Landing {
    folder: PathBuf,
    tag: &'static str,
}

impl Landing {
    /// This one.
    pub fn this() -> Self {
        Self { folder: folder(), tag: "dev" }
    }

    /// The one before, as the harness took it out of git.
    ///
    /// # Errors
    /// When it is not on this cluster's node; says how it gets there.
    pub fn previous() -> Result<Self> {
        let link = state()?.join("previous");
        let folder = std::fs::canonicalize(&link).with_context(|| {
            format!(
                "no {}: the upgrade needs the previous landing on the node; run `harness trial --previous`, or `harness \
                 load --previous` for a cluster that is up",
                link.display()
            )
        })?;
        Ok(Self { folder, tag: "previous" })
    }

    /// The image of one of its programs on the node, by tag and digest: another build and another landing are another
    /// image, whose pods are replaced.
    ///
    /// # Errors
    /// When the node does not have it.
    pub fn image(&self, program: &str) -> Result<String> {
        let all: BTreeMap<String, String> = serde_json::from_str(&read(&state()?.join("images.json"))?)?;
        let name = format!("localhost/{program}:{}", self.tag);
        let (_, digest) = all
            .get(&name)
            .and_then(|reference| reference.split_once('@'))
            .with_context(|| format!("the node has no {name}: run `harness load`"))?;
        Ok(format!("{name}@{digest}"))
    }

    /// Installs or upgrades both charts, custom resources first.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn install(&self) -> Result<()> {
        for (release, settings) in [("siyada-crds", Vec::new()), ("siyada", self.settings()?)] {
            let chart = self.folder.join("charts").join(release).display().to_string();
            let command = ["upgrade", "--install", release, &chart, "-n", SYSTEM, "--create-namespace"];
            let settings = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
            helm(&command.into_iter().chain(settings).collect::<Vec<_>>()).await?;
        }
        away_if_unwanted().await
    }

    fn settings(&self) -> Result<Vec<String>> {
        let programs = [("operator", "siyada-operator"), ("api", "siyada-api")];
        let image = |(part, program): &(&str, &str)| Ok(format!("{part}.image={}", self.image(program)?));
        let finance = Ok(format!("platform.finance={{{NATIONAL_FINANCE}}}"));
        // The stories kill and stop the one that works; two of each are a story of their own.
        let one = programs.iter().map(|(part, _)| Ok(format!("{part}.replicas=1")));
        // The stories delete more in ten minutes than a platform does, and wait for what a checkpoint tells; the landing before
        // knows neither.
        let own = (self.tag == "dev").then_some(["deletionsAtMost=10000", "checkpointSeconds=30"]);
        let own = own.into_iter().flatten().map(|setting| Ok(format!("operator.{setting}")));
        programs.iter().map(image).chain(one).chain([finance]).chain(own).collect()
    }

    /// Applies the platform's examples and waits until the tenants are set up.
    ///
    /// # Errors
    /// Says what is not Ready, and why.
    pub async fn set_up(&self) -> Result<()> {
        let admin = Kubectl::admin();
        let example = |name: &str| read(&self.folder.join(format!("examples/platform/{name}.yaml")));
        for name in ["00-site", "10-catalogue", "20-prices", "30-tenants"] {
            admin.apply(&example(name)?).await?;
        }
        for (kind, name) in [
            ("tenant", "interior"),
            ("tenant", "civil-registry"),
            ("tenant", "health"),
            ("pricelist", "tarif-2026-07"),
        ] {
            ready(&admin, kind, "default", name, 60).await?;
        }
        admin.apply(&example("40-access")?).await.map(|_| ())
    }
}

/// Where the harness keeps what it knows of the cluster.
///
/// # Errors
/// When this was not started by the harness.
pub fn state() -> Result<PathBuf> {
    let state = std::env::var_os("SIYADA_STATE")
        .context("SIYADA_STATE is not set: run this through `harness exec`")?;
    Ok(PathBuf::from(state))
}

/// A figure of the operator: the value of the first line of `/metrics`, or of a path below it, that begins so and holds the text.
///
/// # Errors
/// When there is none.
pub async fn figure(path: &str, begins: &str, holds: &str) -> Result<f64> {
    let path = format!("/api/v1/namespaces/{SYSTEM}/services/siyada-operator:metrics/proxy/metrics{path}");
    let told = Kubectl::admin().run(&["get", "--raw", &path]).await?;
    let line = told.lines().find(|line| line.starts_with(begins) && line.contains(holds));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.with_context(|| format!("no {begins} with {holds:?} in {} lines", told.lines().count()))
}

/// What the harness says of its object store: address, authority and the login that may do everything.
///
/// # Errors
/// When this was not started by the harness.
pub fn object_store() -> Result<Value> {
    Ok(serde_json::from_str(&read(&state()?.join("object-store.json"))?)?)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// A file of this landing's examples.
///
/// # Errors
/// When it cannot be read.
pub fn read_example(name: &str) -> Result<String> {
    read(&Landing::this().folder.join("examples").join(name))
}

/// Installs or upgrades this landing's charts.
///
/// # Errors
/// What went wrong on the way.
pub async fn install() -> Result<()> {
    Landing::this().install().await
}

/// Set when the webhook is kept away.
static WITHOUT_WEBHOOK: OnceLock<()> = OnceLock::new();

/// From now on the webhook is taken away whenever the charts have brought it.
pub fn keep_webhook_away() {
    WITHOUT_WEBHOOK.get_or_init(|| ());
}

/// Whether the webhook belongs to the platform here.
pub fn has_webhook() -> bool {
    WITHOUT_WEBHOOK.get().is_none()
}

async fn away_if_unwanted() -> Result<()> {
    if has_webhook() { Ok(()) } else { remove_webhook().await }
}

/// Takes the webhook away, until the charts bring it again.
///
/// # Errors
/// When the cluster does not let it go.
pub async fn remove_webhook() -> Result<()> {
    let delete = ["delete", "validatingwebhookconfiguration", "siyada-orders", "--ignore-not-found"];
    Kubectl::admin().run(&delete).await.map(|_| ())
}

/// Fails where the webhook is there and was to be kept away.
///
/// # Errors
/// Says so.
pub async fn webhook_is_as_wanted() -> Result<()> {
    let there =
        Kubectl::admin().get("validatingwebhookconfiguration", "default", "siyada-orders").await?.is_some();
    ensure!(has_webhook() || !there, "the webhook is there: what was lived was not without it");
    Ok(())
}

/// Takes the platform back to what it was before the last upgrade.
///
/// # Errors
/// What went wrong on the way.
pub async fn roll_back() -> Result<()> {
    helm(&["-n", SYSTEM, "rollback", "siyada"]).await?;
    away_if_unwanted().await
}

/// Waits until the api and the operator work.
///
/// # Errors
/// Says which does not.
pub async fn wait_until_it_works() -> Result<()> {
    let admin = Kubectl::admin();
    for deployment in ["siyada-operator", "siyada-api"] {
        let name = format!("deployment/{deployment}");
        admin.run(&["-n", SYSTEM, "rollout", "status", &name, "--timeout=180s"]).await?;
    }
    Ok(())
}

/// Applies this landing's examples of the platform and waits until the tenants are set up.
///
/// # Errors
/// Says what is not Ready, and why.
pub async fn set_up() -> Result<()> {
    Landing::this().set_up().await
}

/// Waits until an object is Ready.
///
/// # Errors
/// Says what it is instead.
pub async fn ready(who: &Kubectl, kind: &str, namespace: &str, name: &str, limit: u64) -> Result<Value> {
    wait_for(who, kind, namespace, name, "Ready", "True", None, limit).await
}

/// Waits until a condition of an object has a status and, when given, a reason.
///
/// # Errors
/// Says what it is instead.
#[expect(clippy::too_many_arguments, reason = "each names one part of a sentence")]
pub async fn wait_for(
    who: &Kubectl,
    kind: &str,
    namespace: &str,
    name: &str,
    type_: &str,
    status: &str,
    reason: Option<&str>,
    limit: u64,
) -> Result<Value> {
    let what = format!("{kind} {namespace}/{name} to have {type_}={status} {}", reason.unwrap_or_default());
    eventually(seconds(limit), &what, || async {
        let object = who.get(kind, namespace, name).await?.context("it does not exist")?;
        expect_condition(&object, type_, status, reason)?;
        Ok(object)
    })
    .await
}

/// Waits until an object is gone.
///
/// # Errors
/// Says what holds it.
pub async fn gone(kind: &str, namespace: &str, name: &str, limit: u64) -> Result<()> {
    let admin = Kubectl::admin();
    eventually(seconds(limit), &format!("{kind} {namespace}/{name} to go"), || async {
        let found = admin.get(kind, namespace, name).await?;
        let why = found.as_ref().and_then(|o| condition(o, "DeletionBlocked"));
        ensure!(found.is_none(), "it is still there: {why:?}");
        Ok(())
    })
    .await
}

/// The uid of an object.
///
/// # Errors
/// When it has none.
pub fn uid(object: &Value) -> Result<String> {
    Ok(object.pointer("/metadata/uid").and_then(Value::as_str).context("no uid")?.to_owned())
}

/// The engine object that serves an order: namespace and name.
///
/// # Errors
/// When the order does not say.
pub fn engine(order: &Value) -> Result<(String, String)> {
    let text = |path: &str| order.pointer(path).and_then(Value::as_str).map(str::to_owned);
    Ok((
        text("/status/engineRef/namespace").context("no engine")?,
        text("/status/engineRef/name").context("no engine")?,
    ))
}

/// The ledger's api, as a service account of a ministry.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    token: String,
}

impl Api {
    /// With a token for the api, of a service account.
    ///
    /// # Errors
    /// When there is no token or no authority.
    pub async fn service_account(namespace: &str, name: &str) -> Result<Self> {
        let admin = Kubectl::admin();
        let arguments =
            ["-n", namespace, "create", "token", name, "--audience", "siyada-api", "--duration", "2h"];
        let token = admin.run(&arguments).await?.trim().to_owned();
        let secret =
            admin.get("secret", SYSTEM, "siyada-api-tls").await?.context("the api has no certificate")?;
        let authority = reqwest::Certificate::from_pem(secret_value(&secret, "ca.crt")?.as_bytes())?;
        let http =
            reqwest::Client::builder().tls_certs_only([authority]).timeout(seconds(15)).no_proxy().build()?;
        Ok(Self { http, token })
    }

    /// Reads a path: the status and the content.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let url = format!("https://siyada-api.{SYSTEM}.svc:8443{path}");
        let answer = self.http.get(url).bearer_auth(&self.token).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// Reads a file that must be there, as text.
    ///
    /// # Errors
    /// The problem that the api answers with.
    pub async fn text(&self, path: &str) -> Result<String> {
        let url = format!("https://siyada-api.{SYSTEM}.svc:8443{path}");
        let answer = self.http.get(url).bearer_auth(&self.token).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        ensure!(status == 200, "the api answers {status} to {path}: {text}");
        Ok(text)
    }

    /// Sends something to a path: the status and the content.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<(u16, Value)> {
        let url = format!("https://siyada-api.{SYSTEM}.svc:8443{path}");
        let answer = self.http.request(method, url).bearer_auth(&self.token).json(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// Reads a path that must be there.
    ///
    /// # Errors
    /// The problem that the api answers with.
    pub async fn read(&self, path: &str) -> Result<Value> {
        let (status, value) = self.get(path).await?;
        ensure!(status == 200, "the api answers {status} to {path}: {value}");
        Ok(value)
    }
}
