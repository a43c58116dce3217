//! What every request shares.

use crate::access::Platform;
use crate::auth::Verifier;
use crate::group::Group;
use crate::metrics::Metrics;
use crate::signing::Signer;
use crate::store::incarnation::Standing;
use crate::webhook::Webhooks;
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, Semaphore};

/// Most requests worked on at once; a pool of connections serves them, the rest waits or is told to come again.
pub const MOST_IN_FLIGHT: usize = 256;

/// Most exports at once: each of an open month holds a connection of the database while it is read.
pub const MOST_EXPORTS: usize = 4;

/// What every request shares; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub pool: PgPool,
    /// Checks tokens.
    pub verifier: Arc<Verifier>,
    /// Who has which role on the platform.
    pub platform: Arc<Platform>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Bounds the requests in flight.
    pub in_flight: Arc<Semaphore>,
    /// Bounds the exports that are being read.
    pub exports: Arc<Semaphore>,
    /// Decides reservations, many at once.
    pub group: Group,
    /// Whom to tell of alerts.
    pub webhooks: Arc<Webhooks>,
    /// The month in which a fiscal year begins, 1 to 12.
    pub fiscal_year_start_month: i8,
    /// How much of its costs the hosting body must earn, in basis points; nothing when nobody asks it.
    pub coverage_threshold_basis_points: Option<u32>,
    /// Signs documents, if there is a key.
    pub signer: Option<Arc<Signer>>,
    /// On which server the ledger is.
    pub standing: Arc<Standing>,
    /// Told when the first month may have been opened.
    pub months: Arc<Notify>,
    /// Told when somebody put other settings.
    pub set: Arc<Notify>,
    migrated: Arc<AtomicBool>,
}

impl App {
    /// An app that waits for [`App::is_migrated`]. To be called inside of a runtime.
    pub fn new(pool: PgPool, verifier: Verifier, platform: Platform) -> Self {
        Self {
            metrics: Arc::new(Metrics::new(pool.clone())),
            group: Group::new(&pool),
            webhooks: Arc::default(),
            fiscal_year_start_month: 1,
            coverage_threshold_basis_points: None,
            pool,
            verifier: Arc::new(verifier),
            platform: Arc::new(platform),
            in_flight: Arc::new(Semaphore::new(MOST_IN_FLIGHT)),
            exports: Arc::new(Semaphore::new(MOST_EXPORTS)),
            signer: None,
            standing: Arc::default(),
            months: Arc::default(),
            set: Arc::default(),
            migrated: Arc::default(),
        }
    }

    /// The schema is in place: requests are served from now on.
    pub fn set_migrated(&self) {
        self.migrated.store(true, Ordering::Release);
    }

    /// Whether the schema is in place.
    pub fn is_migrated(&self) -> bool {
        self.migrated.load(Ordering::Acquire)
    }
}
