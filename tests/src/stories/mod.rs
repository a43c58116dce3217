//! Stories: what people do and what goes wrong, on the real cluster. Each is independent of the others.

pub mod advice;
pub mod approval;
pub mod availability;
pub mod backup;
pub mod certificates;
pub mod changes;
pub mod credential;
pub mod damage;
pub mod delegation;
pub mod deletion;
pub mod force;
pub mod last_backup;
pub mod ledger;
pub mod login;
pub mod maintenance;
mod meanwhile;
pub mod months;
pub mod outage;
pub mod refusal;
pub mod rest;
pub mod roles;
pub mod rotation;
pub mod suspension;
pub mod tenancy;
pub mod two;
pub mod upgrade;
pub mod upgrade_major;

use crate::kubectl::Kubectl;
use crate::platform;
use crate::wait::{eventually, seconds};
use Turn::{Alone, Beside, ByTurns, First, Seldom};
use anyhow::{Result, ensure};
use futures::FutureExt as _;
use futures::future::BoxFuture;

/// A story: a sentence and how to live it.
pub struct Story {
    /// What is true when it succeeds.
    pub name: &'static str,
    /// When it is lived.
    pub turn: Turn,
    /// Lives it.
    pub live: fn() -> BoxFuture<'static, Result<()>>,
}

/// When a story is lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Beside others, and as early as there is room, as it takes many minutes. How much of the node it asks for at most, in
    /// parts of 150 thousandths of a processor.
    First(u8),
    /// The same, and so long that a sample has every other of these.
    ByTurns(u8),
    /// Beside others, with at most one part.
    Beside,
    /// With no other: it takes a part of the platform, the node or the store away, or changes what holds for all.
    Alone,
    /// Alone, and so long that a sample has every other of these.
    Seldom,
}

impl Turn {
    /// The parts of the node that it asks for at most.
    pub fn parts(self) -> u8 {
        if let Self::First(parts) | Self::ByTurns(parts) = self { parts } else { 1 }
    }

    /// Whether a sample has every other of these only.
    pub fn is_long(self) -> bool {
        matches!(self, Self::ByTurns(_) | Self::Seldom)
    }
}

macro_rules! story {
    ($turn:expr, $name:literal, $live:path) => {
        Story { name: $name, turn: $turn, live: || $live().boxed() }
    };
}

/// How the platform comes to be: it is installed as it was at the previous landing, and upgraded under live orders.
pub fn beginning() -> Story {
    story!(
        Alone,
        "an upgrade from the previous landing, and back, restarts no database, loses no row and keeps every policy",
        upgrade::from_previous
    )
}

/// Every other story, in the order in which they begin.
pub fn all() -> Vec<Story> {
    let mut all = changed();
    all.extend(services());
    all.extend(outages());
    all.extend(later());
    all.extend(tenants());
    all
}

/// Tenants and their means.
fn tenants() -> Vec<Story> {
    vec![
        story!(Beside, "one file makes a tenant, with roles that work for its groups", tenancy::onboarding),
        story!(
            Beside,
            "a namespace of somebody else is never taken, and one made again inherits nothing",
            tenancy::namespace_taken
        ),
        story!(
            Beside,
            "a tenant admin makes and sizes tenants in his own tree and is held everywhere else",
            delegation::delegation
        ),
        story!(
            Beside,
            "every role may do with every kind what the table of roles says, and nothing else",
            roles::matrix
        ),
        story!(
            Beside,
            "64 orders at once in two siblings race for three places and three are held at every ancestor",
            tenancy::race
        ),
        story!(
            Beside,
            "a limit lowered below use blocks growth only, and a tenant moves with its sums",
            tenancy::lowered_and_moved
        ),
        story!(Beside, "nobody changes his tenant by what he writes on objects of his", tenancy::spoofing),
        story!(Beside, "tenants that cannot be get a sentence", tenancy::bad_input),
        story!(
            Beside,
            "an order above a threshold waits until a second person approved it",
            approval::approval
        ),
        story!(
            Beside,
            "a price list never changes, none begins with another and none leaves a gap",
            tenancy::price_lists
        ),
        story!(Alone, "what the ledger holds for nobody is released at the start", tenancy::swept),
        story!(
            Alone,
            "prices rise: orders run on, the next edit is held to their most, a list in use stays",
            tenancy::prices_rise
        ),
        story!(
            Alone,
            "near a soft limit there is a warning and at a threshold one event",
            approval::soft_limit_and_alerts
        ),
        story!(Alone, "national finance opens months, and none closes before it is over", months::months),
        story!(Alone, "without webhook a race is decided as exactly", tenancy::race_without_webhook),
        story!(
            Alone,
            "two operators that both take themselves for the leader, and an api that hangs beside another, hold exactly what fits",
            two::two_of_each
        ),
    ]
}

