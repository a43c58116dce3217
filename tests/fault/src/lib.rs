//! A proxy before an API server that counts an operator's writes and disturbs one of them.
//!
//! [`write`] names what a request writes, [`plan`] decides what happens to it, and [`proxy`] does it and remembers every
//! answer, so that two runs can be compared by what they made and removed.

pub mod plan;
pub mod proxy;
pub mod upstream;
pub mod write;
