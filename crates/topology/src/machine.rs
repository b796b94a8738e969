//! What this process may use of the machine.

use std::fs;
use std::thread;

/// Facts about the machine, read from the system when asked.
pub struct Machine;

impl Machine {
    /// Cores that this process may use: its affinity mask and the CPU quota of its cgroup
    /// bound it. At least 1.
    pub fn available_cores() -> usize {
        thread::available_parallelism().map_or(1, usize::from)
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
    }
}
