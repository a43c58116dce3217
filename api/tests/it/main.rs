//! The api on a real PostgreSQL: one server for the whole run, one fresh database for each test.
#![expect(clippy::unwrap_used, reason = "a test may; the panic is the report")]

mod access;
mod alerts;
mod approvals;
mod audit;
mod bills;
mod budget;
mod closing;
mod commitments;
mod crash;
mod embedded;
mod export;
mod health;
mod ledger;
mod matrix;
mod national;
mod openapi;
mod prices;
mod quotes;
mod races;
mod random;
mod reservations;
mod revaluation;
mod settlement;
mod sign_in;
mod support;
mod tenants;
mod tokens;
mod usage;
