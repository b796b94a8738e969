//! A fixed team of threads for fork-join loops.
//!
//! The caller and the workers claim the indices of a loop until none is left; [`Claims`] is how
//! they meet. A worker that was not scheduled in time claims nothing, so nobody waits for it: on
//! an oversubscribed machine a loop degrades to what the caller can do alone, not to a stall.
//!
//! Decoding one token takes hundreds of loops of some microseconds each, so between loops the
//! workers poll, each on a core of its own. When no loop comes for a while they sleep.

use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::claims::{Claim, Claims};
use crate::patience::Patience;
use crate::seats::Seats;
use crate::{DisjointMut, Machine, affinity};

/// Polling when every thread has a CPU to itself: longer than the serial stretch between two
/// tokens, so that a team that decodes never sleeps.
const DEDICATED: Patience = Patience::new(Duration::from_millis(2));

/// Polling when threads share CPUs: whoever polls keeps another from working.
const SHARED: Patience = Patience::new(Duration::from_micros(20));

/// Larger teams than any machine has use for are not started.
const MAX_THREADS: usize = 4096;

thread_local! {
    /// Whether this thread is inside a loop body of some pool.
    static IN_REGION: Cell<bool> = const { Cell::new(false) };
}

/// Workers that run one loop at a time together with the calling thread.
///
/// When the machine is not shared (no CPU quota, and a CPU for each thread of all pools of this
/// process), the workers are bound one per physical core, second hardware threads of cores last.
/// Loops of several callers take turns.
pub struct Pool {
    team: Arc<Team>,
    /// Held by the caller for the whole of a loop: indices that workers have ever finished.
    turn: Mutex<u64>,
    workers: Vec<JoinHandle<()>>,
    seats: Seats,
    patience: Patience,
    /// Most workers that a loop wakes.
    max_woken: usize,
}

impl Pool {
    /// A team of `n_threads` (the caller included), at least 1; fewer when the system
    /// refuses to start that many, or beyond 4096.
    pub fn new(n_threads: usize) -> Self {
        let n_threads = n_threads.clamp(1, MAX_THREADS);
        let seats = Seats::take(n_threads);
        let (patience, max_woken) = match seats.is_dedicated() {
            true => (DEDICATED, usize::MAX),
            // More could not run, only get in each other's way.
            false => (SHARED, (Machine::available_cores() - 1).max(1)),
        };
        let team = Arc::new(Team::new(n_threads - 1));
        let workers = (1..n_threads)
            .map_while(|worker| {
                let team = Arc::clone(&team);
                let cpu = seats.cpu(worker);
                thread::Builder::new()
                    .name(format!("worker-{worker}"))
                    .spawn(move || {
                        bind(cpu);
                        team.serve(worker, patience);
                    })
                    .ok()
            })
            .collect();
        Self {
            team,
            turn: Mutex::new(0),
            workers,
            seats,
            patience,
            max_woken,
        }
    }

    /// Binds the calling thread to the core that the team left for its caller, if its workers
    /// are bound at all. For a thread that does little but call loops of this pool; threads that
    /// it starts from now on are bound to the same core.
    pub fn pin_caller(&self) {
        bind(self.seats.cpu(0));
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
        let mut n_finished = lock(&self.turn);
        if n <= 1 || self.workers.is_empty() {
            let _inside = InRegion::enter();
            (0..n).for_each(|i| body(0, i));
            return;
        }
        // Threads claim in turn, so that each mostly walks a stretch of its own: memory sees a
        // few long streams instead of many short ones.
        let n_stretches = self.n_threads().min(self.max_woken.saturating_add(1));
        let body = &|worker: usize, claim: usize| body(worker, spread(claim, n, n_stretches));
        // SAFETY: only the lifetime changes. This returns after every claimed index is finished,
        // and does not unwind before; `body` is used by holders of unfinished claims only.
        let job = unsafe { mem::transmute::<&Body<'_>, &Body<'static>>(body) };
        // SAFETY: this caller has the turn, and whoever had it before waited as below.
        unsafe { self.team.claims.open(Job(job), n, self.max_woken) };
        let n_own = self.team.run(0, |_| ());
        *n_finished += (n - n_own) as u64;
        self.team.claims.join(*n_finished, self.patience);
        let payload = lock(&self.team.panic).take();
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
        self.team.claims.stop();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of bodies and has none of its own.
            let _ = worker.join();
        }
    }
}

/// A permutation of `0..n` that takes its values in turn from `n_stretches` stretches of equal
/// length, the first ones longer by one where that does not come out even.
fn spread(i: usize, n: usize, n_stretches: usize) -> usize {
    let (stretch, place) = (i % n_stretches, i / n_stretches);
    stretch * (n / n_stretches) + stretch.min(n % n_stretches) + place
}

type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The body of a loop; its lifetime is erased.
#[derive(Clone, Copy)]
struct Job(*const Body<'static>);

// SAFETY: the pointer is to a `Sync` closure and is used only by holders of unfinished claims,
// while the caller's borrow of the closure lives.
unsafe impl Send for Job {}

/// What workers and caller share.
struct Team {
    claims: Claims<Job>,
    /// The first panic in a body of the loop.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Team {
    fn new(n_workers: usize) -> Self {
        Self {
            claims: Claims::new(n_workers),
            panic: Mutex::new(None),
        }
    }

    /// Runs indices until none is left, and calls `finish` with the number of those that are done
    /// or need not be done, after each; how many in all. Keeps the first panic; does not unwind.
    fn run(&self, worker: usize, finish: impl Fn(usize)) -> usize {
        let _inside = InRegion::enter();
        let mut n_done = 0;
        while let Some(claim) = self.claims.claim() {
            let Claim { job, index, .. } = claim;
            let result = panic::catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: `index` is claimed and not finished, so the caller's closure lives.
                let body = unsafe { &*job.0 };
                body(worker, index);
            }));
            let mut n = 1;
            if let Err(payload) = result {
                n += self.claims.skip();
                self.keep(payload);
            }
            finish(n);
            n_done += n;
            if claim.is_last {
                break;
            }
        }
        n_done
    }

    /// Keeps the first panic of a loop. Others are leaked: dropping one could panic again, and
    /// unwind past a loop that is still open.
    fn keep(&self, payload: Box<dyn Any + Send>) {
        let mut first = lock(&self.panic);
        match *first {
            None => *first = Some(payload),
            Some(_) => mem::forget(payload),
        }
    }

    /// The life of a worker.
    fn serve(&self, worker: usize, patience: Patience) {
        while self.claims.wait(patience) {
            self.run(worker, |n| self.claims.finish(worker - 1, n));
        }
    }
}

fn bind(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        // A thread that the system does not bind runs anywhere.
        affinity::bind(&[cpu]);
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

#[cfg(all(test, not(loom)))]
mod tests;
