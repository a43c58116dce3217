//! The ledger of Siyada: tenants, quotas, reservations, usage and reports over HTTPS.
//!
//! The server is a value: [`app`] makes the routes from an [`App`], and `main` or a test decides what to do with them.

pub mod access;
pub mod auth;
pub mod checks;
pub mod config;
pub mod embedded;
pub mod error;
pub mod export;
pub mod extract;
pub mod fail;
pub mod file;
pub mod group;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod people;
pub mod routes;
pub mod serve;
pub mod signing;
pub mod state;
pub mod store;
pub mod stream;
pub mod tasks;
pub mod verify;
pub mod webhook;

pub use routes::app;
pub use state::App;

/// Makes `ring` the TLS provider of the process. To be called first; once more is no error.
pub fn install_tls_provider() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the TLS provider was installed already");
    }
}
