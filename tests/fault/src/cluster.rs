//! Objects by their paths: what the matrix itself asks of the API server and of the ledger.

use crate::upstream::Upstream;
use anyhow::{Context as _, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use serde_json::Value;
use std::time::Duration;

/// One answer may take so long.
const ANSWER: Duration = Duration::from_secs(20);

/// A server that speaks JSON.
pub struct Cluster {
    upstream: Upstream,
    host: String,
}

impl Cluster {
    /// A server, and what it is called in requests.
    pub fn new(upstream: Upstream, host: &str) -> Self {
        Self { upstream, host: host.to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        // Everything that is patched here is merged.
        let content =
            if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, content)
            .body(Full::new(Bytes::from(bytes)))?;
        let asked = async {
            let answer = self.upstream.send(request).await?;
            let code = answer.status().as_u16();
            anyhow::Ok((code, answer.into_body().collect().await?.to_bytes()))
        };
        let (code, text) = tokio::time::timeout(ANSWER, asked).await.context("no answer in time")??;
        Ok((code, serde_json::from_slice(&text).unwrap_or_default()))
    }

    /// An object, or nothing when it is not there.
    ///
    /// # Errors
    /// When the server says something else.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let (code, value) = self.send(Method::GET, path, None).await?;
        ensure!(matches!(code, 200 | 404), "{path} is answered {code}: {value}");
        Ok((code == 200).then_some(value))
    }

    /// All objects of a path; none when there is nothing of the kind.
    ///
    /// # Errors
    /// When the server says something else.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let found = self.get(path).await?.unwrap_or_default();
        Ok(found["items"].as_array().cloned().unwrap_or_default())
    }

    /// Makes an object; one that is there stays.
    ///
    /// # Errors
    /// What the server said.
    pub async fn create(&self, path: &str, object: &Value) -> Result<()> {
        let (code, answer) = self.send(Method::POST, path, Some(object)).await?;
        ensure!(matches!(code, 200 | 201 | 409), "a create at {path} is answered {code}: {answer}");
        Ok(())
    }

    /// Merges a patch into an object; false when it is gone.
    ///
    /// # Errors
    /// What the server said.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<bool> {
        let (code, answer) = self.send(Method::PATCH, path, Some(patch)).await?;
        ensure!(matches!(code, 200 | 404), "a patch of {path} is answered {code}: {answer}");
        Ok(code == 200)
    }

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    /// What the server said.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let (code, answer) = self.send(Method::DELETE, path, None).await?;
        ensure!(matches!(code, 200 | 202 | 404), "a delete of {path} is answered {code}: {answer}");
        Ok(())
    }
}

/// A text in an object; empty when it is not there.
pub fn text(object: &Value, path: &str) -> String {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a Secret holds under a key.
pub fn secret_text(secret: &Value, key: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(secret.get("data")?.get(key)?.as_str()?).ok()?).ok()
}
