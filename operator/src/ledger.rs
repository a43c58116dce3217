//! The one place that speaks to the ledger (the api).

use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use siyada_model::act::PlatformAct;
use siyada_model::id::{OrderUid, TenantName};
use siyada_model::wire::{
    Alert, AvailabilityBatch, Checkpoint, CounterBatch, INCARNATION, LARGEST_PAGE, Page, PriceListRecord,
    Problem, QuotaView, Quote, QuoteRequest, Reservation, ReservationRequest, TenantRecord, UsageAccepted,
    UsageBatch,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A call may take so long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the ledger answered instead of doing it.
#[derive(Debug, thiserror::Error)]
pub enum Ledger {
    /// It refuses, with a stable code and a sentence.
    #[error("the ledger refuses: {}", .0.detail)]
    Refused(Box<Problem>),
    /// It does not answer, or not sensibly: try again.
    #[error("failed to reach the ledger: {0}")]
    Unavailable(String),
}

impl Ledger {
    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Unavailable(_) => None,
        }
    }
}

/// A client of the ledger.
#[derive(Clone, Debug)]
pub struct LedgerClient {
    http: reqwest::Client,
    base: String,
    token_file: PathBuf,
    incarnation: Arc<Incarnation>,
}

/// Which incarnation of the ledger answers: another one may have lost what the one before acknowledged.
#[derive(Debug, Default)]
struct Incarnation {
    last: Mutex<Option<String>>,
    another: Notify,
}

impl Incarnation {
    /// Takes note of who answered. An api of the version before does not say it.
    fn heard(&self, name: Option<&str>) {
        let Some(name) = name else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() == Some(name) {
            return;
        }
        if last.replace(name.to_owned()).is_some() {
            self.another.notify_one();
        }
    }
}

