//! A fixed team of threads for fork-join loops.
//!
//! A loop is a *region*: the caller publishes a body and a counter, everybody
//! claims indices from the counter until it runs out, the caller closes the
//! region and waits for the workers that are still inside. A worker that was not
//! scheduled in time never enters, so nobody waits for it: on an oversubscribed
//! machine a loop degrades to what the caller can do alone, not to a stall.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::DisjointMut;

/// Polls before a thread that waits goes to sleep: some 20–100 µs, longer than the
/// serial stretch between two loops of a decode step, shorter than a time slice.
const SPINS: usize = 2_000;

/// Set in [`Shared::state`] while workers may enter the region.
const OPEN: u64 = 1 << 31;
/// Part of [`Shared::state`] that counts the workers inside.
const INSIDE: u64 = OPEN - 1;
/// Added to [`Shared::state`] for each new region.
const EPOCH: u64 = 1 << 32;

thread_local! {
    /// Whether this thread is inside a loop body of some pool.
    static IN_REGION: Cell<bool> = const { Cell::new(false) };
}

/// Workers that run one loop at a time together with the calling thread.
///
/// Between loops the workers spin shortly, then sleep. Loops of several callers
/// take turns.
pub struct Pool {
    shared: Arc<Shared>,
    /// Held by the caller for the whole of a region.
    region: Mutex<()>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A team of `n_threads` (the caller included), at least 1; fewer when the system
    /// refuses to start that many.
    pub fn new(n_threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let workers = (1..n_threads)
            .map_while(|worker| {
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name(format!("worker-{worker}"))
                    .spawn(move || shared.serve(worker))
                    .ok()
            })
            .collect();
        Self {
            shared,
            region: Mutex::new(()),
            workers,
        }
    }

    /// Threads in the team, the caller included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body(i)` once for each `i` in `0..n`, on all threads; returns when all are done.
    ///
    /// Allocates nothing. A panic in `body` is re-raised on the caller; indices not yet
    /// begun are then skipped.
    ///
    /// # Panics
    /// When called from inside a loop body.
    pub fn for_each(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        self.for_each_worker(n, &|_, i| body(i));
    }

    /// Like [`for_each`](Self::for_each), with `body(worker, i)`: `worker` is below
    /// [`n_threads`](Self::n_threads) and held by one thread at a time, so it can select
    /// scratch memory.
    pub fn for_each_worker(&self, n: usize, body: &(dyn Fn(usize, usize) + Sync)) {
        assert!(!IN_REGION.get(), "loops of a pool do not nest");
        let _turn = lock(&self.region);
        if n <= 1 || self.workers.is_empty() {
            let _inside = InRegion::enter();
            (0..n).for_each(|i| body(0, i));
            return;
        }
        self.shared.open(n, body);
        self.shared.claim(0, n, body);
        self.shared.close();
        let payload = lock(&self.shared.panic).take();
        if let Some(payload) = payload {
            panic::resume_unwind(payload);
        }
    }

    /// Cuts `slice` into pieces of `chunk_len` (the last may be shorter) and runs
    /// `body(i, piece)` for each, on all threads.
    ///
    /// # Panics
    /// When `chunk_len` is 0.
    pub fn for_chunks<T: Send>(
        &self,
        slice: &mut [T],
        chunk_len: usize,
        body: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let n = slice.len().div_ceil(chunk_len);
        let len = slice.len();
        let shared = DisjointMut::new(slice);
        self.for_each(n, &|i| {
            let start = i * chunk_len;
            // SAFETY: index `i` is run once and owns `start..start + chunk_len`; the ranges of
            // different indices do not meet.
            let chunk = unsafe { shared.range(start, chunk_len.min(len - start)) };
            body(i, chunk);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.sleep));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of bodies and has none of its own.
            let _ = worker.join();
        }
    }
}

type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The loop of the open region; the lifetime of `body` is erased.
#[derive(Clone, Copy)]
struct Job {
    body: *const Body<'static>,
    n: usize,
}

