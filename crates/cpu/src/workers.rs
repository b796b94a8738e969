//! Threads with scratch memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use perigee_topology::{DisjointMut, Pool};

use crate::packed::Rounded;

/// A pool whose workers have f32 scratch memory of their own, allocated once.
pub struct Workers {
    pool: Pool,
    /// One per thread. A worker locks its own only, so a lock is never contended.
    scratch: Vec<Mutex<Box<[f32]>>>,
    scratch_len: usize,
    /// Activations of the current operation, rounded.
    rounded: Mutex<Rounded>,
    is_deterministic: bool,
}

impl Workers {
    /// `n_threads` (the caller included), each with `scratch_len` floats: the largest need of
    /// the operations that will run (each names its own).
    pub fn new(n_threads: usize, scratch_len: usize) -> Self {
        let pool = Pool::new(n_threads);
        let scratch = (0..pool.n_threads())
            .map(|_| Mutex::new(vec![0.0; scratch_len].into_boxed_slice()))
            .collect();
        Self {
            pool,
            scratch,
            scratch_len,
            rounded: Mutex::default(),
            is_deterministic: false,
        }
    }

    /// Whether products have the same bits whatever the number of tokens, even where others are faster and
    /// as close to exact ones.
    #[must_use]
    pub fn deterministic(self, is_deterministic: bool) -> Self {
        Self {
            is_deterministic,
            ..self
        }
    }

    /// See [`deterministic`](Self::deterministic).
    pub(crate) fn is_deterministic(&self) -> bool {
        self.is_deterministic
    }

    /// Floats of scratch memory of each thread.
    pub(crate) fn scratch_len(&self) -> usize {
        self.scratch_len
    }

    /// The memory for rounded activations. It grows to the largest need and stays.
    pub(crate) fn rounded(&self) -> MutexGuard<'_, Rounded> {
        self.rounded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The threads, for loops without scratch memory.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Threads in the team, the caller included.
    pub fn n_threads(&self) -> usize {
        self.pool.n_threads()
    }

    /// Runs `body(i, scratch)` once for each `i` in `0..n`, on all threads. What an earlier body
    /// left in `scratch` is undefined.
    pub fn for_each(&self, n: usize, body: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        self.pool.for_each_worker(n, &|worker, i| {
            // A panic in an earlier body leaves floats behind, nothing that could be broken.
            let mut scratch = self.scratch[worker]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            body(i, &mut scratch);
        });
    }

    /// Cuts `slice` into pieces of `chunk_len` (the last may be shorter) and runs
    /// `body(i, piece, scratch)` for each, on all threads.
    ///
    /// # Panics
    /// When `chunk_len` is 0.
    pub fn for_chunks<T: Send>(
        &self,
        slice: &mut [T],
        chunk_len: usize,
        body: impl Fn(usize, &mut [T], &mut [f32]) + Sync,
    ) {
        let len = slice.len();
        let shared = DisjointMut::new(slice);
        self.for_each(len.div_ceil(chunk_len), &|i, scratch| {
            let start = i * chunk_len;
            // SAFETY: index `i` is run once and owns `start..start + chunk_len`; the ranges of
            // different indices do not meet.
            let chunk = unsafe { shared.range(start, chunk_len.min(len - start)) };
            body(i, chunk, scratch);
        });
    }
}
