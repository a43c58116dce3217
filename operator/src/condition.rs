//! The vocabulary of conditions, and how they are merged.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Types of conditions.
pub mod kind {
    /// A client logged in with the bound Secret.
    pub const READY: &str = "Ready";
    /// The order may be: it is valid and its quota is held.
    pub const ADMITTED: &str = "Admitted";
    /// The engine objects exist and the engine says that it runs.
    pub const PROVISIONED: &str = "Provisioned";
    /// The credentials exist and are in the binding.
    pub const CREDENTIALS_READY: &str = "CredentialsReady";
    /// The volumes are there in the size that was ordered, and have room.
    pub const STORAGE_HEALTHY: &str = "StorageHealthy";
    /// Changes are archived and a whole backup is recent.
    pub const BACKUP_HEALTHY: &str = "BackupHealthy";
    /// A backup was restored and read.
    pub const BACKUP_PROVEN: &str = "BackupProven";
    /// The ledger has acknowledged what is billed.
    pub const METERING_ACTIVE: &str = "MeteringActive";
    /// Why a deletion, or the stop or removal of what is kept, does not finish; absent otherwise.
    pub const DELETION_BLOCKED: &str = "DeletionBlocked";
    /// Kept data that is removed within days.
    pub const EXPIRES_SOON: &str = "ExpiresSoon";
    /// Kept data from which a new order can begin.
    pub const RESTORABLE: &str = "Restorable";
    /// kstatus: work is under way; absent otherwise.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: somebody must act; absent otherwise.
    pub const STALLED: &str = "Stalled";
}

