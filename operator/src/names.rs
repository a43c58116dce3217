//! Names and labels of everything the operator makes.

use crate::object::Key;
use crate::order::Order;
use crate::order::OrderRef;
use sha2::{Digest, Sha256};
use siyada_model::id::{OrderUid, TenantName};
use std::collections::BTreeMap;

/// The one field manager of every write.
pub const FIELD_MANAGER: &str = "siyada-operator";
/// Field manager of a creation, until the first apply takes its fields over.
pub const CREATING_MANAGER: &str = "siyada-operator-create";
/// Finalizer on orders: usage is closed and data kept or removed before an order goes.
pub const FINALIZER: &str = "siyada.cloud/order";
/// Finalizer on price lists and tenants that the ledger knows.
pub const LEDGER_FINALIZER: &str = "siyada.cloud/ledger";
/// Annotation with who ordered, stamped by the API server.
pub const REQUESTER: &str = "siyada.cloud/requester";

/// Annotation with who decided something about an object, stamped by the API server: a forced deletion, or a stop confirmed.
pub const DECIDED_BY: &str = "siyada.cloud/decided-by";

/// Label of every object that a plan made; what CloudNativePG makes of it does not carry it.
pub const MANAGED: &str = "siyada.cloud/managed";
/// Label with the order's uid, also on what the engine makes.
pub const ORDER_UID: &str = "siyada.cloud/order-uid";
/// Label with the order's kind.
pub const ORDER_KIND: &str = "siyada.cloud/order-kind";
/// Label with the order's namespace.
pub const ORDER_NAMESPACE: &str = "siyada.cloud/order-namespace";
/// Label with the order's name.
pub const ORDER_NAME: &str = "siyada.cloud/order-name";
/// Label with the tenant, on namespaces and on every object.
pub const TENANT: &str = "siyada.cloud/tenant";
/// Label on the namespace of the monitoring, which may read the metrics of databases. Nobody but the platform can set it.
pub const MONITORING: &str = "siyada.cloud/monitoring";
/// Label of engine namespaces.
pub const ENGINE: &str = "siyada.cloud/engine";
/// Label on a namespace that holds protected orders; a policy refuses to delete such a one.
pub const PROTECTED_ORDERS: &str = "siyada.cloud/protected-orders";
/// Label on an engine object whose order is gone and whose data is kept.
pub const RETAINED: &str = "siyada.cloud/retained";
/// Annotation on such an engine object: since when its data is kept. An expiry counts from it.
pub const RETAINED_SINCE: &str = "siyada.cloud/retained-since";
/// Annotation on such an engine object: bytes that its bucket was measured to take once it had stopped.
pub const BACKUP_BYTES: &str = "siyada.cloud/backup-bytes";
/// Label and annotation on the note of what a deleted order has in the object store; the annotation says what.
pub const ARCHIVE: &str = "siyada.cloud/archive";
/// Annotation on the engine's object of a last backup: which try it is.
pub const LAST_BACKUP: &str = "siyada.cloud/last-backup";
/// Annotation with the hash of what was last applied: tells that a field left the plan.
pub const APPLIED: &str = "siyada.cloud/applied";
/// Annotation on a certificate: renew from this second on.
pub const RENEW_AFTER: &str = "siyada.cloud/renew-after";
/// Annotation on a certificate: hash of its names and of the authority's certificate.
pub const CERTIFICATE_FOR: &str = "siyada.cloud/certificate-for";
/// Annotation on what runs an instance: what its order asked for and in which form it was given last. What differs later, and was
/// not asked, waits for the maintenance window.
pub const GIVEN: &str = "siyada.cloud/given";
/// Annotation on an engine object with the archive that its first data came from.
pub const RESTORED_FROM: &str = "siyada.cloud/restored-from";
/// Label on what a restore drill made: the uid of the order whose backup is restored. A throw-away cluster has no label of
/// the order itself, so that nobody takes it for the order's, bills it or counts it in a quota.
pub const DRILL: &str = "siyada.cloud/drill";
/// Annotation on the cluster of a drill: when it began.
pub const DRILL_BEGAN: &str = "siyada.cloud/drill-began";
/// Annotation on the cluster of a drill: the backup that it restores, as it is listed.
pub const DRILL_BACKUP: &str = "siyada.cloud/drill-backup";
/// Annotation on the cluster of a drill: the site whose store it reads.
pub const DRILL_SITE: &str = "siyada.cloud/drill-site";
/// Annotation on an engine cluster: its last change of major version, from the wish on.
pub const MAJOR: &str = "siyada.cloud/major-version";
/// Annotation on the engine's object of a backup that is made for a change of major version: of which, before or after it, and the
/// how manieth try it is.
pub const MAJOR_BACKUP: &str = "siyada.cloud/major-backup";
/// Annotation on an engine object with what the platform must know when the order is gone.
pub const ORDER_RECORD: &str = "siyada.cloud/order-record";

