//! One look at everything there is.

use super::server::{Server, path};
use super::world::Kind;
use super::{ABOVE, TENANT};
use crate::platform::Api;
use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;
use siyada_model::usage::Interval;
use siyada_model::wire::{Page, QuotaView, Reservation};

/// An object that some order may have left, other than an order.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its kind, as a person writes it.
    pub kind: &'static str,
    /// Its content.
    pub body: Value,
}

impl Object {
    /// A text of it by pointer; empty when it is not there.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
    /// Its name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }
    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }
    /// A label of it.
    pub fn label(&self, name: &str) -> &str {
        self.body
            .pointer("/metadata/labels")
            .and_then(|l| l.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Everything there is.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the look began.
    pub at: Timestamp,
    /// The orders of the soak's namespace.
    pub orders: Vec<Value>,
    /// Everything in engine namespaces, and what has the label of an order elsewhere.
    pub objects: Vec<Object>,
    /// What the tenant holds, one by one.
    pub reservations: Vec<Reservation>,
    /// What the tenant and the one above hold, in sum.
    pub quotas: Vec<QuotaView>,
    /// What the tenant is billed for.
    pub intervals: Vec<Interval>,
}

const KINDS: [(&str, &str); 7] = [
    ("Cluster", path::CLUSTERS),
    ("Secret", "/api/v1/secrets"),
    ("Service", "/api/v1/services"),
    ("PersistentVolumeClaim", "/api/v1/persistentvolumeclaims"),
    ("Pod", "/api/v1/pods"),
    ("Deployment", "/apis/apps/v1/deployments"),
    ("NetworkPolicy", "/apis/networking.k8s.io/v1/networkpolicies"),
];

/// Looks. The ledger is looked at last: what it says is never older than what the cluster says.
///
/// # Errors
/// When somebody does not answer.
pub async fn look(server: &Server, api: &Api) -> Result<Snapshot> {
    let at = Timestamp::now();
    let orders = futures::future::try_join_all(Kind::ALL.map(|kind| async move {
        let mut orders = server.list(&path::orders(kind)).await?;
        // Members of a list do not say what they are.
        orders.iter_mut().for_each(|order| order["kind"] = Value::from(kind.as_str()));
        anyhow::Ok(orders)
    }))
    .await?
    .concat();
    let objects = futures::future::try_join_all(KINDS.map(|(kind, path)| async move {
        let found = server.list(path).await?.into_iter().map(|body| Object { kind, body });
        let ours = |o: &Object| {
            o.namespace().starts_with("siyada-t-") || !o.label("siyada.cloud/order-uid").is_empty()
        };
        anyhow::Ok(found.filter(ours).collect::<Vec<_>>())
    }))
    .await?
    .concat();
    let (reservations, intervals, quotas) =
        futures::future::try_join3(reservations(api), intervals(api), quotas(api)).await?;
    Ok(Snapshot { at, orders, objects, reservations, quotas, intervals })
}

async fn reservations(api: &Api) -> Result<Vec<Reservation>> {
    pages(api, &format!("/v1/tenants/{TENANT}/reservations?pageSize=500")).await
}

/// Every interval of the tenant there ever was.
///
/// # Errors
/// When the api does not answer.
pub async fn intervals(api: &Api) -> Result<Vec<Interval>> {
    pages(api, &format!("/v1/tenants/{TENANT}/intervals?pageSize=500&from=2000-01-01T00:00:00Z")).await
}

async fn quotas(api: &Api) -> Result<Vec<QuotaView>> {
    let one = |tenant: &'static str| async move {
        anyhow::Ok(serde_json::from_value(api.read(&format!("/v1/tenants/{tenant}/quota")).await?)?)
    };
    futures::future::try_join_all([TENANT, ABOVE].map(one)).await
}

async fn pages<T: serde::de::DeserializeOwned>(api: &Api, path: &str) -> Result<Vec<T>> {
    let (mut all, mut token) = (Vec::new(), None::<String>);
    loop {
        let more = token.map(|token| format!("&pageToken={token}")).unwrap_or_default();
        let page: Page<T> = serde_json::from_value(api.read(&format!("{path}{more}")).await?)?;
        all.extend(page.items);
        token = page.next_page_token;
        if token.is_none() {
            return Ok(all);
        }
    }
}