/// What an order goes through in its years: logins that are replaced, data that comes back.
fn later() -> Vec<Story> {
    vec![
        story!(
            Beside,
            "a login replaced under a client that writes loses no row and cuts nobody off before the grace period ends",
            rotation::postgres
        ),
        story!(
            Beside,
            "a login replaced under documents is refused by the gateway afterwards and loses none",
            rotation::documents
        ),
        story!(Seldom, "the operator killed while a login is replaced locks nobody out", rotation::killed),
        story!(
            Beside,
            "a further login reads and is refused to write, and its deletion ends it",
            credential::read_only
        ),
        story!(
            First(1),
            "certificates of an instance, the api and the webhook are renewed under clients that never notice",
            certificates::renewed
        ),
        story!(
            Beside,
            "an order suspended while its login is being replaced keeps its rows and goes on when it is resumed; an old login is replaced",
            rotation::suspended
        ),
        story!(
            Seldom,
            "a suspended order gives its place to a sibling and runs again by itself, with its rows, when there is room",
            suspension::room
        ),
        story!(
            Beside,
            "a suspended order resumes above a threshold only when somebody approved it",
            suspension::approved
        ),
        story!(Beside, "a backup asked of a suspended order is skipped with a sentence", suspension::skipped),
        story!(
            First(6),
            "a backup and a moment are restored row by row, with new passwords, and no login leaves its bucket",
            backup::restored
        ),
        story!(
            ByTurns(6),
            "of a database to which nobody writes any moment is restored, while it runs and while it is suspended",
            backup::quiet
        ),
        story!(
            Seldom,
            "without the object store an order says so and serves on, and says when it is back",
            backup::store_away
        ),
        story!(
            First(6),
            "a backup is proven by a restore that is read and removed, and a check that fails is told",
            backup::proven
        ),
        story!(
            ByTurns(6),
            "a backup of a document store, a moment and what was kept are restored document by document",
            backup::documents
        ),
        story!(
            Seldom,
            "the ledger restored to a moment is declared, everything is proved again, and what was lost is a gap",
            ledger::restored
        ),
    ]
}

/// What an order asks for otherwise than before.
fn changed() -> Vec<Story> {
    vec![
        story!(
            First(2),
            "another plan under a client that writes loses no row and tells what it costs, with one instance and with two",
            changes::plan
        ),
        story!(
            First(6),
            "another major version begins with a backup, keeps every row and can be restored on both sides",
            upgrade_major::forward
        ),
        story!(
            First(3),
            "a change of major version that fails says why and is taken back with every row",
            upgrade_major::back
        ),
        story!(
            Beside,
            "storage grows and standbys come and go under one connection of a client",
            changes::under_one_connection
        ),
        story!(
            Seldom,
            "a database whose pod is away for a while is down for that long in the month's figure, and all of it adds up",
            availability::down
        ),
        story!(
            Beside,
            "a database that no node has room for says so in the scheduler's words",
            changes::no_room
        ),
        story!(
            First(1),
            "a disk that fills is told, and a full one is grown out of with every row",
            changes::full_disk
        ),
        story!(
            Beside,
            "what the platform changes waits for the window and then loses no row; what the order asks is done at once or waits",
            maintenance::waits
        ),
    ]
}