/// CloudNativePG's annotation on a cluster: `on` removes the pods and keeps the volumes.
pub const HIBERNATION: &str = "cnpg.io/hibernation";
/// Annotation on an engine cluster: where its logins stand. Absent: it has its first.
pub const ROTATION: &str = "siyada.cloud/rotation";
/// Label on a Secret of a login: its number.
pub const LOGIN_NUMBER: &str = "siyada.cloud/login-number";

/// Label on a Secret of a further login: uid of the object that asks for it.
pub const CREDENTIAL: &str = "siyada.cloud/credential";
/// Finalizer on further logins: nobody is let in with one before it goes.
pub const CREDENTIAL_FINALIZER: &str = "siyada.cloud/credential";
/// What the role of a further login begins with; its slot follows.
pub const FURTHER_LOGIN_ROLE: &str = "app_c_";

/// Role that owns all data and cannot log in, so that rotating a login moves nothing.
pub const OWNER_ROLE: &str = "app_owner";
/// The first login that clients use, and every second one after it.
pub const LOGIN_ROLE: &str = "app_a";
/// The login in turn with the first.
pub const SECOND_LOGIN_ROLE: &str = "app_b";
/// The database.
pub const DATABASE: &str = "app";

/// What the name of a note of what is in the object store ends with.
const ARCHIVE_SUFFIX: &str = "-archive";

/// The namespace of a tenant's engine objects. The platform owns it.
pub fn engine_namespace(tenant: &TenantName) -> String {
    format!("siyada-t-{tenant}")
}

/// The tenant whose engine objects lie in a namespace.
pub fn tenant_of(engine_namespace: &str) -> Option<TenantName> {
    engine_namespace.strip_prefix("siyada-t-")?.parse().ok()
}

/// First ten hexadecimal digits of a text's SHA-256.
pub fn short_hash(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text.as_bytes()));
    hash.truncate(10);
    hash
}

/// The stem of every child's name: at most 30 characters of the order's name and ten of its uid's hash, so that a
/// re-created name inherits nothing.
pub fn stem(order: &OrderRef, uid: &OrderUid) -> String {
    format!("{}-{}", order.name, short_hash(uid.as_str()))
}

/// The labels that say whose an object is.
pub fn labels(at: &OrderRef, uid: &OrderUid, tenant: &TenantName) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (ORDER_UID, uid.to_string()),
        (ORDER_KIND, at.kind.to_string()),
        (ORDER_NAMESPACE, at.namespace.clone()),
        (ORDER_NAME, at.name.clone()),
        (TENANT, tenant.to_string()),
    ])
}

/// Names of an order's children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Namespace of the engine objects.
    pub engine: String,
    /// The engine cluster, and the stem of the others.
    pub cluster: String,
}