impl LedgerClient {
    /// A client that trusts only our own authority.
    ///
    /// # Errors
    /// When the authority's certificate cannot be read.
    pub fn new(base: &str, token_file: PathBuf, authority_pem: &str) -> Result<Self, reqwest::Error> {
        let authority = reqwest::Certificate::from_pem(authority_pem.as_bytes())?;
        let http = reqwest::Client::builder()
            .tls_certs_only([authority])
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            token_file,
            incarnation: Arc::default(),
        })
    }

    /// Returns when another incarnation of the ledger answered than the one before.
    pub async fn another_incarnation(&self) {
        self.incarnation.another.notified().await;
    }

    async fn call<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Option<A>, Ledger> {
        let unavailable = |error: String| Ledger::Unavailable(error);
        // The kubelet rotates the file; it is read each time, from memory.
        let token = tokio::fs::read_to_string(&self.token_file)
            .await
            .map_err(|e| unavailable(format!("no token: {e}")))?;
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token.trim());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|e| unavailable(e.without_url().to_string()))?;
        self.incarnation.heard(answer.headers().get(INCARNATION).and_then(|name| name.to_str().ok()));
        let status = answer.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        if status.is_success() {
            return answer.json().await.map(Some).map_err(|e| unavailable(e.without_url().to_string()));
        }
        let problem: Option<Problem> = answer.json().await.ok();
        match problem {
            Some(problem)
                if status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 429) =>
            {
                Err(Ledger::Refused(Box::new(problem)))
            }
            Some(problem) => Err(unavailable(format!("{status}: {}", problem.detail))),
            None => Err(unavailable(status.to_string())),
        }
    }

    async fn must<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<A, Ledger> {
        let answer = self.call(method, path, Some(body)).await?;
        answer.ok_or_else(|| Ledger::Unavailable("an answer without content".to_owned()))
    }

    /// Tells the ledger of a tenant.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn put_tenant(&self, name: &TenantName, record: &TenantRecord) -> Result<(), Ledger> {
        self.call::<_, serde_json::Value>(Method::PUT, &format!("/v1/tenants/{name}"), Some(record))
            .await
            .map(|_| ())
    }

    /// Removes a tenant that holds nothing. Absence is fine.
    ///
    /// # Errors
    /// [`Ledger`]; `in-use` names what it still holds.
    pub async fn delete_tenant(&self, name: &TenantName) -> Result<(), Ledger> {
        self.delete(&format!("/v1/tenants/{name}")).await
    }

    /// Tells the ledger of a price list.
    ///
    /// # Errors
    /// [`Ledger`]; `conflict` when another one of that name is known.
    pub async fn put_price_list(&self, record: &PriceListRecord) -> Result<(), Ledger> {
        let path = format!("/v1/price-lists/{}", record.prices.name);
        self.call::<_, serde_json::Value>(Method::PUT, &path, Some(record)).await.map(|_| ())
    }

    /// Removes a price list that priced nothing. Absence is fine.
    ///
    /// # Errors
    /// [`Ledger`]; `in-use` when something was priced with it.
    pub async fn delete_price_list(&self, name: &str) -> Result<(), Ledger> {
        self.delete(&format!("/v1/price-lists/{name}")).await
    }

    async fn delete(&self, path: &str) -> Result<(), Ledger> {
        match self.call::<(), serde_json::Value>(Method::DELETE, path, None).await {
            Err(error) if error.code() == Some(siyada_model::wire::code::NOT_FOUND) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Asks what something would cost and whether it fits. Changes nothing.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn quote(&self, request: &QuoteRequest) -> Result<Quote, Ledger> {
        self.must(Method::POST, "/v1/quotes", request).await
    }

    /// Holds an order's part of the quota. Idempotent.
    ///
    /// # Errors
    /// [`Ledger`]; `quota-exceeded` carries what does not fit.
    pub async fn hold(&self, uid: &OrderUid, request: &ReservationRequest) -> Result<Reservation, Ledger> {
        self.must(Method::PUT, &format!("/v1/reservations/{uid}"), request).await
    }

    /// Gives an order's part of the quota back. Absence is fine.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn release(&self, uid: &OrderUid) -> Result<(), Ledger> {
        self.delete(&format!("/v1/reservations/{uid}")).await
    }

    /// Reports usage. Sent again, it changes nothing.
    ///
    /// # Errors
    /// [`Ledger`]; `fenced` when a newer operator is at work.
    pub async fn report(&self, batch: &UsageBatch) -> Result<UsageAccepted, Ledger> {
        self.must(Method::POST, "/v1/usage", batch).await
    }

    /// Tells where counters stood. Sent again, it changes nothing.
    ///
    /// # Errors
    /// [`Ledger`]; `conflict` names a reading that contradicts another.
    pub async fn count(&self, batch: &CounterBatch) -> Result<UsageAccepted, Ledger> {
        self.must(Method::POST, "/v1/usage/counters", batch).await
    }

    /// Tells whether somebody can log in to instances. Sent again, it changes nothing.
    ///
    /// # Errors
    /// [`Ledger`]; `not-found` from a ledger that takes none yet.
    pub async fn availability(&self, batch: &AvailabilityBatch) -> Result<UsageAccepted, Ledger> {
        self.must(Method::POST, "/v1/usage/availability", batch).await
    }

    /// Says what is still as reported.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), Ledger> {
        self.call::<_, serde_json::Value>(Method::POST, "/v1/usage/checkpoints", Some(checkpoint))
            .await
            .map(|_| ())
    }

    /// Puts on record what somebody of the platform did. Told again, it changes nothing.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn tell(&self, act: &PlatformAct) -> Result<(), Ledger> {
        self.call::<_, serde_json::Value>(Method::POST, "/v1/audit", Some(act)).await.map(|_| ())
    }

    async fn read<A: DeserializeOwned>(&self, path: &str) -> Result<A, Ledger> {
        let answer = self.call::<(), A>(Method::GET, path, None).await?;
        answer.ok_or_else(|| Ledger::Unavailable("an answer without content".to_owned()))
    }

    /// What a tenant holds beside its limits.
    ///
    /// # Errors
    /// [`Ledger`]; `not-found` when it is not known yet.
    pub async fn quota(&self, name: &TenantName) -> Result<QuotaView, Ledger> {
        self.read(&format!("/v1/tenants/{name}/quota")).await
    }

    /// The alerts after one, oldest first.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn alerts(&self, after: i64) -> Result<Page<Alert>, Ledger> {
        self.read(&format!("/v1/alerts?after={after}&pageSize={LARGEST_PAGE}")).await
    }

    /// Everything that is held, a page at a time.
    ///
    /// # Errors
    /// [`Ledger`].
    pub async fn reservations(&self, token: Option<&str>) -> Result<Page<Reservation>, Ledger> {
        let token = token.map(|t| format!("&pageToken={t}")).unwrap_or_default();
        self.read(&format!("/v1/reservations?pageSize={LARGEST_PAGE}{token}")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_another_incarnation_than_the_one_before_is_told() {
        let incarnation = Incarnation::default();
        let told = async || {
            let told = incarnation.another.notified();
            tokio::time::timeout(Duration::ZERO, told).await.is_ok()
        };
        for (name, expect) in [
            (None, false),
            (Some("1"), false),
            (Some("1"), false),
            (None, false),
            (Some("2"), true),
            (Some("2"), false),
        ] {
            incarnation.heard(name);
            assert_eq!(told().await, expect, "{name:?}");
        }
    }
}
