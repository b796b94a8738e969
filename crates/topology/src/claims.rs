//! How a team shares out the indices of a loop, and how its caller learns that all are done.
//!
//! One counter holds how many indices of the loop are left: a thread claims one by decrementing
//! it, and who finds it positive has the next index. The caller opens a loop by storing its
//! length there, and waits at the end for the indices that others claimed, nothing else. A worker
//! that does not come to claim is never waited for, and a claim that was meant for one loop but
//! comes so late that it meets the next is a claim like any other: what the loop is about is read
//! only after the claim, and stays until the claim is finished.
//!
//! Each worker counts what it finished in a cache line of its own. The caller reads them all,
//! which is faster than a common counter that dozens of cores increment at once.
//!
//! A worker that finds nothing to claim polls for a while, then sleeps. It first counts itself as
//! sleeping, then looks for a loop; the caller first opens the loop, then looks for sleepers.
//! Between the two steps of each stands a sequentially consistent fence, so at least one of them
//! sees the other. So nothing is asked of the system while nobody sleeps.

use std::sync::PoisonError;

use crate::atomics::{
    AtomicI64, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, Padded, UnsafeCell,
    fence,
};
use crate::patience::Patience;

/// In [`Front::left`] for good once the team has ended; late claims decrement even that.
const STOPPED: i64 = i64::MIN / 2;

/// Set in a worker's count while the caller sleeps.
const AWAITED: u64 = 1;
/// One finished index in a worker's count.
const FINISHED: u64 = 2;

/// The loops of a caller and its workers, one at a time; `J` says what a loop is about.
pub(crate) struct Claims<J> {
    front: Padded<Front<J>>,
    /// One per worker: what it finished so far, in units of [`FINISHED`], and [`AWAITED`].
    counts: Box<[Padded<AtomicU64>]>,
    beds: Padded<Beds>,
    exit: Exit,
}

/// What a worker needs when a loop opens, in one cache line.
struct Front<J> {
    /// Indices that nobody has claimed yet; nothing is left from zero down. It is changed by
    /// acquiring and releasing read-modify-write operations only, so the changes of all threads
    /// are in one order, which the model checker knows too.
    left: AtomicI64,
    /// The job and the length of the loop. Written only while every claim is finished, read only
    /// by holders of unfinished ones.
    job: UnsafeCell<Option<(J, usize)>>,
}

/// Where workers sleep.
struct Beds {
    /// Workers that nobody has woken yet; changed under `permits`.
    n_sleeping: AtomicUsize,
    /// Workers that were woken and have not noticed yet.
    permits: Mutex<usize>,
    wake: Condvar,
}

/// Where the caller sleeps until workers have finished.
struct Exit {
    waiting: Mutex<()>,
    finished: Condvar,
}

// SAFETY: `job` is the only field that is not `Sync`. It is written while no claim is unfinished
// and before the release that makes new ones possible; it is read between a claim, which acquires
// that release, and its end, a release that the caller acquires before it writes again.
unsafe impl<J: Copy + Send> Sync for Claims<J> {}

/// An index that this thread must run.
pub(crate) struct Claim<J> {
    pub(crate) job: J,
    pub(crate) index: usize,
    /// Whether no index is left after this one.
    pub(crate) is_last: bool,
}

impl<J: Copy + Send> Claims<J> {
    pub(crate) fn new(n_workers: usize) -> Self {
        Self {
            front: Padded(Front {
                left: AtomicI64::new(0),
                job: UnsafeCell::new(None),
            }),
            counts: (0..n_workers).map(|_| Padded(AtomicU64::new(0))).collect(),
            beds: Padded(Beds {
                n_sleeping: AtomicUsize::new(0),
                permits: Mutex::new(0),
                wake: Condvar::new(),
            }),
            exit: Exit {
                waiting: Mutex::new(()),
                finished: Condvar::new(),
            },
        }
    }

    /// Opens a loop over `0..n`, and wakes up to `n_wake` of the workers that sleep.
    ///
    /// # Safety
    /// Every index of all loops before is finished: [`join`](Self::join) has returned for those
    /// of the workers. No other thread opens loops meanwhile.
    pub(crate) unsafe fn open(&self, job: J, n: usize, n_wake: usize) {
        let Front { left, job: cell } = &self.front.0;
        let n_left = i64::try_from(n).expect("a loop that ends within a lifetime");
        // SAFETY: nobody reads: every claim is finished, and nothing is left to claim.
        cell.with_mut(|cell| unsafe { *cell = Some((job, n)) });
        left.swap(n_left, Ordering::AcqRel);
        self.wake(n_wake);
    }

