//! What a team costs while it has nothing to do. Alone in its program: the figure is the CPU
//! time of the whole process.

#![cfg(target_os = "linux")]

use std::thread;
use std::time::Duration;

use perigee_topology::{Machine, Pool};

/// CPU time that this process has used.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is written by the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_team_without_loops_sleeps() {
    let n_cores = Machine::available_cores();
    for n_threads in [2, n_cores, 4 * n_cores] {
        let pool = Pool::new(n_threads);
        for _ in 0..10 {
            pool.for_each(1000, &|i| _ = std::hint::black_box(i));
        }
        // Longer than any thread polls.
        thread::sleep(Duration::from_millis(50));
        let before = cpu_time();
        thread::sleep(Duration::from_millis(300));
        let used = cpu_time() - before;
        assert!(
            used < Duration::from_millis(3),
            "{n_threads} threads used {used:?} in 300 ms"
        );
    }
}