#[derive(Default)]
struct Shared {
    /// Region number (high half), [`OPEN`], workers inside ([`INSIDE`]).
    state: AtomicU64,
    /// Written only while the region is closed and empty, read only from inside.
    job: UnsafeCell<Option<Job>>,
    /// Next unclaimed index.
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
    /// Workers in `wake.wait`; changed under `sleep`.
    n_sleeping: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    done: Mutex<()>,
    /// Signalled by the last worker that leaves a closed region.
    empty: Condvar,
}

// SAFETY: `job` is the only field that is not `Sync`. The caller writes it while the region is
// closed and has nobody inside; workers read it only after entering an open region (an acquire
// of the release that opened it), and the caller waits for them before the next write.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is to a `Sync` closure and is used only within the region, while
// the caller's borrow of the closure lives.
unsafe impl Send for Shared {}

impl Shared {
    /// Publishes the loop and lets workers enter.
    fn open(&self, n: usize, body: &Body<'_>) {
        // SAFETY: only the lifetime changes. `close` returns after the last worker has left, and
        // is called before `body` goes out of scope, because `claim` does not unwind.
        let body = unsafe { mem::transmute::<&Body<'_>, &Body<'static>>(body) };
        // SAFETY: the region is closed and empty (see `close`), and the caller holds the turn.
        unsafe { *self.job.get() = Some(Job { body, n }) };
        self.next.store(0, Ordering::Relaxed);
        let closed = self.state.load(Ordering::Relaxed);
        self.state
            .store(closed.wrapping_add(EPOCH) | OPEN, Ordering::SeqCst);
        if self.n_sleeping.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }

    /// Keeps workers from entering and waits until none is inside.
    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        for _ in 0..SPINS {
            if self.state.load(Ordering::Acquire) & INSIDE == 0 {
                return;
            }
            hint::spin_loop();
        }
        let mut guard = lock(&self.done);
        while self.state.load(Ordering::Acquire) & INSIDE != 0 {
            guard = self
                .empty
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs indices until none is left. Keeps the first panic; does not unwind.
    fn claim(&self, worker: usize, n: usize, body: &Body<'_>) {
        let _inside = InRegion::enter();
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= n {
                    break;
                }
                body(worker, i);
            }
        }));
        if let Err(payload) = result {
            self.next.store(n, Ordering::Relaxed);
            lock(&self.panic).get_or_insert(payload);
        }
    }

    /// The life of a worker.
    fn serve(&self, worker: usize) {
        let mut seen = 0;
        while let Some(state) = self.next_region(seen) {
            let entered = self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if entered.is_err() {
                continue;
            }
            seen = state / EPOCH;
            // SAFETY: inside an open region: `job` was written before it opened and stays until
            // this worker has left.
            let job = unsafe { *self.job.get() };
            let Job { body, n } = job.expect("a region opens with a job");
            // SAFETY: the caller's closure outlives the region, and it is `Sync`.
            self.claim(worker, n, unsafe { &*body });
            let left = self.state.fetch_sub(1, Ordering::AcqRel) - 1;
            if left & (OPEN | INSIDE) == 0 {
                drop(lock(&self.done));
                self.empty.notify_one();
            }
        }
    }

    /// Waits for an open region other than `seen`; `None` when the pool ends.
    fn next_region(&self, seen: u64) -> Option<u64> {
        let poll = || {
            let state = self.state.load(Ordering::SeqCst);
            let is_new = state & OPEN != 0 && state / EPOCH != seen;
            (is_new || self.stop.load(Ordering::SeqCst)).then_some(state)
        };
        let mut found = (0..SPINS).find_map(|_| {
            hint::spin_loop();
            poll()
        });
        if found.is_none() {
            let mut guard = lock(&self.sleep);
            self.n_sleeping.fetch_add(1, Ordering::SeqCst);
            found = poll();
            while found.is_none() {
                guard = self
                    .wake
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
                found = poll();
            }
            self.n_sleeping.fetch_sub(1, Ordering::SeqCst);
        }
        found.filter(|_| !self.stop.load(Ordering::SeqCst))
    }
}

/// Marks this thread as inside a body until dropped.
struct InRegion;

impl InRegion {
    fn enter() -> Self {
        IN_REGION.set(true);
        Self
    }
}

impl Drop for InRegion {
    fn drop(&mut self) {
        IN_REGION.set(false);
    }
}

/// Locks; a panic elsewhere does not matter, since nothing behind these locks can be half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
