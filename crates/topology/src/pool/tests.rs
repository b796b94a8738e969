use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

fn check_each_index_runs_once(n_threads: usize, n: usize) {
    let pool = Pool::new(n_threads);
    let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
    for round in 1..=50 {
        pool.for_each_worker(n, &|worker, i| {
            assert!(worker < pool.n_threads());
            counts[i].fetch_add(1, Ordering::Relaxed);
        });
        for (i, count) in counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            assert_eq!(count, round, "index {i} of {n} on {n_threads} threads");
        }
    }
}

#[test]
fn each_index_runs_exactly_once() {
    for n_threads in [0, 1, 2, 3, 16] {
        for n in [0, 1, 2, 7, 1000] {
            check_each_index_runs_once(n_threads, n);
        }
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    for n_threads in [1, 2, 4] {
        let pool = Pool::new(n_threads);
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            pool.for_each(100, &|i| assert_ne!(i, 37, "index 37"));
        }));
        let payload = result.expect_err("the body panics");
        let text = payload.downcast_ref::<String>().expect("a formatted panic");
        assert!(text.contains("index 37"), "{text}");
        let sum = AtomicUsize::new(0);
        pool.for_each(100, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }
}

#[test]
fn panics_of_several_threads_are_one_panic() {
    /// Panics when it is dropped.
    struct Grudge;

    impl Drop for Grudge {
        fn drop(&mut self) {
            panic!("a payload that panics");
        }
    }

    let pool = Pool::new(2);
    let n_begun = AtomicUsize::new(0);
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        pool.for_each(2, &|_| {
            n_begun.fetch_add(1, Ordering::Relaxed);
            while n_begun.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            panic::panic_any(Grudge);
        });
    }));
    let payload = result.expect_err("both bodies panic");
    assert!(payload.is::<Grudge>());
    mem::forget(payload);
    pool.for_each(2, &|_| ());
}

#[test]
#[should_panic(expected = "do not nest")]
fn a_nested_loop_is_refused() {
    let pool = Pool::new(2);
    pool.for_each(4, &|_| pool.for_each(4, &|_| ()));
}

#[test]
fn chunks_cover_the_slice_and_do_not_meet() {
    let pool = Pool::new(3);
    let mut values = vec![0usize; 1003];
    pool.for_chunks(&mut values, 10, &|i, chunk| {
        chunk.iter_mut().for_each(|value| *value += i + 1);
    });
    for (i, value) in values.iter().enumerate() {
        assert_eq!(*value, i / 10 + 1);
    }
}

#[test]
fn callers_of_one_pool_take_turns() {
    let pool = Pool::new(2);
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    pool.for_each(5, &|i| {
                        sum.fetch_add(i, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 4 * 200 * 10);
}

#[test]
fn far_too_many_threads_still_work() {
    let pool = Pool::new(24 * Machine::available_cores());
    let sum = AtomicUsize::new(0);
    let began = Instant::now();
    for _ in 0..1000 {
        pool.for_each(100, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
    }
    // Milliseconds are enough; a loop that waits for threads without a CPU takes many each.
    assert!(began.elapsed() < Duration::from_secs(5), "a collapse");
    assert_eq!(sum.into_inner(), 1000 * 4950);
}

#[test]
fn workers_come_back_from_sleep() {
    let pool = Pool::new(2);
    for _ in 0..5 {
        let n_begun = AtomicUsize::new(0);
        // Bodies that wait for each other: the worker must take part.
        pool.for_each(2, &|_| {
            n_begun.fetch_add(1, Ordering::Relaxed);
            while n_begun.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
        });
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_caller_sleeps_until_a_slow_worker_is_done() {
    let pool = Pool::new(2);
    for _ in 0..5 {
        let n_begun = AtomicUsize::new(0);
        let is_done = AtomicBool::new(false);
        pool.for_each_worker(2, &|worker, _| {
            n_begun.fetch_add(1, Ordering::Relaxed);
            while n_begun.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            if worker == 1 {
                thread::sleep(Duration::from_millis(20));
                is_done.store(true, Ordering::Relaxed);
            }
        });
        assert!(is_done.into_inner());
    }
}

#[test]
fn stretches_hold_every_index_once_and_in_order() {
    for (n, n_stretches) in [(1, 4), (4, 4), (10, 3), (11, 4), (1000, 7)] {
        let order: Vec<usize> = (0..n).map(|i| spread(i, n, n_stretches)).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..n).collect::<Vec<_>>());
        for (i, next) in order.iter().skip(n_stretches).enumerate() {
            assert_eq!(*next, order[i] + 1, "{n} in {n_stretches}");
        }
    }
}
