//! How a team begins and ends a loop together.
//!
//! One caller opens a *region* with a job, workers enter it, everybody claims indices, the
//! caller closes it and waits for the workers that are inside. Nobody waits for a worker that
//! did not enter.
//!
//! A worker enters by marking its own slot and then looking whether the region is still open;
//! the caller closes by marking the region closed and then looking at the slots. Between the two
//! steps of each stands a sequentially consistent fence, so at least one of them sees the other:
//! either the worker stays outside or the caller waits for it. Slots instead of one counter,
//! because a counter that dozens of cores increment at once is slower than reading their slots.
//!
//! Sleeping is the same again: a worker counts itself as sleeping, then looks for a region; the
//! caller opens the region, then looks for sleepers. So nothing is asked of the system while
//! nobody sleeps.

use std::sync::PoisonError;

use crate::atomics::{
    AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, Padded, UnsafeCell,
    fence,
};
use crate::patience::Patience;

/// Set in [`Front::state`] while workers may enter.
const OPEN: u64 = 1;
/// Set in [`Front::state`] for good when the team ends.
const STOP: u64 = 2;
/// Added to [`Front::state`] for each region; what stands above the flags is its number.
const EPOCH: u64 = 4;

/// The worker is not inside.
const OUT: u32 = 0;
/// The worker is inside, or about to find out that it came too late.
const IN: u32 = 1;
/// As [`IN`], and the caller sleeps until it leaves.
const AWAITED: u32 = 2;

/// The meeting point of a caller and its workers; `J` says what a region is about.
pub(crate) struct Gate<J> {
    front: Padded<Front<J>>,
    /// Next unclaimed index.
    next: Padded<AtomicUsize>,
    /// One per worker, written by it alone but for [`AWAITED`].
    slots: Box<[Padded<AtomicU32>]>,
    beds: Padded<Beds>,
    exit: Exit,
}

/// What a worker reads when a region opens, in one cache line.
struct Front<J> {
    state: AtomicU64,
    /// Written only while the region is closed and empty, read only from inside.
    job: UnsafeCell<Option<J>>,
}

/// Where workers sleep.
struct Beds {
    /// Workers that nobody has woken yet; changed under `permits`.
    n_sleeping: AtomicUsize,
    /// Workers that were woken and have not noticed yet.
    permits: Mutex<usize>,
    wake: Condvar,
}

/// Where a caller sleeps that waits for a worker.
struct Exit {
    waiting: Mutex<()>,
    /// Signalled by a worker that leaves an [`AWAITED`] slot.
    left: Condvar,
}

// SAFETY: `job` is the only field that is not `Sync`. The caller writes it while the region is
// closed and empty; workers read it from inside an open region (an acquire of the release that
// opened it) and leave with a release that the caller acquires before it writes again.
unsafe impl<J: Copy + Send> Sync for Gate<J> {}

/// A worker's memory of where it was.
pub(crate) struct Visitor {
    slot: usize,
    /// The last region entered.
    seen: u64,
}

impl Visitor {
    /// The worker with the given slot. At most one exists per slot of a gate.
    pub(crate) fn new(slot: usize) -> Self {
        Self { slot, seen: 0 }
    }

    fn may_enter(&self, state: u64) -> bool {
        state & OPEN != 0 && state / EPOCH != self.seen
    }
}

/// A worker inside a region, until dropped: the caller of the region waits for that.
pub(crate) struct Inside<'a, J> {
    pub(crate) job: J,
    _mark: Mark<'a>,
}

/// A slot that is not [`OUT`], until dropped.
struct Mark<'a> {
    slot: &'a AtomicU32,
    exit: &'a Exit,
}

impl<'a> Mark<'a> {
    /// What this thread loads afterwards is no older than what a caller has stored that does not
    /// see the mark.
    fn set(slot: &'a AtomicU32, exit: &'a Exit) -> Self {
        slot.store(IN, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self { slot, exit }
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        if self.slot.swap(OUT, Ordering::AcqRel) == AWAITED {
            // The caller is asleep once it has let go of the lock.
            drop(lock(&self.exit.waiting));
            self.exit.left.notify_one();
        }
    }
}

impl<J: Copy + Send> Gate<J> {
    pub(crate) fn new(n_workers: usize) -> Self {
        Self {
            front: Padded(Front {
                state: AtomicU64::new(0),
                job: UnsafeCell::new(None),
            }),
            next: Padded(AtomicUsize::new(0)),
            slots: (0..n_workers)
                .map(|_| Padded(AtomicU32::new(OUT)))
                .collect(),
            beds: Padded(Beds {
                n_sleeping: AtomicUsize::new(0),
                permits: Mutex::new(0),
                wake: Condvar::new(),
            }),
            exit: Exit {
                waiting: Mutex::new(()),
                left: Condvar::new(),
            },
        }
    }