/// Reasons: the whole vocabulary, in one place. `docs/reference/conditions.md` lists them, a test compares.
pub mod reason {
    /// All of them: name and sentence.
    pub const ALL: &[(&str, &str)] = &[
        (ADMITTED, "The order is valid and its part of the quota is held."),
        (
            APPROVAL_PENDING,
            "The price is above a tenant's threshold: somebody who did not order it must approve.",
        ),
        (APPROVAL_REJECTED, "An approver refused the order as it is."),
        (APPLYING, "The parts are being written."),
        (ARCHIVING_FAILED, "Changes do not reach the object store."),
        (BACKUP_EXPIRED, "The backup's days are over and the engine has removed it."),
        (BACKUP_FAILED, "A backup could not be made; the message says why and when it is tried again."),
        (BACKUP_NOT_CONFIGURED, "The site or the plan has no backups."),
        (BACKUP_NOT_OFFERED, "The plan does not offer the backups that the order asks for."),
        (BACKUP_OVERDUE, "The schedule wanted another backup since the last one."),
        (BACKUP_PENDING, "Nothing was archived or backed up yet."),
        (BACKUP_RECENT, "Changes are archived and a whole backup is recent."),
        (BACKUP_STORE_UNAVAILABLE, "The object store gave the instance no login yet."),
        (RESTORE_PENDING, "The archive does not hold the moment yet to which the order is to be restored."),
        (RESTORE_IMPOSSIBLE, "What the order is to be restored from cannot be read."),
        (BEING_DELETED, "The order is being deleted."),
        (BOUND, "The volumes are there in the size that was ordered."),
        (CLASSIFICATION_NOT_ALLOWED, "The data is more sensitive than the tenant or the site may hold."),
        (COST_ABOVE_MAXIMUM, "The price is above the order's own maxMonthlyCost."),
        (CREDENTIAL_NOT_OFFERED, "This instance can have no such further login."),
        (CREDENTIALS_LOST, "The source of the credentials is gone although the database exists."),
        (BINDING_READY, "The binding Secret is beside the order."),
        (DISK_FULL, "The volume is full: the database takes no more data or has stopped."),
        (DISK_NEARLY_FULL, "80 % or more of the volume is used."),
        (DRILL_FAILED, "The last backup that was tried could not be restored and read."),
        (NEVER_BACKED_UP, "The kept data was never backed up, so no order can begin with it."),
        (NEVER_PROVEN, "No backup was restored yet to prove that it can be."),
        (PROVEN, "A backup was restored and read."),
        (
            ENGINE_OBJECT_STAYS,
            "An object of the engine has not gone in time; the message names it and what holds it.",
        ),
        (
            ENGINE_RUNS_ON,
            "Compute of data that is kept has not stopped in time; the message names what runs.",
        ),
        (ENGINE_NOT_READY, "The engine does not report a running database yet."),
        (HIGH_AVAILABILITY_NOT_OFFERED, "The plan has no standbys."),
        (
            LAST_BACKUP_FAILED,
            "The last backup of an order that is being deleted cannot be made; the message says why.",
        ),
        (LAST_BACKUP_LATE, "The last backup of an order that is being deleted is not finished in time."),
        (LEDGER_UNAVAILABLE, "The ledger does not answer; nothing new is started until it does."),
        (LOGIN_FAILED, "Nobody could log in with the bound Secret."),
        (LOGIN_SUCCEEDED, "The operator logged in with the bound Secret over verified TLS."),
        (MAJOR_UPGRADE_FAILED, "The change of the major version failed; the message says how to go back."),
        (
            MAJOR_VERSION_CHANGE,
            "The data cannot become that major version, or not now; the message says what can be done.",
        ),
        (EXPIRING, "The kept data is removed within days."),
        (KEPT, "The data of a deleted order is kept."),
        (METERING, "The ledger has acknowledged what is billed."),
        (NAME_CONFLICT, "An object of somebody else has the name of a part."),
        (NAMESPACE_WITHOUT_TENANT, "The namespace belongs to no tenant."),
        (NOT_METERED, "Nothing is billed yet."),
        (OFFERING_UNKNOWN, "The catalogue has no such offering."),
        (PARAMETER_NOT_ALLOWED, "The offering does not allow this parameter or value."),
        (PLAN_UNKNOWN, "The offering has no such plan."),
        (PRICE_UNKNOWN, "No price list in force has the plan's price."),
        (PROVISIONING, "The database is being made."),
        (QUOTA_EXCEEDED, "The quota of a tenant in the chain does not suffice."),
        (BUDGET_EXCEEDED, "The money of a tenant in the chain does not suffice."),
        (READ_BY_RESTORE, "Kept data is to go, and an order is still being restored from it."),
        (RECEIVED, "The order was seen and is being checked."),
        (RESIZE_PENDING, "A volume has not reached the ordered size yet."),
        (ROTATING, "The login is being replaced; what clients were given is accepted."),
        (RUNNING, "The engine reports a running database."),
        (SITE_UNKNOWN, "There is no such site."),
        (STORAGE_OUT_OF_RANGE, "The storage is less or more than the plan allows, or less than before."),
        (SUSPENDED, "The order asks for no compute, or may not have it again now; the data is kept."),
        (TENANT_SUSPENDED, "The tenant or one above it takes no new orders."),
        (TENANT_NOT_READY, "The tenant is not set up yet."),
        (TOO_MANY_DELETIONS, "Too much data was to be removed at once; the platform must confirm."),
        (VERIFYING, "The first login has not been tried yet."),
        (VERSION_UNKNOWN, "The offering has no such version."),
        (VOLUME_PENDING, "The volumes do not exist yet."),
        (VOLUME_STAYS, "A volume has not gone in time; the message names it and what holds it."),
        (WRITE_FAILED, "A part could not be written; it is tried again by itself."),
        (WRITE_REFUSED, "The API server refused a part."),
        (INSTANCE_UNKNOWN, "There is no such order in the namespace."),
        (INVALID, "A value cannot be read."),
    ];
    /// The order is valid and held.
    pub const ADMITTED: &str = "Admitted";
    /// Somebody must approve.
    pub const APPROVAL_PENDING: &str = "ApprovalPending";
    /// Somebody refused to approve.
    pub const APPROVAL_REJECTED: &str = "ApprovalRejected";
    /// Parts are being written.
    pub const APPLYING: &str = "Applying";
    /// Archiving fails.
    pub const ARCHIVING_FAILED: &str = "ArchivingFailed";
    /// Backup removed after its days.
    pub const BACKUP_EXPIRED: &str = "BackupExpired";
    /// First backup failed.
    pub const BACKUP_FAILED: &str = "BackupFailed";
    /// No store, or no backups in the plan.
    pub const BACKUP_NOT_CONFIGURED: &str = "BackupNotConfigured";
    /// Not in the plan.
    pub const BACKUP_NOT_OFFERED: &str = "BackupNotOffered";
    /// Last backup too old.
    pub const BACKUP_OVERDUE: &str = "BackupOverdue";
    /// Not archived yet.
    pub const BACKUP_PENDING: &str = "BackupPending";
    /// All well with backups.
    pub const BACKUP_RECENT: &str = "BackupRecent";
    /// Store silent.
    pub const BACKUP_STORE_UNAVAILABLE: &str = "BackupStoreUnavailable";
    /// Nothing to restore from.
    pub const RESTORE_IMPOSSIBLE: &str = "RestoreImpossible";
    /// The archive does not reach the moment yet.
    pub const RESTORE_PENDING: &str = "RestorePending";
    /// Being deleted.
    pub const BEING_DELETED: &str = "BeingDeleted";
    /// Volumes are as ordered.
    pub const BOUND: &str = "Bound";
    /// Binding is there.
    pub const BINDING_READY: &str = "BindingReady";
    /// Data too sensitive.
    pub const CLASSIFICATION_NOT_ALLOWED: &str = "ClassificationNotAllowed";
    /// Price above the order's own limit.
    pub const COST_ABOVE_MAXIMUM: &str = "CostAboveMaximum";
    /// No such further login.
    pub const CREDENTIAL_NOT_OFFERED: &str = "CredentialNotOffered";
    /// No such order.
    pub const INSTANCE_UNKNOWN: &str = "InstanceUnknown";
    /// Source of credentials gone.
    pub const CREDENTIALS_LOST: &str = "CredentialsLost";
    /// No room left.
    pub const DISK_FULL: &str = "DiskFull";
    /// Little room left.
    pub const DISK_NEARLY_FULL: &str = "DiskNearlyFull";
    /// Drill without a database that answers.
    pub const DRILL_FAILED: &str = "DrillFailed";
    /// No drill yet.
    pub const NEVER_PROVEN: &str = "NeverProven";
    /// Drill went well.
    pub const PROVEN: &str = "Proven";
    /// Engine not running yet.
    pub const ENGINE_NOT_READY: &str = "EngineNotReady";
    /// Plan without standbys.
    pub const HIGH_AVAILABILITY_NOT_OFFERED: &str = "HighAvailabilityNotOffered";
    /// Last backup not made.
    pub const LAST_BACKUP_FAILED: &str = "LastBackupFailed";
    /// Last backup not finished in time.
    pub const LAST_BACKUP_LATE: &str = "LastBackupLate";
    /// Ledger silent.
    pub const LEDGER_UNAVAILABLE: &str = "LedgerUnavailable";
    /// Login failed.
    pub const LOGIN_FAILED: &str = "LoginFailed";
    /// Login succeeded.
    pub const LOGIN_SUCCEEDED: &str = "LoginSucceeded";
    /// Data not rewritten.
    pub const MAJOR_UPGRADE_FAILED: &str = "MajorUpgradeFailed";
    /// Data of another major version.
    pub const MAJOR_VERSION_CHANGE: &str = "MajorVersionChange";
    /// Metered.
    pub const METERING: &str = "Metering";
    /// Foreign object in the way.
    pub const NAME_CONFLICT: &str = "NameConflict";
    /// Namespace of nobody.
    pub const NAMESPACE_WITHOUT_TENANT: &str = "NamespaceWithoutTenant";
    /// Not metered yet.
    pub const NOT_METERED: &str = "NotMetered";
    /// No such offering.
    pub const OFFERING_UNKNOWN: &str = "OfferingUnknown";
    /// Parameter refused.
    pub const PARAMETER_NOT_ALLOWED: &str = "ParameterNotAllowed";
    /// No such plan.
    pub const PLAN_UNKNOWN: &str = "PlanUnknown";
    /// No price.
    pub const PRICE_UNKNOWN: &str = "PriceUnknown";
    /// Being made.
    pub const PROVISIONING: &str = "Provisioning";
    /// Resources exceeded.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// Money exceeded.
    pub const BUDGET_EXCEEDED: &str = "BudgetExceeded";
    /// A restore still reads it.
    pub const READ_BY_RESTORE: &str = "ReadByRestore";
    /// Seen, nothing known yet.
    pub const RECEIVED: &str = "Received";
    /// Volume still growing.
    pub const RESIZE_PENDING: &str = "ResizePending";
    /// Login being replaced.
    pub const ROTATING: &str = "Rotating";
    /// Engine runs.
    pub const RUNNING: &str = "Running";
    /// No such site.
    pub const SITE_UNKNOWN: &str = "SiteUnknown";
    /// Storage out of range.
    pub const STORAGE_OUT_OF_RANGE: &str = "StorageOutOfRange";
    /// No compute wanted.
    pub const SUSPENDED: &str = "Suspended";
    /// Tenant suspended.
    pub const TENANT_SUSPENDED: &str = "TenantSuspended";
    /// Tenant being set up.
    pub const TENANT_NOT_READY: &str = "TenantNotReady";
    /// First login outstanding.
    pub const VERIFYING: &str = "Verifying";
    /// No such version.
    pub const VERSION_UNKNOWN: &str = "VersionUnknown";
    /// Volumes outstanding.
    pub const VOLUME_PENDING: &str = "VolumePending";
    /// Engine object not gone in time.
    pub const ENGINE_OBJECT_STAYS: &str = "EngineObjectStays";
    /// Compute of kept data not stopped in time.
    pub const ENGINE_RUNS_ON: &str = "EngineRunsOn";
    /// Near its end.
    pub const EXPIRING: &str = "Expiring";
    /// Data kept.
    pub const KEPT: &str = "Kept";
    /// Nothing to restore from.
    pub const NEVER_BACKED_UP: &str = "NeverBackedUp";
    /// Volume not gone in time.
    pub const VOLUME_STAYS: &str = "VolumeStays";
    /// Deletions stopped.
    pub const TOO_MANY_DELETIONS: &str = "TooManyDeletions";
    /// Part not written, tried again.
    pub const WRITE_FAILED: &str = "WriteFailed";
    /// Part refused by the API server.
    pub const WRITE_REFUSED: &str = "WriteRefused";
    /// Unreadable value.
    pub const INVALID: &str = "Invalid";
}

