//! What the demonstration and the stories share: kubectl, clients of the services, and waiting with a limit.
//!
//! Both run inside the cluster's network (`harness exec`), use the same tools as people do, and connect with nothing but
//! what the bound Secret says.

pub mod audit;
pub mod clients;
pub mod kubectl;
pub mod outages;
pub mod platform;
pub mod processes;
pub mod soak;
pub mod stories;
pub mod wait;
