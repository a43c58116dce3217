//! An order of either kind, as every step reads it.

use crate::force::Wish;
use crate::names;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use siyada_crds::backup::BackedUpKind;
use siyada_crds::{DocumentStoreInstance, OrderSpec, OrderStatus, PostgresInstance, catalogue::Engine};
use siyada_model::id::OrderUid;
use std::fmt;

/// Which custom resource an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `PostgresInstance`.
    Postgres,
    /// `DocumentStoreInstance`.
    Documents,
}

impl From<BackedUpKind> for Kind {
    fn from(kind: BackedUpKind) -> Self {
        match kind {
            BackedUpKind::PostgresInstance => Self::Postgres,
            BackedUpKind::DocumentStoreInstance => Self::Documents,
        }
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Documents];

    /// The Kubernetes kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "PostgresInstance",
            Self::Documents => "DocumentStoreInstance",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// As a backup of it names it.
    pub fn backed_up(self) -> BackedUpKind {
        match self {
            Self::Postgres => BackedUpKind::PostgresInstance,
            Self::Documents => BackedUpKind::DocumentStoreInstance,
        }
    }

    /// The engine family that serves it.
    pub fn engine(self) -> Engine {
        match self {
            Self::Postgres => Engine::PostgreSQL,
            Self::Documents => Engine::Documents,
        }
    }

    /// The `type` of its binding (servicebinding.io).
    pub fn binding_type(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Documents => "mongodb",
        }
    }

    /// TCP port that clients use.
    pub fn port(self) -> i32 {
        match self {
            Self::Postgres => 5432,
            Self::Documents => 27017,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A custom resource that is an order.
pub trait OrderResource:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + fmt::Debug
    + serde::de::DeserializeOwned
    + serde::Serialize
    + Send
    + Sync
    + 'static
{
    /// Which kind it is.
    const KIND: Kind;
    /// What it asks for.
    fn order_spec(&self) -> &OrderSpec;
    /// What it was told.
    fn order_status(&self) -> Option<&OrderStatus>;
}

impl OrderResource for PostgresInstance {
    const KIND: Kind = Kind::Postgres;
    fn order_spec(&self) -> &OrderSpec {
        &self.spec.order
    }
    fn order_status(&self) -> Option<&OrderStatus> {
        self.status.as_ref()
    }
}

impl OrderResource for DocumentStoreInstance {
    const KIND: Kind = Kind::Documents;
    fn order_spec(&self) -> &OrderSpec {
        &self.spec.order
    }
    fn order_status(&self) -> Option<&OrderStatus> {
        self.status.as_ref()
    }
}

/// Where an order is: enough to find it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl OrderRef {
    /// The reference that a controller of `K` takes.
    pub fn object_ref<K: OrderResource>(&self) -> ObjectRef<K> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

/// An order, of whichever kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Where it is.
    pub at: OrderRef,
    /// Its uid: a name ordered again has another one.
    pub uid: OrderUid,
    /// Generation of its spec.
    pub generation: i64,
    /// Resource version that was read.
    pub resource_version: Option<String>,
    /// The API server's stamp of its deletion.
    pub deletion: Option<Timestamp>,
    /// Whether our finalizer is on it.
    pub finalized: bool,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Who ordered it, as the API server stamped it.
    pub requester: Option<String>,
    /// That somebody of the platform wants it to go, whatever it leaves.
    pub force: Option<Wish>,
    /// What it asks for.
    pub spec: OrderSpec,
    /// What it was told last.
    pub status: OrderStatus,
}

/// Why an object cannot be read as an order.
#[derive(Debug, thiserror::Error)]
pub enum ReadOrder {
    /// The API server always sets them; their absence means a hand-made object.
    #[error("failed to read the order: it has no {0}")]
    Missing(&'static str),
    /// The uid has a form that Kubernetes does not give.
    #[error("failed to read the order's uid")]
    Uid(#[source] siyada_model::id::InvalidId),
}

impl Order {
    /// Reads a custom resource as an order.
    ///
    /// # Errors
    /// [`ReadOrder`] when it lacks what the API server always sets.
    pub fn of<K: OrderResource>(object: &K) -> Result<Self, ReadOrder> {
        let status = object.order_status().cloned().unwrap_or_default();
        Self::new(K::KIND, object.meta(), object.order_spec().clone(), status)
    }

    fn new(kind: Kind, meta: &ObjectMeta, spec: OrderSpec, status: OrderStatus) -> Result<Self, ReadOrder> {
        let missing = ReadOrder::Missing;
        let at = OrderRef {
            kind,
            namespace: meta.namespace.clone().ok_or(missing("namespace"))?,
            name: meta.name.clone().ok_or(missing("name"))?,
        };
        let uid = meta.uid.as_deref().ok_or(missing("uid"))?.parse().map_err(ReadOrder::Uid)?;
        let finalizers = meta.finalizers.clone().unwrap_or_default();
        let annotations = meta.annotations.as_ref();
        Ok(Self {
            at,
            uid,
            generation: meta.generation.unwrap_or(1),
            resource_version: meta.resource_version.clone(),
            deletion: meta.deletion_timestamp.as_ref().map(|t| t.0),
            finalized: finalizers.iter().any(|f| f == names::FINALIZER),
            finalizers,
            requester: annotations.and_then(|a| a.get(names::REQUESTER)).cloned(),
            force: Wish::of(meta),
            spec,
            status,
        })
    }

    /// Whether its data survives its deletion: always unless it is unprotected and says `Delete`.
    pub fn retains_data(&self) -> bool {
        self.spec.deletion_protection || self.spec.on_deletion != siyada_crds::order::OnDeletion::Delete
    }
}

/// The name of any object, for messages.
pub fn display_name<K: Resource>(object: &K) -> String {
    object.namespace().map_or_else(|| object.name_any(), |ns| format!("{ns}/{}", object.name_any()))
}
