//! A client of the API server that is quicker than a kubectl for each question, and can watch.

use crate::kubectl::Kubectl;
use crate::wait::seconds;
use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// Orders of a namespace, and other paths.
pub mod path {
    use crate::soak::world::Kind;

    /// An order of the soak's namespace.
    pub fn order(kind: Kind, name: &str) -> String {
        format!("{}/{name}", orders(kind))
    }
    /// The orders of the soak's namespace.
    pub fn orders(kind: Kind) -> String {
        format!("/apis/siyada.cloud/v1alpha1/namespaces/{}/{}", crate::soak::HOME, kind.resource())
    }
    /// Every pod of a namespace.
    pub fn pods(namespace: &str) -> String {
        format!("/api/v1/namespaces/{namespace}/pods")
    }
    /// A Deployment.
    pub fn deployment(namespace: &str, name: &str) -> String {
        format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    }
    /// The engine's clusters, everywhere.
    pub const CLUSTERS: &str = "/apis/postgresql.cnpg.io/v1/clusters";
    /// The webhook of the orders.
    pub const WEBHOOK: &str =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/siyada-orders";
}

/// What the API server answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was done.
    Done(Value),
    /// There is no such thing.
    Absent,
    /// It will not be done, and why.
    Refused(String),
}

/// A client with a token of a service account of its own, which is no break-glass group: the policies hold it too.
#[derive(Clone, Debug)]
pub struct Server {
    http: reqwest::Client,
    address: String,
    token: String,
    account: String,
}

impl Server {
    /// Makes the service account of the soak and a client for it.
    ///
    /// # Errors
    /// When the cluster does not allow it.
    pub async fn new() -> Result<Self> {
        Self::named("soak").await
    }

    /// Makes a service account of that name, an administrator of the cluster, and a client for it.
    ///
    /// # Errors
    /// When the cluster does not allow it.
    pub async fn named(name: &str) -> Result<Self> {
        let admin = Kubectl::admin();
        let account = format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: default}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}-server}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}}\n\
             subjects: [{{kind: ServiceAccount, name: {name}, namespace: default}}]\n"
        );
        admin.apply(&account).await?;
        let create = ["-n", "default", "create", "token", name, "--duration", "24h"];
        let token = admin.run(&create).await?.trim().to_owned();
        let (client, address) = admin.api_server().await?;
        let http = client.connect_timeout(seconds(5)).build()?;
        Ok(Self { http, address, token, account: name.to_owned() })
    }

    /// Takes the service account and its rights away.
    ///
    /// # Errors
    /// When the cluster does not allow it.
    pub async fn remove(self) -> Result<()> {
        let admin = Kubectl::admin();
        admin.run(&["delete", "clusterrolebinding", &format!("{}-server", self.account)]).await?;
        admin.run(&["-n", "default", "delete", "serviceaccount", &self.account]).await.map(|_| ())
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Result<Response> {
        let request = self.http.request(method, format!("{}{path}", self.address)).bearer_auth(&self.token);
        let request = request.header("content-type", kind);
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        Ok(request.send().await?)
    }

    async fn ask(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Result<Answer> {
        let request = async {
            let answer = self.send(method, path, kind, body).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.json::<Value>().await?))
        };
        let (status, value) =
            tokio::time::timeout(seconds(30), request).await.context("no answer in 30 s")??;
        let message = || value["message"].as_str().unwrap_or_default().to_owned();
        match status.as_u16() {
            200..=299 => Ok(Answer::Done(value)),
            404 => Ok(Answer::Absent),
            // Authentication may stumble while the API server starts.
            400 | 403 | 409 | 422 => Ok(Answer::Refused(message())),
            other => bail!("{path}: {other} {}", message()),
        }
    }

    /// An object, or nothing.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        match self.ask(Method::GET, path, "application/json", None).await? {
            Answer::Done(value) => Ok(Some(value)),
            Answer::Absent => Ok(None),
            Answer::Refused(why) => bail!("{path}: {why}"),
        }
    }

    /// The objects of a list.
    ///
    /// # Errors
    /// When there is no answer, or no such list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut list = self.get(path).await?.with_context(|| format!("there is no list {path}"))?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("{path} is no list"),
        }
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(Method::POST, path, "application/json", Some(body)).await
    }

    /// Applies an object: the same any number of times.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn apply(&self, path: &str, body: &Value) -> Result<Answer> {
        let path = format!("{path}?fieldManager=soak&force=true");
        self.ask(Method::PATCH, &path, "application/apply-patch+yaml", Some(body)).await
    }

    /// Merges into an object.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn merge(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask(Method::PATCH, path, "application/merge-patch+json", Some(body)).await
    }

    /// Deletes the object of that uid; with no grace for its processes when `grace` is zero.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, path: &str, uid: Option<&str>, grace: Option<u32>) -> Result<Answer> {
        let mut body =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            body["preconditions"] = json!({"uid": uid});
        }
        if let Some(grace) = grace {
            body["gracePeriodSeconds"] = json!(grace);
        }
        self.ask(Method::DELETE, path, "application/json", Some(&body)).await
    }

    /// Watches a list from now on until an event fits: its type (`ADDED`, `MODIFIED`, `DELETED`) and the object.
    ///
    /// # Errors
    /// When the limit passes, or the API server ends the watch.
    pub async fn watch(
        &self,
        path: &str,
        limit: Duration,
        fits: impl Fn(&str, &Value) -> bool,
    ) -> Result<Value> {
        let started = tokio::time::timeout(limit, self.watch_once(path, fits)).await;
        started.with_context(|| format!("nothing fitting happened in {path} in {} s", limit.as_secs()))?
    }

    async fn watch_once(&self, path: &str, fits: impl Fn(&str, &Value) -> bool) -> Result<Value> {
        let mut answer =
            self.send(Method::GET, &format!("{path}?watch=true"), "application/json", None).await?;
        ensure!(answer.status().is_success(), "the watch of {path} was answered {}", answer.status());
        let mut rest = Vec::new();
        while let Some(bytes) = answer.chunk().await? {
            rest.extend_from_slice(&bytes);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line)?;
                let object = event["object"].take();
                if fits(event["type"].as_str().unwrap_or_default(), &object) {
                    return Ok(object);
                }
            }
        }
        bail!("the watch of {path} ended")
    }
}