    /// The next index of the open loop; each is given out once. Who gets one must
    /// [`finish`](Self::finish) it, or count it for [`join`](Self::join) if it is the caller; the
    /// loop, and what its job borrows, lasts until then.
    pub(crate) fn claim(&self) -> Option<Claim<J>> {
        let Front { left, job } = &self.front.0;
        let n_left = usize::try_from(left.fetch_sub(1, Ordering::AcqRel)).unwrap_or(0);
        if n_left == 0 {
            return None;
        }
        // SAFETY: nobody writes before the index that this thread has just claimed is finished.
        let (job, n) = job.with(|job| unsafe { *job })?;
        Some(Claim {
            job,
            index: n - n_left,
            is_last: n_left == 1,
        })
    }

    /// Takes what is left of the loop, so that nobody runs it; its length. For a thread that
    /// holds a claim, which answers for these indices as for its own.
    pub(crate) fn skip(&self) -> usize {
        let n_left = self.front.0.left.swap(0, Ordering::AcqRel);
        usize::try_from(n_left).unwrap_or(0)
    }

    /// The worker has finished `n` indices. What it wrote is visible to the caller after
    /// [`join`](Self::join).
    pub(crate) fn finish(&self, worker: usize, n: usize) {
        let count = n as u64 * FINISHED;
        let before = self.counts[worker].0.fetch_add(count, Ordering::Release);
        if before & AWAITED != 0 {
            // The caller is asleep once it has let go of the lock.
            drop(lock(&self.exit.waiting));
            self.exit.finished.notify_one();
        }
    }

    /// Waits until workers have finished `n` indices since the beginning of the team.
    pub(crate) fn join(&self, n: u64, patience: Patience) {
        let mut again = patience.begin();
        while self.n_finished() != n {
            if !again() {
                return self.sleep_until_finished(n);
            }
        }
    }

    #[cold]
    fn sleep_until_finished(&self, n: u64) {
        let mut guard = lock(&self.exit.waiting);
        for Padded(count) in &self.counts {
            count.fetch_or(AWAITED, Ordering::Relaxed);
        }
        while self.n_finished() != n {
            let finished = &self.exit.finished;
            guard = finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        for Padded(count) in &self.counts {
            count.fetch_and(!AWAITED, Ordering::Relaxed);
        }
    }

    fn n_finished(&self) -> u64 {
        let counts = self.counts.iter();
        counts
            .map(|Padded(count)| count.load(Ordering::Acquire) / FINISHED)
            .sum()
    }

    /// Ends the team: [`wait`](Self::wait) is false from now on. Called when no loop is open.
    pub(crate) fn stop(&self) {
        self.front.0.left.swap(STOPPED, Ordering::AcqRel);
        self.wake(usize::MAX);
    }

    /// Waits until there may be an index to claim; false when the team has ended.
    pub(crate) fn wait(&self, patience: Patience) -> bool {
        let poll = || match self.front.0.left.load(Ordering::Relaxed) {
            1.. => Some(true),
            ..=STOPPED => Some(false),
            _ => None,
        };
        loop {
            let mut again = patience.begin();
            loop {
                if let Some(found) = poll() {
                    return found;
                }
                if !again() {
                    break;
                }
            }
            // Who was woken polls again: loops come in bursts, so the next one will be soon.
            if let Some(found) = self.beds.0.sleep_unless(poll) {
                return found;
            }
        }
    }

    /// Wakes up to `n_wake` workers. What was stored before is seen by workers that fall asleep.
    fn wake(&self, n_wake: usize) {
        fence(Ordering::SeqCst);
        if self.beds.0.n_sleeping.load(Ordering::Relaxed) > 0 {
            self.beds.0.wake(n_wake);
        }
    }
}

impl Beds {
    /// Sleeps until woken, unless `poll` finds something once this worker counts as sleeping.
    fn sleep_unless<T>(&self, poll: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut permits = lock(&self.permits);
        let n_others = self.n_sleeping.load(Ordering::Relaxed);
        self.n_sleeping.store(n_others + 1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = poll();
        if found.is_some() {
            self.n_sleeping.store(n_others, Ordering::Relaxed);
            return found;
        }
        while *permits == 0 {
            permits = self
                .wake
                .wait(permits)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *permits -= 1;
        None
    }

    /// Wakes `n_wake` workers, or all if there are fewer.
    #[cold]
    fn wake(&self, n_wake: usize) {
        let mut permits = lock(&self.permits);
        let n_sleeping = self.n_sleeping.load(Ordering::Relaxed);
        let n_woken = n_wake.min(n_sleeping);
        self.n_sleeping
            .store(n_sleeping - n_woken, Ordering::Relaxed);
        *permits += n_woken;
        drop(permits);
        if n_woken == n_sleeping {
            self.wake.notify_all();
        } else {
            (0..n_woken).for_each(|_| self.wake.notify_one());
        }
    }
}

/// Locks. Nothing behind these locks can be half done, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, loom))]
mod models;
