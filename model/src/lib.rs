//! The words and the arithmetic of Siyada.
//!
//! Everything here is pure: no clock, no network, no database, no randomness. The operator and the api both decide
//! with these functions, so that a price shown before an order and a bill after it cannot differ.
#![cfg_attr(not(test), deny(clippy::float_arithmetic, clippy::arithmetic_side_effects))]

pub mod act;
pub mod allocation;
pub mod audit;
pub mod availability;
pub mod budget;
pub mod canonical;
pub mod classification;
pub mod counter;
pub mod coverage;
pub mod health;
pub mod id;
pub mod ledger;
pub mod money;
pub mod national;
pub mod party;
pub mod period;
pub mod price;
pub mod proof;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod schedule;
pub mod settlement;
pub mod statement;
pub mod uri;
pub mod usage;
pub mod wire;
