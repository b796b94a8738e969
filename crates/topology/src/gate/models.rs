//! Every interleaving of small teams, run by the model checker: `cargo xtask loom`.
//!
//! Cells that are not atomic stand for what bodies write. The checker reports two threads at one
//! cell without an order between them, so these models also say that a region is over, and its
//! writes are visible, when `close` returns. It reports threads that wait for ever, too: a lost
//! wake-up.

use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use super::*;

const PATIENCE: Patience = Patience::new(Duration::ZERO);
const ALL: usize = usize::MAX;

type Body = dyn Fn(usize) + Send + Sync;

/// A gate with one thread per worker that runs `body` for the indices below the job.
struct Team {
    gate: Arc<Gate<usize>>,
    /// Not the checker's: it has no `Arc` of unsized types.
    body: std::sync::Arc<Body>,
    workers: Vec<JoinHandle<()>>,
}

impl Team {
    fn new(n_workers: usize, body: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let gate = Arc::new(Gate::new(n_workers));
        let body: std::sync::Arc<Body> = std::sync::Arc::new(body);
        let workers = (0..n_workers)
            .map(|worker| {
                let (gate, body) = (Arc::clone(&gate), body.clone());
                thread::spawn(move || {
                    let mut visitor = Visitor::new(worker);
                    while let Some(inside) = gate.enter(&mut visitor, PATIENCE) {
                        run(&gate, inside.job, &*body);
                    }
                })
            })
            .collect();
        Self {
            gate,
            body,
            workers,
        }
    }

    fn region(&self, n: usize, n_wake: usize) {
        // SAFETY: the only caller, and it closes the gate.
        unsafe { self.gate.open(n, n_wake) };
        run(&self.gate, n, &*self.body);
        self.gate.close(PATIENCE);
    }

    /// Ends when every worker has.
    fn stop(self) {
        self.gate.stop();
        for worker in self.workers {
            worker.join().unwrap();
        }
    }
}

fn run(gate: &Gate<usize>, n: usize, body: &Body) {
    loop {
        let i = gate.claim();
        if i >= n {
            break;
        }
        body(i);
    }
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
        for count in &self.0 {
            // SAFETY: see `Sync`.
            assert_eq!(count.with(|count| unsafe { *count }), want);
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

fn each_index_runs_once(n_workers: usize, n: usize, n_regions: usize, n_wake: usize) {
    let counters = Counters::new(n);
    let team = {
        let counters = Arc::clone(&counters);
        Team::new(n_workers, move |i| counters.increment(i))
    };
    for region in 1..=n_regions {
        team.region(n, n_wake);
        // Fails if a worker were still inside: reading would race with its write.
        counters.assert_all(region);
    }
    team.stop();
}

#[test]
fn one_region_with_one_worker() {
    check(Some(4), || each_index_runs_once(1, 2, 1, ALL));
}

#[test]
fn regions_follow_each_other() {
    check(Some(3), || each_index_runs_once(1, 2, 3, ALL));
}

#[test]
fn two_workers_share_regions() {
    check(Some(2), || each_index_runs_once(2, 2, 2, ALL));
}

#[test]
fn workers_that_nobody_wakes_do_no_harm() {
    check(Some(2), || each_index_runs_once(2, 2, 2, 1));
    check(Some(3), || each_index_runs_once(1, 2, 2, 0));
}

/// Bodies that wait for each other: a worker that slept through the opening of a region, although
/// it was to be woken, would leave the caller waiting for ever.
fn bodies_meet(n_workers: usize, n_regions: usize) {
    let n = n_workers + 1;
    let met = Arc::new((Mutex::new(0), Condvar::new()));
    let team = Team::new(n_workers, move |_| {
        let (n_begun, all_begun) = &*met;
        let mut guard = n_begun.lock().unwrap();
        let round = *guard / n;
        *guard += 1;
        all_begun.notify_all();
        while *guard / n == round {
            guard = all_begun.wait(guard).unwrap();
        }
    });
    for _ in 0..n_regions {
        team.region(n, ALL);
    }
    team.stop();
}

#[test]
fn no_wake_up_is_lost() {
    check(Some(3), || bodies_meet(1, 2));
    check(Some(2), || bodies_meet(2, 1));
}

#[test]
fn stopping_wakes_everybody() {
    check(None, || Team::new(1, |_| ()).stop());
    check(Some(3), || Team::new(2, |_| ()).stop());
}

#[test]
fn skipped_indices_do_not_run() {
    check(Some(3), || {
        let gate = Arc::new(Gate::<usize>::new(0));
        let claims = Arc::clone(&gate);
        let other = thread::spawn(move || claims.claim());
        gate.skip_to(2);
        assert!(gate.claim() >= 2);
        let index = other.join().unwrap();
        assert!(index == 0 || index >= 2);
    });
}
