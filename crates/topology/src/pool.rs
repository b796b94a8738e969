//! A fixed team of threads for fork-join loops.

/// Workers that run one loop at a time together with the calling thread.
pub struct Pool {}
impl Pool {
    /// A team of `n_threads` (the caller included), at least 1.
    pub fn new(_n_threads: usize) -> Self { todo!() }
    /// Threads in the team, the caller included.
    pub fn n_threads(&self) -> usize { todo!() }
    /// Runs `body(i)` once for each `i` in `0..n`, on all threads; returns when all are done.
    /// Allocates nothing. A panic in `body` is re-raised on the caller.
    pub fn for_each(&self, _n: usize, _body: &(dyn Fn(usize) + Sync)) { todo!() }
}
