//! What this process may use of the machine.

use std::fs;
use std::sync::OnceLock;
use std::thread;

use crate::{affinity, cores, quota, seats};

/// Facts about the machine.
pub struct Machine;

impl Machine {
    /// Hardware threads that this process may use: its affinity mask and the CPU quota of its
    /// control group bound it. At least 1. Asked once: a thread that is bound to a CPU later
    /// would get a narrower answer.
    pub fn available_cores() -> usize {
        static AVAILABLE: OnceLock<usize> = OnceLock::new();
        *AVAILABLE.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
    }

    /// Physical cores of which this process may use at least one hardware thread. At least 1;
    /// hardware threads count as cores where the system does not tell them apart.
    pub fn physical_cores() -> usize {
        match cores::cores().len() {
            0 => Self::available_cores(),
            n => n,
        }
    }

    /// CPUs' worth of time that the control group (version 2) of this process may use, possibly
    /// fractional. `None` without a limit.
    pub fn cpu_quota() -> Option<f64> {
        quota::quota()
    }

    /// How many threads should compute: one per physical core, fewer if the quota is less than
    /// that. At least 1. Hardware threads of one core share its arithmetic units and its path to
    /// memory, so a second one per core would only make the team larger.
    pub fn default_threads() -> usize {
        let quota = Self::cpu_quota().map_or(usize::MAX, |quota| quota as usize);
        let bound = Self::available_cores().min(quota);
        Self::physical_cores().min(bound).max(1)
    }

    /// CPUs of the cores that a [`Pool`](crate::Pool) of `n_threads` will leave alone: the place
    /// for all other threads. Empty when it uses every core or does not bind its threads.
    pub fn spare_cpus(n_threads: usize) -> Vec<usize> {
        seats::spare_cpus(n_threads)
    }

    /// Binds the calling thread, and those it will start, to `cpus`; whether the system did it.
    pub fn bind_thread(cpus: &[usize]) -> bool {
        affinity::bind(cpus)
    }

    /// Bytes of memory that this process could hold if it were alone: the RAM, or the limit of
    /// its cgroup (version 2) when that is lower. `None` where the system does not say.
    pub fn memory_limit() -> Option<u64> {
        let ram = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| field_bytes(&text, "MemTotal:"));
        let cgroup = fs::read_to_string("/sys/fs/cgroup/memory.max")
            .ok()
            .and_then(|text| text.trim().parse().ok());
        ram.into_iter().chain(cgroup).min()
    }

    /// Bytes of memory that could be taken now without swapping; the file cache counts as free.
    /// `None` where the system does not say.
    pub fn available_memory() -> Option<u64> {
        let free = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| field_bytes(&text, "MemAvailable:"))?;
        Some(free.min(Self::memory_limit()?))
    }
}

/// A field of `/proc/meminfo`, in bytes.
fn field_bytes(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_total_is_read_in_bytes() {
        let text = "MemTotal:       16316412 kB\nMemFree:          524288 kB\n";
        assert_eq!(field_bytes(text, "MemTotal:"), Some(16_316_412 * 1024));
        assert_eq!(field_bytes("MemFree: 1 kB\n", "MemTotal:"), None);
        assert_eq!(field_bytes("MemTotal: lots\n", "MemTotal:"), None);
    }

    #[test]
    fn there_is_at_least_one_core() {
        assert!(Machine::available_cores() >= 1);
        assert!(Machine::physical_cores() >= 1);
        assert!(Machine::default_threads() >= 1);
        assert!(Machine::default_threads() <= Machine::available_cores());
    }
}
