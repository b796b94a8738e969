//! Every interleaving of small teams, run by the model checker: `cargo xtask loom`.
//!
//! Cells that are not atomic stand for what bodies write. The checker reports two threads at one
//! cell without an order between them, so these models also say that bodies are over, and their
//! writes visible, when `join` returns. It reports threads that wait for ever, too: a lost
//! wake-up.

use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use super::*;

const PATIENCE: Patience = Patience::new(Duration::ZERO);
const ALL: usize = usize::MAX;

/// What is run for an index; how many indices that settles.
type Body = dyn Fn(usize) -> usize + Send + Sync;

/// Threads that run `body` for the indices of loops.
struct Team {
    claims: Arc<Claims<usize>>,
    /// Not the checker's: it has no `Arc` of unsized types.
    body: std::sync::Arc<Body>,
    workers: Vec<JoinHandle<()>>,
    n_finished: u64,
}

impl Team {
    fn new(n_workers: usize, body: impl Fn(usize) -> usize + Send + Sync + 'static) -> Self {
        let claims = Arc::new(Claims::new(n_workers));
        let body: std::sync::Arc<Body> = std::sync::Arc::new(body);
        let workers = (0..n_workers)
            .map(|worker| {
                let (claims, body) = (Arc::clone(&claims), body.clone());
                thread::spawn(move || {
                    while claims.wait(PATIENCE) {
                        run(&claims, &*body, |n| claims.finish(worker, n));
                    }
                })
            })
            .collect();
        Self {
            claims,
            body,
            workers,
            n_finished: 0,
        }
    }

    /// One loop over `0..n`.
    fn run(&mut self, n: usize, n_wake: usize) {
        // SAFETY: the only caller, and it waits for the end of each loop.
        unsafe { self.claims.open(n, n, n_wake) };
        self.n_finished += (n - run(&self.claims, &*self.body, |_| ())) as u64;
        self.claims.join(self.n_finished, PATIENCE);
    }

    /// Ends when every worker has.
    fn stop(self) {
        self.claims.stop();
        for worker in self.workers {
            worker.join().unwrap();
        }
    }
}

fn run(claims: &Claims<usize>, body: impl Fn(usize) -> usize, finish: impl Fn(usize)) -> usize {
    let mut n_done = 0;
    while let Some(claim) = claims.claim() {
        // The job is that of the loop which gave out the index.
        assert!(claim.index < claim.job);
        let n = body(claim.index);
        finish(n);
        n_done += n;
        if claim.is_last {
            break;
        }
    }
    n_done
}

/// Counters that threads write without synchronisation of their own.
struct Counters(Vec<UnsafeCell<usize>>);

// SAFETY: the checker watches each access and fails the model at a race.
unsafe impl Sync for Counters {}
// SAFETY: plain numbers.
unsafe impl Send for Counters {}

impl Counters {
    fn new(n: usize) -> Arc<Self> {
        Arc::new(Self((0..n).map(|_| UnsafeCell::new(0)).collect()))
    }

    fn increment(&self, i: usize) {
        // SAFETY: see `Sync`.
        self.0[i].with_mut(|count| unsafe { *count += 1 });
    }

    fn assert_all(&self, want: usize) {
        self.assert_each(&vec![want; self.0.len()]);
    }

    fn assert_each(&self, want: &[usize]) {
        for (count, want) in self.0.iter().zip(want) {
            // SAFETY: see `Sync`.
            assert_eq!(count.with(|count| unsafe { *count }), *want);
        }
    }
}

/// Explores all interleavings with at most `preemptions` switches away from a thread that could
/// go on; all without exception if `None`.
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(model);
}

fn each_index_runs_once(n_workers: usize, n: usize, n_loops: usize, n_wake: usize) {
    let counters = Counters::new(n);
    let mut team = {
        let counters = Arc::clone(&counters);
        Team::new(n_workers, move |i| {
            counters.increment(i);
            1
        })
    };
    for round in 1..=n_loops {
        team.run(n, n_wake);
        // Fails if a body were still running: reading would race with its write.
        counters.assert_all(round);
    }
    team.stop();
}

#[test]
fn one_loop_with_one_worker() {
    check(Some(5), || each_index_runs_once(1, 2, 1, ALL));
}

#[test]
fn loops_follow_each_other() {
    check(Some(3), || each_index_runs_once(1, 2, 3, ALL));
}

#[test]
fn two_workers_share_loops() {
    check(Some(2), || each_index_runs_once(2, 2, 1, ALL));
    check(Some(1), || each_index_runs_once(2, 3, 2, ALL));
}

#[test]
fn workers_that_nobody_wakes_do_no_harm() {
    check(Some(1), || each_index_runs_once(2, 2, 2, 1));
    check(Some(3), || each_index_runs_once(1, 2, 2, 0));
}

/// Loops of different lengths: a claim that comes late reads the job of the loop that it meets.
#[test]
fn late_claims_belong_to_the_next_loop() {
    check(Some(3), || {
        let counters = Counters::new(3);
        let mut team = {
            let counters = Arc::clone(&counters);
            Team::new(1, move |i| {
                counters.increment(i);
                1
            })
        };
        team.run(1, ALL);
        team.run(3, ALL);
        team.run(2, ALL);
        team.stop();
        counters.assert_each(&[3, 2, 1]);
    });
}

/// Bodies that wait for each other: a worker that slept through the opening of a loop, although
/// it was to be woken, would leave the caller waiting for ever.
fn bodies_meet(n_workers: usize, n_loops: usize) {
    let n = n_workers + 1;
    let met = Arc::new((Mutex::new(0), Condvar::new()));
    let mut team = Team::new(n_workers, move |_| {
        let (n_begun, all_begun) = &*met;
        let mut guard = n_begun.lock().unwrap();
        let round = *guard / n;
        *guard += 1;
        all_begun.notify_all();
        while *guard / n == round {
            guard = all_begun.wait(guard).unwrap();
        }
        1
    });
    for _ in 0..n_loops {
        team.run(n, ALL);
    }
    team.stop();
}

#[test]
fn no_wake_up_is_lost() {
    check(Some(3), || bodies_meet(1, 2));
    check(Some(1), || bodies_meet(2, 1));
}

#[test]
fn stopping_wakes_everybody() {
    check(None, || Team::new(1, |_| 1).stop());
    check(Some(3), || Team::new(2, |_| 1).stop());
}

/// A body that fails takes the rest of the loop with it; loops after that are whole again.
#[test]
fn skipped_indices_are_settled() {
    check(Some(3), || {
        let claims = Arc::new(Claims::<usize>::new(1));
        let worker = {
            let claims = Arc::clone(&claims);
            thread::spawn(move || {
                while claims.wait(PATIENCE) {
                    run(&claims, |_| 1 + claims.skip(), |n| claims.finish(0, n));
                }
            })
        };
        let mut n_finished = 0;
        for n in [3, 2] {
            // SAFETY: the only caller, and it waits for the end of each loop.
            unsafe { claims.open(n, n, ALL) };
            n_finished += (n - run(&claims, |_| 1, |_| ())) as u64;
            claims.join(n_finished, PATIENCE);
        }
        claims.stop();
        worker.join().unwrap();
    });
}