impl Names {
    /// The names for an order of a tenant.
    pub fn of(order: &Order, tenant: &TenantName) -> Self {
        Self { engine: engine_namespace(tenant), cluster: stem(&order.at, &order.uid) }
    }
    /// The names of an instance whose engine object is this one.
    pub fn at(cluster: &Key) -> Self {
        Self { engine: cluster.namespace.clone(), cluster: cluster.name.clone() }
    }
    /// The names of the throw-away instance that a backup of the order is restored into: one at a time.
    pub fn of_drill(uid: &OrderUid, tenant: &TenantName) -> Self {
        Self { engine: engine_namespace(tenant), cluster: format!("drill-{}", short_hash(uid.as_str())) }
    }
    /// Secret of the owning role; the engine wants one, though nobody can log in with it.
    pub fn owner_secret(&self) -> String {
        format!("{}-owner", self.cluster)
    }
    /// The source of a login's credentials. The first has the name that it had before there were others.
    pub fn login_secret(&self, number: u32) -> String {
        if number == 1 {
            format!("{}-login-a", self.cluster)
        } else {
            format!("{}-login-{number}", self.cluster)
        }
    }
    /// The password that nobody is given, of a login that ends.
    pub fn closing_secret(&self, number: u32) -> String {
        format!("{}-closing-{number}", self.cluster)
    }
    /// The Secret that says whose a slot of further logins is, with its first password.
    pub fn credential_secret(&self, slot: u32) -> String {
        format!("{}-cred-{slot}", self.cluster)
    }
    /// The source of a further login's password: another one for each text that asks for a new one.
    pub fn credential_source(&self, slot: u32, uid: &str, trigger: &str) -> String {
        let first = self.credential_secret(slot);
        if trigger.is_empty() {
            first
        } else {
            format!("{first}-{}", short_hash(&format!("{uid}\n{trigger}")))
        }
    }
    /// The password that nobody is given, of a further login that ends.
    pub fn credential_closing(&self, slot: u32) -> String {
        format!("{}-closing", self.credential_secret(slot))
    }
    /// Secret with the authority's certificate, without its key.
    pub fn authority_secret(&self) -> String {
        format!("{}-serverca", self.cluster)
    }
    /// Secret with the server's certificate and key.
    pub fn server_secret(&self) -> String {
        format!("{}-server", self.cluster)
    }
    /// Secret with the login of the object store.
    pub fn store_secret(&self) -> String {
        format!("{}-store", self.cluster)
    }
    /// The note of what the order has in the object store when it is gone.
    pub fn archive(&self) -> String {
        format!("{}{ARCHIVE_SUFFIX}", self.cluster)
    }
    /// The names of an order whose note has a name.
    pub fn of_archive(engine: &str, note: &str) -> Option<Self> {
        let cluster = note.strip_suffix(ARCHIVE_SUFFIX)?.to_owned();
        Some(Self { engine: engine.to_owned(), cluster })
    }
    /// The engine's object of a last backup: one for each try.
    pub fn last_backup(&self, uid: &OrderUid, number: u32) -> String {
        self.backup(&format!("{uid}/last/{number}"))
    }
    /// The engine's schedule of backups.
    pub fn schedule(&self) -> String {
        format!("{}-sched", self.cluster)
    }
    /// The engine's object of a backup that somebody asked for.
    pub fn backup(&self, uid: &str) -> String {
        format!("{}-{}", self.cluster, short_hash(uid))
    }
    /// Service of the primary, made by the engine.
    pub fn rw_service(&self) -> String {
        format!("{}-rw", self.cluster)
    }
    /// Deployment and Service of the document gateway.
    pub fn gateway(&self) -> String {
        format!("{}-docs", self.cluster)
    }
    /// Policy on who may connect.
    pub fn network_policy(&self) -> String {
        self.cluster.clone()
    }
    /// DNS name of a service of the engine namespace.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.engine)
    }
    /// Every DNS name that the server's certificate carries.
    pub fn certificate_names(&self) -> Vec<String> {
        let services = [self.rw_service(), self.gateway()];
        let forms = |service: String| {
            let qualified = format!("{service}.{}", self.engine);
            [service, qualified.clone(), format!("{qualified}.svc"), format!("{qualified}.svc.cluster.local")]
        };
        services.into_iter().flat_map(forms).collect()
    }
}

/// The Secret a client connects with, beside the order. The kind is in its name, as both kinds may share one.
pub fn binding(order: &OrderRef) -> String {
    format!("{}-{}", order.name, order.kind.binding_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Kind;

    #[test]
    fn the_longest_order_fits_the_engine() {
        let at = OrderRef {
            kind: Kind::Postgres,
            namespace: "n".into(),
            name: "a".repeat(siyada_crds::order::LONGEST_NAME),
        };
        let cluster = stem(&at, &"u".parse().unwrap());
        assert!(cluster.len() <= 50, "CloudNativePG allows 50 characters, this has {}", cluster.len());
        let names = Names { engine: "e".into(), cluster };
        assert!(names.gateway().len() <= 63 && names.rw_service().len() <= 63);
    }

    #[test]
    fn another_uid_has_other_names() {
        let at = OrderRef { kind: Kind::Postgres, namespace: "n".into(), name: "db".into() };
        assert_ne!(stem(&at, &"u1".parse().unwrap()), stem(&at, &"u2".parse().unwrap()));
    }
}