/// What a condition says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// Its type.
    pub kind: &'static str,
    /// `Some(true)`, `Some(false)`, or unknown.
    pub status: Option<bool>,
    /// Why, one of [`reason`].
    pub reason: &'static str,
    /// A sentence with a way out.
    pub message: String,
}

/// The second in which an instant lies: people read these times, and some are compared with what the API server keeps.
pub fn whole_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

/// The conditions after `says`: one that is unchanged keeps its time; one that is not said is dropped.
pub fn merge(old: &[Condition], says: Vec<Say>, generation: i64, now: Timestamp) -> Vec<Condition> {
    says.into_iter().map(|say| one(old, say, generation, now)).collect()
}

fn one(old: &[Condition], say: Say, generation: i64, now: Timestamp) -> Condition {
    let status = match say.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let before = old.iter().find(|c| c.type_ == say.kind && c.status == status);
    let second = whole_second(now);
    Condition {
        last_transition_time: before.map_or(Time(second), |c| c.last_transition_time.clone()),
        message: say.message,
        observed_generation: Some(generation),
        reason: say.reason.to_owned(),
        status: status.to_owned(),
        type_: say.kind.to_owned(),
    }
}

/// A condition of a tenant or a price list: unchanged it keeps its time.
pub fn merge_one(
    old: &[Condition],
    kind: &'static str,
    (status, reason, message): (bool, &str, String),
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let say = Say { kind, status: Some(status), reason: reason::RECEIVED, message };
    let condition = one(old, say, generation.unwrap_or_default(), now);
    Condition { reason: reason.to_owned(), observed_generation: generation, ..condition }
}

/// The status of a condition: true, false, or unknown.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(status: bool, message: &str) -> Say {
        Say { kind: kind::READY, status: Some(status), reason: reason::RUNNING, message: message.into() }
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let first = merge(&[], vec![say(true, "a")], 1, at(10));
        let same = merge(&first, vec![say(true, "b")], 2, at(20));
        assert_eq!(same[0].last_transition_time, first[0].last_transition_time);
        assert_eq!((same[0].message.as_str(), same[0].observed_generation), ("b", Some(2)));
        let other = merge(&same, vec![say(false, "b")], 2, at(30));
        assert_eq!(other[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn every_reason_is_camel_case_and_listed_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (name, sentence) in reason::ALL {
            assert!(seen.insert(name), "{name} twice");
            assert!(
                name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric),
                "{name}"
            );
            assert!(sentence.ends_with('.'), "{name}");
        }
    }
}