    /// Lets workers enter, and wakes up to `n_wake` of those that sleep.
    ///
    /// # Safety
    /// The gate is new, or [`close`](Self::close) has returned since the last `open`, and no
    /// other thread opens or closes it meanwhile.
    pub(crate) unsafe fn open(&self, job: J, n_wake: usize) {
        let Front { state, job: cell } = &self.front.0;
        // SAFETY: nobody reads: the region is closed and empty.
        cell.with_mut(|cell| unsafe { *cell = Some(job) });
        self.next.0.store(0, Ordering::Relaxed);
        let closed = state.load(Ordering::Relaxed);
        state.store(closed.wrapping_add(EPOCH) | OPEN, Ordering::Release);
        self.wake(n_wake);
    }

    /// Keeps workers from entering and waits until none is inside. What they wrote inside is
    /// visible afterwards.
    pub(crate) fn close(&self, patience: Patience) {
        let state = &self.front.0.state;
        let open = state.load(Ordering::Relaxed);
        state.store(open & !OPEN, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        for Padded(slot) in &self.slots {
            if slot.load(Ordering::Acquire) != OUT {
                self.wait_until_out(slot, patience);
            }
        }
    }

    #[cold]
    fn wait_until_out(&self, slot: &AtomicU32, patience: Patience) {
        let mut again = patience.begin();
        while again() {
            if slot.load(Ordering::Acquire) == OUT {
                return;
            }
        }
        let mut guard = lock(&self.exit.waiting);
        let seen = slot.compare_exchange(IN, AWAITED, Ordering::Relaxed, Ordering::Acquire);
        if seen == Err(OUT) {
            return;
        }
        while slot.load(Ordering::Acquire) != OUT {
            guard = self
                .exit
                .left
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next index of the open region: each is given out once. For those inside.
    pub(crate) fn claim(&self) -> usize {
        self.next.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes [`claim`](Self::claim) give out nothing below `n` any more.
    pub(crate) fn skip_to(&self, n: usize) {
        self.next.0.fetch_max(n, Ordering::Relaxed);
    }

    /// Ends the team: every worker gets `None` from [`enter`](Self::enter). Called once, after
    /// the last region is closed.
    pub(crate) fn stop(&self) {
        self.front.0.state.fetch_or(STOP, Ordering::Release);
        self.wake(usize::MAX);
    }

    /// Waits for a region that this worker has not been in, and enters it; `None` when the team
    /// has ended.
    pub(crate) fn enter(&self, visitor: &mut Visitor, patience: Patience) -> Option<Inside<'_, J>> {
        let Front { state, job } = &self.front.0;
        while self.await_change(visitor, patience) & STOP == 0 {
            let mark = Mark::set(&self.slots[visitor.slot].0, &self.exit);
            let state = state.load(Ordering::Acquire);
            if visitor.may_enter(state) {
                visitor.seen = state / EPOCH;
                // SAFETY: inside an open region: nobody writes until the mark is gone.
                let job = job.with(|job| unsafe { *job });
                return Some(Inside {
                    job: job.expect("a region opens with a job"),
                    _mark: mark,
                });
            }
        }
        None
    }

    /// Waits for a region that is new to this worker or for the end; the state then.
    fn await_change(&self, visitor: &Visitor, patience: Patience) -> u64 {
        let poll = || {
            let state = self.front.0.state.load(Ordering::Acquire);
            (visitor.may_enter(state) || state & STOP != 0).then_some(state)
        };
        loop {
            let mut again = patience.begin();
            loop {
                if let Some(state) = poll() {
                    return state;
                }
                if !again() {
                    break;
                }
            }
            // Who was woken polls again: loops come in bursts, so the next one will be soon.
            if let Some(state) = self.beds.0.sleep_unless(poll) {
                return state;
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
