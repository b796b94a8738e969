//! The CPUs that threads may run on, as the system keeps them.

#[cfg(target_os = "linux")]
use libc::cpu_set_t;

/// CPUs that the calling thread may run on, ascending; `None` where the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn allowed() -> Option<Vec<usize>> {
    let mut mask = Mask::EMPTY;
    // SAFETY: a buffer of the size that is given; 0 is the calling thread.
    let result = unsafe {
        libc::sched_getaffinity(0, size_of::<Mask>(), (&raw mut mask).cast::<cpu_set_t>())
    };
    (result == 0).then(|| mask.cpus())
}

/// Binds the calling thread to `cpus`; whether the system did it.
#[cfg(target_os = "linux")]
pub(crate) fn bind(cpus: &[usize]) -> bool {
    let mask = Mask::of(cpus);
    // SAFETY: as above, and only read.
    let result = unsafe {
        libc::sched_setaffinity(0, size_of::<Mask>(), (&raw const mask).cast::<cpu_set_t>())
    };
    result == 0
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn allowed() -> Option<Vec<usize>> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn bind(_cpus: &[usize]) -> bool {
    false
}

/// One bit per CPU: more of them than in `cpu_set_t`, which ends at 1024.
#[cfg(target_os = "linux")]
struct Mask([libc::c_ulong; Mask::N_WORDS]);

#[cfg(target_os = "linux")]
impl Mask {
    const WORD: usize = libc::c_ulong::BITS as usize;
    const N_WORDS: usize = 8192 / Self::WORD;
    const EMPTY: Self = Self([0; Self::N_WORDS]);

    /// CPUs beyond the mask are left out.
    fn of(cpus: &[usize]) -> Self {
        let mut mask = Self::EMPTY;
        for cpu in cpus {
            if let Some(word) = mask.0.get_mut(cpu / Self::WORD) {
                *word |= 1 << (cpu % Self::WORD);
            }
        }
        mask
    }

    fn cpus(&self) -> Vec<usize> {
        let is_set = |cpu: &usize| self.0[cpu / Self::WORD] >> (cpu % Self::WORD) & 1 == 1;
        (0..Self::N_WORDS * Self::WORD).filter(is_set).collect()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn masks_hold_cpus() {
        for cpus in [vec![], vec![0], vec![3, 63, 64, 1023, 1024, 8191]] {
            assert_eq!(Mask::of(&cpus).cpus(), cpus);
        }
        assert_eq!(Mask::of(&[5, 8192]).cpus(), [5]);
    }

    #[test]
    fn a_thread_is_bound_to_the_cpus_it_names() {
        let ours = allowed().unwrap();
        std::thread::spawn(move || {
            let last = &ours[ours.len() - 1..];
            assert!(bind(last));
            assert_eq!(allowed().unwrap(), last);
            assert!(!bind(&[]), "a thread must run somewhere");
        })
        .join()
        .unwrap();
    }
}
