//! The api on a real PostgreSQL: one server for the whole run, one fresh database for each test.
#![expect(clippy::unwrap_used, reason = "a test may; the panic is the report")]

mod access;
mod alert_rules;
mod alerts;
mod approvals;
mod audit;
mod bills;
mod budget;
mod closing;
mod commitments;
mod counters;
mod crash;
mod embedded;
mod export;
mod gaps;
mod health;
mod ledger;
mod matrix;
mod metering_health;
mod meters;
mod openapi;
mod prices;
mod quotes;
mod races;
mod random;
mod reservations;
mod retention;
mod revaluation;
mod scheduled;
mod settlement;
mod sign_in;
mod storm;
mod support;
mod tenants;
mod tokens;
mod usage;
