//! A proxy before an API server that counts an operator's writes and disturbs one of them.
//!
//! [`write`] names what a request writes, [`plan`] decides what happens to it, and [`proxy`] does it and remembers every
//! answer, so that two runs can be compared by what they made and removed.
//!
//! [`matrix`] holds every fault against every write of each [`operation`] of an order's life. The [`stage`] has the ledger and
//! the operator as processes. On a cluster without nodes the engine is the [`player`], whose [`database`] is real and whose
//! status is a [`recording`]; [`snapshot`] says where a run ends, and [`progress`] keeps what was found.

pub mod cluster;
pub mod database;
pub mod matrix;
pub mod operation;
pub mod plan;
pub mod player;
pub mod progress;
pub mod proxy;
pub mod record;
pub mod recording;
pub mod snapshot;
pub mod stage;
pub mod upstream;
pub mod write;
