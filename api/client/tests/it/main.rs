//! The program `siyada` against a real api over TLS, a real PostgreSQL and a real issuer.
#![expect(clippy::unwrap_used, reason = "a test may; the panic is the report")]

mod commands;
mod downloads;
mod finance;
mod gaps;
mod guide;
mod login;
mod national;
mod world;
