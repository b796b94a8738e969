//! The physical cores that this process may use.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use crate::affinity;

/// The CPUs (hardware threads) of each core, ascending, those only that this process was allowed
/// when this was first asked; cores in the order of their first CPU. Empty where the system does
/// not say.
///
/// Asked once, because a thread that is later bound to a CPU would get a narrower answer.
pub(crate) fn cores() -> &'static [Vec<usize>] {
    static CORES: OnceLock<Vec<Vec<usize>>> = OnceLock::new();
    CORES.get_or_init(|| group(&affinity::allowed().unwrap_or_default(), read_siblings))
}

/// Groups `cpus` by core. A CPU of which the siblings are unknown is a core of its own.
fn group(cpus: &[usize], siblings: impl Fn(usize) -> Option<Vec<usize>>) -> Vec<Vec<usize>> {
    let mut cores = BTreeMap::<usize, Vec<usize>>::new();
    for &cpu in cpus {
        let core = siblings(cpu).and_then(|cpus| cpus.into_iter().min());
        cores.entry(core.unwrap_or(cpu)).or_default().push(cpu);
    }
    let mut cores: Vec<_> = cores.into_values().collect();
    cores.sort_by_key(|cpus| cpus[0]);
    cores
}

fn read_siblings(cpu: usize) -> Option<Vec<usize>> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    parse_list(fs::read_to_string(path).ok()?.trim())
}

/// A list of CPUs such as `0-3,8,10-11`.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // No core has more hardware threads; a longer list is not one of siblings.
        if last.checked_sub(first)? >= 64 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_list("0"), Some(vec![0]));
        assert_eq!(parse_list("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        for wrong in ["", "x", "3-1", "1,", "0-18446744073709551615"] {
            assert_eq!(parse_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn siblings_share_a_core() {
        let far = |cpu: usize| Some(vec![cpu % 4, cpu % 4 + 4]);
        assert_eq!(
            group(&[0, 1, 2, 3, 4, 5, 6, 7], far),
            [[0, 4], [1, 5], [2, 6], [3, 7]]
        );
        assert_eq!(group(&[1, 2, 5, 7], far), [vec![1, 5], vec![2], vec![7]]);
        assert_eq!(group(&[2, 3], |_| None), [[2], [3]]);
    }

    #[test]
    fn this_machine_has_cores() {
        if cfg!(target_os = "linux") {
            assert!(!cores().is_empty());
            assert!(cores().iter().all(|cpus| !cpus.is_empty()));
        }
    }
}
