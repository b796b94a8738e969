//! Which CPUs the threads of a team sit on.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Machine, cores};

/// What the teams of this process hold now.
static HELD: Mutex<Held> = Mutex::new(Held {
    cpus: Vec::new(),
    n_threads: 0,
});

struct Held {
    /// CPUs that threads are bound to.
    cpus: Vec<usize>,
    /// Threads of all teams.
    n_threads: usize,
}

/// The places of one team, until dropped.
pub(crate) struct Seats {
    plan: Plan,
    n_threads: usize,
}

/// How the threads of a team share the machine with others.
#[derive(Debug, PartialEq)]
struct Plan {
    /// One CPU per thread; empty when the threads are not bound.
    cpus: Vec<usize>,
    /// Whether each thread has a CPU's worth of time.
    is_dedicated: bool,
}

impl Seats {
    /// Takes places for `n_threads`, as far as other teams of this process left any.
    pub(crate) fn take(n_threads: usize) -> Self {
        let mut held = lock();
        let plan = plan(cores::cores(), available(), &held, n_threads);
        held.cpus.extend(&plan.cpus);
        held.n_threads = held.n_threads.saturating_add(n_threads);
        Self { plan, n_threads }
    }

    /// The CPU that a thread of the team shall be bound to.
    pub(crate) fn cpu(&self, thread: usize) -> Option<usize> {
        self.plan.cpus.get(thread).copied()
    }

    /// Whether each thread has a CPU's worth of time, so that waiting by polling costs nobody
    /// anything.
    pub(crate) fn is_dedicated(&self) -> bool {
        self.plan.is_dedicated
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        let mut held = lock();
        held.cpus.retain(|cpu| !self.plan.cpus.contains(cpu));
        held.n_threads = held.n_threads.saturating_sub(self.n_threads);
    }
}

/// CPUs of the cores on which no thread of a team of `n_threads` will sit, if that team is the
/// only one; empty when its threads will not be bound.
pub(crate) fn spare_cpus(n_threads: usize) -> Vec<usize> {
    let nobody = Held {
        cpus: Vec::new(),
        n_threads: 0,
    };
    let taken = plan(cores::cores(), available(), &nobody, n_threads).cpus;
    spare(cores::cores(), &taken)
}

fn spare(cores: &[Vec<usize>], taken: &[usize]) -> Vec<usize> {
    if taken.is_empty() {
        return Vec::new();
    }
    let is_free = |core: &&Vec<usize>| core.iter().all(|cpu| !taken.contains(cpu));
    cores.iter().filter(is_free).flatten().copied().collect()
}

/// Threads that can run at once.
fn available() -> usize {
    let quota = Machine::cpu_quota().map_or(usize::MAX, |quota| quota as usize);
    Machine::available_cores().min(quota)
}

/// Threads are bound when all CPUs are ours to use and there is one for each: under a quota the
/// machine is shared with processes that would choose the same CPUs as we.
fn plan(cores: &[Vec<usize>], available: usize, held: &Held, n_threads: usize) -> Plan {
    let n_cpus: usize = cores.iter().map(Vec::len).sum();
    let is_dedicated = held.n_threads.saturating_add(n_threads) <= available;
    let mut cpus = Vec::new();
    if is_dedicated && available >= n_cpus {
        let free = |cpu: &usize| !held.cpus.contains(cpu);
        cpus.extend(by_rank(cores).filter(free).take(n_threads));
    }
    if cpus.len() < n_threads {
        cpus.clear();
    }
    Plan { cpus, is_dedicated }
}

/// The first CPU of each core, then the second of each, and so on.
fn by_rank(cores: &[Vec<usize>]) -> impl Iterator<Item = usize> {
    let n_ranks = cores.iter().map(Vec::len).max().unwrap_or(0);
    (0..n_ranks).flat_map(move |rank| cores.iter().filter_map(move |core| core.get(rank).copied()))
}

fn lock() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four cores with two hardware threads each.
    fn cores() -> Vec<Vec<usize>> {
        (0..4).map(|core| vec![core, core + 4]).collect()
    }

    fn held(cpus: &[usize], n_threads: usize) -> Held {
        Held {
            cpus: cpus.to_vec(),
            n_threads,
        }
    }

    fn bound(cpus: &[usize]) -> Plan {
        Plan {
            cpus: cpus.to_vec(),
            is_dedicated: true,
        }
    }

    fn unbound(is_dedicated: bool) -> Plan {
        Plan {
            cpus: Vec::new(),
            is_dedicated,
        }
    }

    #[test]
    fn each_core_gets_a_thread_before_siblings_do() {
        let plan = |n_threads| plan(&cores(), 8, &held(&[], 0), n_threads);
        assert_eq!(plan(2), bound(&[0, 1]));
        assert_eq!(plan(4), bound(&[0, 1, 2, 3]));
        assert_eq!(plan(6), bound(&[0, 1, 2, 3, 4, 5]));
        assert_eq!(plan(8), bound(&[0, 1, 2, 3, 4, 5, 6, 7]));
    }

    #[test]
    fn too_many_threads_are_not_bound() {
        let plan = |available, n_threads| plan(&cores(), available, &held(&[], 0), n_threads);
        assert_eq!(plan(8, 9), unbound(false));
        assert_eq!(plan(8, usize::MAX), unbound(false));
        // A quota of 3: two threads have a CPU each, but somebody else may sit there too.
        assert_eq!(plan(3, 2), unbound(true));
        assert_eq!(plan(3, 4), unbound(false));
        assert_eq!(super::plan(&[], 4, &held(&[], 0), 4), unbound(true));
    }

    #[test]
    fn a_second_team_sits_elsewhere() {
        let cores = cores();
        assert_eq!(plan(&cores, 8, &held(&[0, 1], 2), 2), bound(&[2, 3]));
        assert_eq!(plan(&cores, 8, &held(&[0, 1], 6), 2), bound(&[2, 3]));
        assert_eq!(plan(&cores, 8, &held(&[0, 1], 6), 3), unbound(false));
    }

    #[test]
    fn cores_without_any_thread_are_spare() {
        let cores = cores();
        assert_eq!(spare(&cores, &[0, 1]), [2, 6, 3, 7]);
        assert_eq!(spare(&cores, &[0, 1, 2, 4]), [3, 7]);
        assert!(spare(&cores, &[0, 1, 2, 3]).is_empty());
        assert!(spare(&cores, &[]).is_empty());
    }
}
