//! Large memory on huge pages.
//!
//! Packed weights are read from end to end for every token. On pages of 4 KiB a core would miss
//! its TLB once per page; on pages of 2 MiB, hardly ever.

use std::ops::{Deref, DerefMut};

use crate::OutOfMemory;

#[cfg(not(target_os = "linux"))]
use crate::ZeroedBytes as Memory;
#[cfg(target_os = "linux")]
use mapping::Mapping as Memory;

/// Zeroed bytes that lie on huge pages where the system has them: pages are committed when first
/// written, and a refusal is an error instead of an abort.
///
/// On Linux the bytes are an anonymous mapping at a multiple of 2 MiB, followed by a page that
/// nobody may touch; from 2 MiB on, huge pages are asked for. Elsewhere this is
/// [`ZeroedBytes`](crate::ZeroedBytes).
pub struct HugeBytes {
    memory: Memory,
}

impl HugeBytes {
    /// `n_bytes` zeroes.
    ///
    /// # Errors
    /// When the system refuses or the size is not representable.
    pub fn new(n_bytes: usize) -> Result<Self, OutOfMemory> {
        let memory = Memory::new(n_bytes)?;
        Ok(Self { memory })
    }

    /// How many of these bytes are on huge pages now. Bytes that were never written are on no
    /// page, so the answer means something only after filling. 0 where the system does not say.
    pub fn huge_page_bytes(&self) -> usize {
        Self::huge_page_bytes_of([self])
    }

    /// The sum of [`huge_page_bytes`](Self::huge_page_bytes) over `all`; asks the system once.
    pub fn huge_page_bytes_of<'a>(all: impl IntoIterator<Item = &'a Self>) -> usize {
        #[cfg(target_os = "linux")]
        return mapping::huge_page_bytes(all.into_iter().map(|bytes| &**bytes));
        #[cfg(not(target_os = "linux"))]
        {
            let _ = all;
            0
        }
    }
}

impl Deref for HugeBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for HugeBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

#[cfg(target_os = "linux")]
mod mapping;

#[cfg(test)]
mod tests {
    use super::*;

    const HUGE_PAGE: usize = 2 << 20;

    #[test]
    fn memory_is_zeroed_writable_and_aligned() {
        for len in [0, 1, 4096, 4097, HUGE_PAGE, 3 * HUGE_PAGE + 5] {
            let mut bytes = HugeBytes::new(len).unwrap();
            assert_eq!(bytes.len(), len);
            if cfg!(target_os = "linux") {
                assert_eq!(bytes.as_ptr().addr() % HUGE_PAGE, 0);
            }
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for n_bytes in [usize::MAX, usize::MAX - 4096, isize::MAX as usize, 1 << 60] {
            let result = std::hint::black_box(HugeBytes::new(n_bytes));
            assert_eq!(result.err(), Some(OutOfMemory { n_bytes }));
        }
    }

    #[test]
    fn memory_is_given_back() {
        // 64 TiB in all, untouched: half of what the address space holds.
        for _ in 0..4096 {
            drop(HugeBytes::new(16 << 30).or_else(|_| HugeBytes::new(64 << 20)));
        }
    }

    #[test]
    fn bytes_on_huge_pages_are_counted() {
        let mut all: Vec<HugeBytes> = (0..3)
            .map(|_| HugeBytes::new(4 * HUGE_PAGE).unwrap())
            .collect();
        assert_eq!(HugeBytes::huge_page_bytes_of(&all), 0, "nothing is written");
        all[1].fill(1);
        assert_eq!(all[0].huge_page_bytes(), 0);
        assert_eq!(all[2].huge_page_bytes(), 0);
        // The system may be out of huge pages, or have them turned off.
        let huge = all[1].huge_page_bytes();
        assert!(huge <= all[1].len() && huge.is_multiple_of(HUGE_PAGE));
        assert_eq!(HugeBytes::huge_page_bytes_of(&all), huge);
    }
}