/// Orders, from the first to what is left of the last.
fn services() -> Vec<Story> {
    vec![
        story!(
            Alone,
            "a ministry orders PostgreSQL and logs in with nothing but its secret",
            login::postgres
        ),
        story!(
            Beside,
            "a ministry orders documents and logs in with nothing but its secret",
            login::documents
        ),
        story!(Beside, "a wrong order is refused at kubectl apply with a sentence", refusal::wrong_orders),
        story!(
            Beside,
            "a tenant cannot forge who ordered nor touch the engine or another tenant",
            refusal::forgery
        ),
        story!(
            Beside,
            "a protected order and its namespace cannot be deleted, an unprotected one goes with its data",
            deletion::delete
        ),
        story!(
            Beside,
            "kept data is stopped, billed, listed and removed, and a new order inherits nothing",
            deletion::retain
        ),
        story!(
            Beside,
            "an order torn out by force leaves its data, which is found again",
            deletion::torn_out
        ),
        story!(
            First(1),
            "kept data is listed beside its order, restored under the same name row by row, and discarded by its name",
            deletion::listed
        ),
        story!(
            Beside,
            "kept data with an end is warned about, stays a day after that, and goes with its volume and its price",
            deletion::expired
        ),
        story!(
            ByTurns(1),
            "a deletion that hangs is forced by the platform alone, on record for ever, and nobody pays for what is left",
            force::forced
        ),
        story!(
            ByTurns(3),
            "an order deleted with its data leaves a last backup that is listed and restored; discarded or declined, nothing remains",
            last_backup::last_backup
        ),
        story!(Beside, "changes by hand are reverted and foreign objects are left alone", damage::by_hand),
        story!(
            Seldom,
            "too many deletions of data stop, through a restart, until that very stop is confirmed",
            deletion::too_many
        ),
        story!(
            Alone,
            "the operator killed while a database is made ends in the same place",
            damage::operator_killed
        ),
    ]
}

/// A part of the platform is away.
fn outages() -> Vec<Story> {
    vec![
        story!(Alone, "without webhook the same refusals are conditions", outage::no_webhook),
        story!(
            Alone,
            "without the api orders wait, what runs runs on, and no interval is lost",
            outage::no_api
        ),
        story!(Alone, "a chart removed and installed again finds everything", outage::reinstall),
        story!(
            Alone,
            "a namespace removed by the platform while the operator is away loses no data",
            outage::namespace_removed
        ),
        story!(Seldom, "custom resources removed by mistake lose no data", outage::definitions_removed),
        story!(Seldom, "at rest nothing is read and nothing is written", rest::at_rest),
    ]
}

/// A PostgreSQL order of the smallest plan.
pub fn postgres(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: PostgresInstance\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{plan: dev, version: \"15\", dataClassification: Internal, {more}}}\n"
    )
}

/// A document store order of the smallest plan.
pub fn documents(namespace: &str, name: &str, more: &str) -> String {
    format!(
        "apiVersion: siyada.cloud/v1alpha1\nkind: DocumentStoreInstance\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec: {{plan: dev, version: \"1.24\", dataClassification: Internal, {more}}}\n"
    )
}

/// Waits until an answer to `kubectl apply` holds the price: the API server trusts the operator's webhook.
///
/// # Errors
/// Says what the answer is instead.
pub async fn advised(ministry: &Kubectl) -> Result<()> {
    if !advice::given("the price in the answer to kubectl apply") {
        return Ok(());
    }
    let order = postgres(HOME, "advised", "");
    eventually(seconds(30), "the price in the answer to kubectl apply", || async {
        let said = ministry.try_with(&["apply", "--dry-run=server", "-f", "-"], &order).await?;
        ensure!(said.ok && said.err.contains("Warning: at most"), "it says {:?}", said.err);
        Ok(())
    })
    .await
}

/// Brings the webhook back where it belongs to the platform, and waits until orders get advice: the operator, which is not
/// restarted, must have given the API server its authority anew.
///
/// # Errors
/// Says what the answer is instead.
pub async fn restore_webhook() -> Result<()> {
    if platform::has_webhook() {
        platform::helm(&["-n", platform::SYSTEM, "upgrade", "siyada", "charts/siyada"]).await?;
        platform::wait_until_it_works().await?;
    }
    advised(&Kubectl::service_account(HOME, "ministry-it").await?).await
}

/// Says that an order may be deleted with its data.
pub const DISPOSABLE: &str = "deletionProtection: false, onDeletion: Delete";

/// The namespace of the stories' ministry.
pub const HOME: &str = "interior-apps";
