//! kubectl, as the platform (the cluster's administrator) or as a ministry's own service account.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

/// Somebody who uses kubectl.
#[derive(Clone, Debug, Default)]
pub struct Kubectl {
    config: Option<PathBuf>,
    /// Flags of every call: whom the administrator acts as.
    acting: Vec<String>,
}

/// What a command printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error: warnings and refusals.
    pub err: String,
}

impl Kubectl {
    /// The cluster's administrator, from KUBECONFIG.
    pub fn admin() -> Self {
        Self::default()
    }

    /// A service account with a token of its own, and nothing of the administrator's.
    ///
    /// # Errors
    /// When there is no such account yet.
    pub async fn service_account(namespace: &str, name: &str) -> Result<Self> {
        let admin = Self::admin();
        let token = admin.run(&["-n", namespace, "create", "token", name, "--duration", "2h"]).await?;
        let cluster = admin.cluster().await?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token.trim()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        });
        let path =
            std::env::temp_dir().join(format!("siyada-{}-{namespace}-{name}.kubeconfig", std::process::id()));
        tokio::fs::write(&path, config.to_string()).await?;
        Ok(Self { config: Some(path), acting: Vec::new() })
    }

    /// What the kubeconfig says of the cluster: its server, and the authority of its certificate.
    async fn cluster(&self) -> Result<Value> {
        let view = self.run(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]).await?;
        let mut view: Value = serde_json::from_str(&view)?;
        view.pointer_mut("/clusters/0/cluster").map(Value::take).context("the kubeconfig names no cluster")
    }

    /// A client of the API server to be finished with limits of time, and the server's address.
    ///
    /// # Errors
    /// When the kubeconfig does not name them.
    pub async fn api_server(&self) -> Result<(reqwest::ClientBuilder, String)> {
        let cluster = self.cluster().await?;
        let authority: ByteString = serde_json::from_value(cluster["certificate-authority-data"].clone())?;
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority.0)?])
            .no_proxy();
        let address = cluster["server"].as_str().context("the kubeconfig names no server")?;
        Ok((client, address.to_owned()))
    }

    /// A person of a group: the administrator acts as him, and has no other right then.
    pub fn person(name: &str, group: &str) -> Self {
        let acting = vec![
            format!("--as={name}"),
            format!("--as-group={group}"),
            "--as-group=system:authenticated".into(),
        ];
        Self { config: None, acting }
    }

    fn start(&self, arguments: &[&str], input: Stdio, error: Stdio) -> Result<Child> {
        let mut command = Command::new("kubectl");
        command
            .args(&self.acting)
            .args(arguments)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(error)
            .kill_on_drop(true);
        if let Some(config) = &self.config {
            command.env("KUBECONFIG", config);
        }
        command.spawn().context("failed to run kubectl: run this through `harness exec`")
    }

    /// Runs a kubectl that goes on, such as `get --watch`, and takes in each line; it ends with the future. The API server
    /// ends every watch of a kind whose definition changes: it is begun again then, as a program would.
    ///
    /// # Errors
    /// When kubectl fails.
    pub async fn follow(&self, arguments: &[&str], mut take: impl FnMut(&str)) -> Result<Infallible> {
        loop {
            let mut child = self.start(arguments, Stdio::null(), Stdio::null())?;
            let mut lines = BufReader::new(child.stdout.take().context("kubectl has no output")?).lines();
            while let Some(line) = lines.next_line().await? {
                take(&line);
            }
            let ended = child.wait().await?;
            ensure!(ended.success(), "kubectl {} ended: {ended}", arguments.join(" "));
        }
    }

    /// Runs kubectl with something on its standard input.
    ///
    /// # Errors
    /// When kubectl itself cannot be run.
    pub async fn try_with(&self, arguments: &[&str], input: &str) -> Result<Printed> {
        let mut child = self.start(arguments, Stdio::piped(), Stdio::piped())?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Printed { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) })
    }

    /// Runs kubectl; its output when it succeeds.
    ///
    /// # Errors
    /// What it printed, when it does not.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let printed = self.try_with(arguments, "").await?;
        ensure!(printed.ok, "kubectl {} said: {}", arguments.join(" "), printed.err.trim());
        Ok(printed.out)
    }

    /// Runs a command beside a PostgreSQL, in its own container.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub async fn in_postgres(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<String> {
        let exec = ["-n", namespace, "exec", pod, "-c", "postgres", "--"];
        self.run(&[exec.as_slice(), command].concat()).await
    }

    /// Runs one of the platform's own programs where it runs already.
    ///
    /// # Errors
    /// See [`Self::run`].
    pub async fn in_platform(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let (deployment, path) = (format!("deployment/{program}"), format!("/usr/local/bin/{program}"));
        let exec = ["-n", crate::platform::SYSTEM, "exec", &deployment, "--", &path];
        self.run(&[exec.as_slice(), arguments].concat()).await
    }

    /// Applies YAML; answers with what the server said, warnings included.
    ///
    /// # Errors
    /// What it printed, when it is refused.
    pub async fn apply(&self, yaml: &str) -> Result<Printed> {
        let printed = self.try_with(&["apply", "-f", "-"], yaml).await?;
        ensure!(printed.ok, "kubectl apply said: {}", printed.err.trim());
        Ok(printed)
    }

    /// Applies YAML that must be refused with all of these texts in the answer.
    ///
    /// # Errors
    /// When it is accepted, or refused for another reason.
    pub async fn refused(&self, yaml: &str, texts: &[&str]) -> Result<String> {
        let printed = self.try_with(&["apply", "-f", "-"], yaml).await?;
        ensure!(!printed.ok, "this must be refused and was accepted: {yaml}");
        for text in texts {
            ensure!(
                printed.err.contains(text),
                "the refusal must say {text:?}; it says: {}",
                printed.err.trim()
            );
        }
        Ok(printed.err)
    }

    /// Runs what must be refused with all of these texts in the answer.
    ///
    /// # Errors
    /// When it succeeds, or is refused for another reason.
    pub async fn fails(&self, arguments: &[&str], input: &str, texts: &[&str]) -> Result<()> {
        let printed = self.try_with(arguments, input).await?;
        let what = arguments.join(" ");
        ensure!(!printed.ok, "this must be refused and was done: kubectl {what} {input}");
        for text in texts {
            ensure!(
                printed.err.contains(text),
                "kubectl {what} must say {text:?}; it says: {}",
                printed.err.trim()
            );
        }
        Ok(())
    }

    /// An object, or nothing.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        let printed = self
            .try_with(&["-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found"], "")
            .await?;
        ensure!(printed.ok, "kubectl get {kind} {namespace}/{name} said: {}", printed.err.trim());
        if printed.out.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&printed.out)?)) }
    }

    /// Objects by label.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let out = self.run(&["-n", namespace, "get", kind, "-l", selector, "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&out)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// What the server said.
    pub async fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) -> Result<()> {
        self.run(&["-n", namespace, "patch", kind, name, "--type", "merge", "-p", &patch.to_string()])
            .await
            .map(|_| ())
    }
}

/// A condition of an object: its status, reason and message.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|c| c["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Fails unless a condition has this status and, when given, this reason.
///
/// # Errors
/// Says what the condition is.
pub fn expect_condition(object: &Value, kind: &str, status: &str, reason: Option<&str>) -> Result<()> {
    let Some(found) = condition(object, kind) else { bail!("there is no condition {kind} yet") };
    let fits = found.0 == status && reason.is_none_or(|r| r == found.1);
    ensure!(fits, "{kind} is {} {}: {}", found.0, found.1, found.2);
    Ok(())
}

/// The decoded values of a Secret.
///
/// # Errors
/// When a value is missing.
pub fn secret_value(secret: &Value, key: &str) -> Result<String> {
    let data = secret["data"].get(key).cloned().ok_or_else(|| anyhow!("the Secret has no {key}"))?;
    let bytes: ByteString = serde_json::from_value(data)?;
    Ok(String::from_utf8(bytes.0)?)
}
