//! Large zeroed memory that costs nothing until it is written.

use std::alloc::{self, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The system has no memory of that size to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// What was asked for.
    pub n_bytes: usize,
}

/// Zeroed bytes straight from the allocator: pages are committed when first written, and a
/// refusal is an error instead of an abort.
pub struct ZeroedBytes {
    start: NonNull<u8>,
    len: usize,
}

/// 16 is the largest alignment at which the system allocator uses `calloc`; above it, it
/// clears the memory itself and so commits every page.
const ALIGN: usize = 16;

impl ZeroedBytes {
    /// `n_bytes` zeroes, aligned to 16.
    ///
    /// # Errors
    /// When the allocator refuses or the size is not representable.
    pub fn new(n_bytes: usize) -> Result<Self, OutOfMemory> {
        let refused = OutOfMemory { n_bytes };
        if n_bytes == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                len: 0,
            });
        }
        let layout = Layout::from_size_align(n_bytes, ALIGN).map_err(|_| refused)?;
        // SAFETY: the layout has a size above zero.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        Ok(Self {
            start: NonNull::new(start).ok_or(refused)?,
            len: n_bytes,
        })
    }
}

impl Drop for ZeroedBytes {
    fn drop(&mut self) {
        if self.len > 0 {
            let layout = Layout::from_size_align(self.len, ALIGN)
                .expect("`new` made this layout from the same numbers");
            // SAFETY: allocated in `new` by the same allocator with the same layout.
            unsafe { alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}

impl Deref for ZeroedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised (zeroed) bytes owned by `self`; dangling only for length 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for ZeroedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

// SAFETY: plain bytes with one owner, like `Vec<u8>`.
unsafe impl Send for ZeroedBytes {}
// SAFETY: shared access only reads.
unsafe impl Sync for ZeroedBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_and_writable() {
        for len in [0, 1, 4096, 100_000] {
            let mut bytes = ZeroedBytes::new(len).unwrap();
            assert_eq!(bytes.len(), len);
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        for n_bytes in [usize::MAX, isize::MAX as usize, 1 << 60] {
            // An allocation that nobody looks at may be optimised away and so succeed.
            let result = std::hint::black_box(ZeroedBytes::new(n_bytes));
            assert_eq!(result.err(), Some(OutOfMemory { n_bytes }));
        }
    }
}
