//! The ledger of Siyada: tenants, quotas, reservations, usage and reports over HTTPS.
//!
//! The server is a value: [`app`] makes the routes from an [`App`], and `main` or a test decides what to do with them.

pub mod access;
pub mod auth;
pub mod config;
pub mod embedded;
pub mod error;
pub mod extract;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod routes;
pub mod serve;
pub mod state;
pub mod store;

pub use routes::app;
pub use state::App;
