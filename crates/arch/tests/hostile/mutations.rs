//! Random lies: whatever the file says, there is an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use perigee_arch::Error;
use perigee_testkit::hostile::{Draft, bases, mutated};

use crate::budget::measured;
use crate::verdict::read;

/// What became of many files.
#[derive(Default)]
struct Tally {
    accepted: u64,
    /// Sound containers that are no model.
    refused_late: u64,
    refused: u64,
    largest: isize,
    slowest: Duration,
}

impl Tally {
    /// Reads the file of a seed. A panic names the seed.
    fn add(&mut self, bases: &[Draft], seed: u64) {
        let bytes = mutated(bases, seed);
        let len = bytes.len() as isize;
        let read = catch_unwind(AssertUnwindSafe(|| measured(|| read(bytes).map(drop))));
        let Ok((result, peak, elapsed)) = read else {
            panic!("the file of seed {seed} made its reader panic")
        };
        // Small files must not ask for much: hundred thousands of them cost nothing to send.
        let most = 4 * len + (8 << 20);
        assert!(peak < most, "seed {seed}: {peak} bytes for a file of {len}");
        let limit = Duration::from_secs(2);
        assert!(elapsed < limit, "seed {seed}: {elapsed:?}");
        match result {
            Ok(()) => self.accepted += 1,
            Err(Error::Gguf(_)) => self.refused += 1,
            Err(_) => self.refused_late += 1,
        }
        self.largest = self.largest.max(peak);
        self.slowest = self.slowest.max(elapsed);
    }
}

#[test]
fn twenty_thousand_mutated_files_are_read_or_refused() {
    let bases = bases();
    let mut tally = Tally::default();
    for seed in 0..20_000 {
        tally.add(&bases, seed);
    }
    // A mutator that breaks everything, or nothing, tests only the surface.
    assert!(tally.accepted > 500, "{} accepted", tally.accepted);
    let (early, late) = (tally.refused, tally.refused_late);
    assert!(early > 5000 && late > 1000, "{early} and {late} refused");
}

/// `cargo xtask hostile N` runs this with `PERIGEE_MUTATIONS=N`, after the seeds of the test
/// above.
#[test]
#[ignore = "as long as it is told to be"]
fn as_many_mutated_files_as_asked_are_read_or_refused() {
    let n = std::env::var("PERIGEE_MUTATIONS").ok();
    let n: u64 = n.and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let bases = bases();
    let mut tally = Tally::default();
    let started = Instant::now();
    for i in 0..n {
        tally.add(&bases, 20_000 + i);
        if (i + 1) % 250_000 == 0 || i + 1 == n {
            eprintln!(
                "{} files in {:.0} s: {} accepted, {} refused as models, {} as containers; at most {} KB and {:.1} ms",
                i + 1,
                started.elapsed().as_secs_f64(),
                tally.accepted,
                tally.refused_late,
                tally.refused,
                tally.largest / 1000,
                tally.slowest.as_secs_f64() * 1e3,
            );
        }
    }
}
