//! What a loop costs that has nothing to do.
//!
//! `cargo run --release -p perigee-topology --example dispatch [THREADS...]` prints, for each
//! size of team, the best and the median of 200 measurements of 500 loops:
//!
//! - an *empty* loop: one index per thread, nothing to do. The caller often claims all of them
//!   before a worker arrives;
//! - a *full* loop: one index per thread, and none ends before all have begun. So every thread
//!   takes part, and the time is that of a dispatch, a barrier and a join.
//!
//! The best is what it costs when nothing else runs on those cores.

#![expect(
    clippy::print_stdout,
    reason = "an example that prints what it measured"
)]

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use perigee_topology::{Machine, Pool};

const N_LOOPS: usize = 500;
const N_MEASUREMENTS: usize = 200;

fn main() {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .map(|size| size.parse().expect("a number of threads"))
        .collect();
    if sizes.is_empty() {
        sizes = vec![1, 2];
    }
    println!(
        "{} physical cores, {} CPUs, quota {:?}, {} threads by default",
        Machine::physical_cores(),
        Machine::available_cores(),
        Machine::cpu_quota(),
        Machine::default_threads(),
    );
    for n_threads in sizes {
        let pool = Pool::new(n_threads);
        pool.pin_caller();
        let empty = measure(|| pool.for_each(n_threads, &|_| ()));
        print!("{n_threads} threads: empty loop {empty}");
        // Threads that wait for each other need a CPU each.
        if n_threads <= Machine::available_cores() {
            let n_begun = AtomicUsize::new(0);
            let mut target = 0;
            let full = measure(|| {
                target += n_threads;
                pool.for_each(n_threads, &|_| {
                    n_begun.fetch_add(1, Ordering::Relaxed);
                    while n_begun.load(Ordering::Relaxed) < target {
                        hint::spin_loop();
                    }
                });
            });
            print!(", full loop {full}");
        }
        println!();
    }
}

/// The time of one call.
fn measure(mut call: impl FnMut()) -> String {
    let mut means: Vec<f64> = (0..N_MEASUREMENTS)
        .map(|_| {
            let began = Instant::now();
            (0..N_LOOPS).for_each(|_| call());
            began.elapsed().as_nanos() as f64 / N_LOOPS as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let median = means[means.len() / 2];
    format!("{:.0} ns (median {median:.0})", means[0])
}
