//! The machine: what this process may use of it, and a pool of workers on it.
//!
//! Knows nothing of tensors or models. Start at [`Pool`]; [`Machine`] says how many
//! threads it should have, [`HugeBytes`], [`ZeroedBytes`] and [`DisjointMut`] are the
//! memory that its loops work on.

mod affinity;
mod atomics;
mod claims;
mod cores;
mod disjoint;
mod huge;
mod machine;
mod patience;
mod pool;
mod quota;
mod seats;
mod zeroed;

pub use disjoint::DisjointMut;
pub use huge::HugeBytes;
pub use machine::Machine;
pub use pool::Pool;
pub use zeroed::{OutOfMemory, ZeroedBytes};
