//! The api on a real PostgreSQL: one server for the whole run, one fresh database for each test.
#![expect(clippy::unwrap_used, reason = "a test may; the panic is the report")]

mod access;
mod embedded;
mod health;
mod openapi;
mod prices;
mod quotes;
mod random;
mod reservations;
mod support;
mod tenants;
mod tokens;
mod usage;
