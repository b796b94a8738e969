//! The share of CPU time that the control groups of this process allow.

use std::fs;
use std::path::Path;

/// Where version 2 of the control groups is mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// CPUs' worth of time, possibly fractional: the least of this process's group and all groups
/// around it. `None` without a limit.
pub(crate) fn quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    least(Path::new(ROOT), group)
}

/// The least quota from `root/group` up to `root`.
fn least(root: &Path, group: &str) -> Option<f64> {
    // A group outside this namespace begins with `..`; what can be seen of it is the root.
    let group = if group.starts_with("..") { "" } else { group };
    root.join(group)
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| parse(&fs::read_to_string(folder.join("cpu.max")).ok()?))
        .min_by(f64::total_cmp)
}

/// `cpu.max`: microseconds of CPU time (`max`: no limit) per period of as many microseconds.
fn parse(cpu_max: &str) -> Option<f64> {
    let (time, period) = cpu_max.trim().split_once(' ')?;
    let (time, period): (u64, u64) = (time.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| time as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_fractions_of_the_period() {
        assert_eq!(parse("150000 100000\n"), Some(1.5));
        assert_eq!(parse("5000 10000\n"), Some(0.5));
        for none in ["max 100000\n", "", "100000", "1 0", "-1 100000"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn the_least_quota_of_the_ancestors_counts() {
        let root = std::env::temp_dir().join(format!("perigee-quota-{}", std::process::id()));
        let inner = root.join("slice/service");
        fs::create_dir_all(&inner).unwrap();
        let write = |folder: &Path, text| fs::write(folder.join("cpu.max"), text).unwrap();
        write(&inner, "max 100000");
        assert_eq!(least(&root, "slice/service"), None);
        write(&root.join("slice"), "250000 100000");
        assert_eq!(least(&root, "slice/service"), Some(2.5));
        assert_eq!(least(&root, ""), None);
        write(&inner, "400000 100000");
        assert_eq!(least(&root, "slice/service"), Some(2.5));
        write(&root, "50000 100000");
        assert_eq!(least(&root, "slice/service"), Some(0.5));
        assert_eq!(least(&root, "../other"), Some(0.5));
        fs::remove_dir_all(root).unwrap();
    }
}
