//! A proxy before an API server that counts an operator's writes and disturbs one of them.
//!
//! [`write`] names what a request writes, [`plan`] decides what happens to it, and [`proxy`] does it and remembers every
//! answer, so that two runs can be compared by what they made and removed.

//!
//! [`matrix`] holds every fault against every write of an order's life: on a cluster without nodes, whose [`stage`] has the
//! ledger and the operator as processes, and whose engine is played by [`player`]; [`snapshot`] says where a run ends.

pub mod cluster;
pub mod matrix;
pub mod plan;
pub mod player;
pub mod proxy;
pub mod snapshot;
pub mod stage;
pub mod upstream;
pub mod write;
