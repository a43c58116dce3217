//! Turns orders into running services.
//!
//! The way of an order: observe, check, reserve, plan, apply, status. `check`, `plan` and `status` are pure; one file
//! writes to the cluster (`apply`), one speaks to the ledger (`ledger`).

pub mod admission;
pub mod apply;
pub mod authority;
pub mod availability;
pub mod backoff;
pub mod backup;
pub mod breaker;
pub mod cache;
pub mod catalogue;
pub mod certificate;
pub mod check;
pub mod condition;
pub mod config;
pub mod context;
pub mod counters;
pub mod credential;
pub mod credentials;
pub mod deletion;
pub mod disk;
pub mod drill;
pub mod drills;
pub mod halves;
pub mod force;
pub mod health;
pub mod instances;
pub mod lease;
pub mod ledger;
pub mod metering;
pub mod metrics;
pub mod mirror;
pub mod names;
pub mod namespaces;
pub mod object;
pub mod object_store;
pub mod operation;
pub mod order;
pub mod plan;
pub mod plan_command;
pub mod pods;
pub mod price_list;
pub mod probe;
pub mod reconcile;
pub mod restore;
pub mod retained;
pub mod rotate;
pub mod rotation;
pub mod run;
pub mod seen;
pub mod service_backup;
pub mod status;
pub mod sweeper;
pub mod tenant;
pub mod unwell;
