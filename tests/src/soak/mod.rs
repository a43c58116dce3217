//! The soak: a seeded walk over a real cluster, kills at every moment of an order's life, and a long rest.
//!
//! What should be is kept in a [`world`]; [`step`] draws what happens next, so that a seed is a whole walk. [`judge`] and
//! [`usage`] compare the world with what was seen. All of that is pure; the other modules do, strike and look.

pub mod dice;
pub mod fault;
pub mod judge;
pub mod matrix;
pub mod process;
pub mod report;
pub mod rest;
pub mod runner;
pub mod secrets;
pub mod server;
pub mod snapshot;
pub mod step;
pub mod usage;
pub mod walk;
pub mod world;

/// The tenant above: what is held below it counts for it too.
pub const ABOVE: &str = "soak";
/// The tenant whose orders live and die.
pub const TENANT: &str = "soak-agency";
/// Namespace of the tenant above; whoever reads both tenants' figures lives in it.
pub const ABOVE_HOME: &str = "soak-apps";
/// Its namespace.
pub const HOME: &str = "soak-agency-apps";
/// Its engine namespace.
pub const ENGINE: &str = "siyada-t-soak-agency";
/// A site without any node: orders there are cheap, since no pod of theirs ever starts.
pub const NOWHERE: &str = "soak-nowhere";
