//! One slice, written by many threads at ranges that do not meet.

use std::marker::PhantomData;

/// A mutable slice that the bodies of a parallel loop write at disjoint ranges.
pub struct DisjointMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: all access goes through `range`, whose caller promises that ranges do not overlap;
// then sharing this is handing out `&mut [T]` pieces to threads, sound for `T: Send`.
unsafe impl<T: Send> Sync for DisjointMut<'_, T> {}

impl<'a, T> DisjointMut<'a, T> {
    /// Takes the slice for as long as the pieces live.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The `len` elements from `start`.
    ///
    /// # Panics
    /// When the range is not within the slice.
    ///
    /// # Safety
    /// No two pieces that are alive at the same time may overlap.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises that pieces do not overlap"
    )]
    pub unsafe fn range(&self, start: usize, len: usize) -> &mut [T] {
        let end = start.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{len} elements at {start} of {}",
            self.len
        );
        // SAFETY: in bounds (asserted), from a slice that is borrowed mutably for `'a`; the
        // caller promises that no other live piece overlaps.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
