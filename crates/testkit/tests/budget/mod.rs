//! What one thread may spend on a hostile file: shared by the test binaries that include it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Most bytes that reading any test file may hold at a time, beyond the file itself.
const MAX_LIVE: isize = 64 << 20;
/// Longest time that reading any test file may take.
const MAX_TIME: Duration = Duration::from_secs(2);

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with a count of live bytes for each thread.
struct Counting;

fn count(change: isize) {
    // During the end of a thread the counters may be gone; nobody reads them then.
    let _ = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(change));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the
// contract; counting touches only thread-local integers that need no memory themselves.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`, which may hold 64 MB at most and take 2 s at most.
pub(crate) fn within_budget<T>(work: impl FnOnce() -> T) -> T {
    let (result, peak, elapsed) = measured(work);
    assert!(peak <= MAX_LIVE, "{peak} bytes were held at a time");
    assert!(elapsed <= MAX_TIME, "{elapsed:?} passed");
    result
}

/// Runs `work` and returns what it held at most, in bytes, and how long it took.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, isize, Duration) {
    let before = LIVE.get();
    PEAK.set(before);
    let started = Instant::now();
    let result = work();
    let elapsed = started.elapsed();
    (result, PEAK.get() - before, elapsed)
}
