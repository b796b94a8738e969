//! The machine: how many cores this process may use, and a pool of workers on them.

mod pool;

pub use pool::Pool;
