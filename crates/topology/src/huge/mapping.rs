//! Anonymous mappings at multiples of 2 MiB.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::{Deref, DerefMut, Range};
use std::ptr;

use crate::OutOfMemory;

const HUGE_PAGE: usize = 2 << 20;

/// Bytes with a protected page behind them, all ours. The page catches a kernel that runs over
/// the end, and keeps neighbours from melting into one mapping, for which the system would
/// report one figure.
pub(super) struct Mapping {
    /// A multiple of [`HUGE_PAGE`].
    start: *mut u8,
    len: usize,
    /// Mapped from `start`, the protected page included; 0 for an empty mapping.
    mapped: usize,
}

// SAFETY: plain bytes with one owner, like `Vec<u8>`.
unsafe impl Send for Mapping {}
// SAFETY: shared access only reads.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(len: usize) -> Result<Self, OutOfMemory> {
        let refused = OutOfMemory { n_bytes: len };
        if len == 0 {
            return Ok(Self {
                start: ptr::without_provenance_mut(HUGE_PAGE),
                len,
                mapped: 0,
            });
        }
        let page = page_size();
        let usable = len.checked_next_multiple_of(page).ok_or(refused)?;
        let mapped = usable.checked_add(page).ok_or(refused)?;
        // A place somewhere, large enough to hold an aligned one; the rest is given back.
        let place = mapped.checked_add(HUGE_PAGE).ok_or(refused)?;
        if isize::try_from(place).is_err() {
            return Err(refused);
        }
        // SAFETY: a new private anonymous mapping, wherever the system likes.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                place,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(refused);
        }
        let before = address.addr().next_multiple_of(HUGE_PAGE) - address.addr();
        let start = address.cast::<u8>().wrapping_add(before);
        let mapping = Self { start, len, mapped };
        // SAFETY: `before + mapped <= place`, since `before < HUGE_PAGE`, and all three are
        // multiples of the page size: both pieces are parts of the mapping just made, not used
        // by anybody. A piece that the system would not take back stays mapped and untouched.
        unsafe {
            unmap(address.cast(), before);
            unmap(start.wrapping_add(mapped), place - before - mapped);
        }
        // SAFETY: within the mapping just made. Refusals leave memory without a protected page,
        // or on small pages, which is as correct.
        unsafe {
            libc::mprotect(start.wrapping_add(usable).cast(), page, libc::PROT_NONE);
            if len >= HUGE_PAGE {
                libc::madvise(start.cast(), usable, libc::MADV_HUGEPAGE);
            }
        }
        Ok(mapping)
    }
}

/// # Safety
/// The bytes are whole pages of a mapping that nobody uses any more, or none.
unsafe fn unmap(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: as promised.
        unsafe { libc::munmap(start.cast(), len) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; the owner goes.
        unsafe { unmap(self.start, self.mapped) };
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` readable bytes that the system zeroed, owned by `self`; for length 0 an
        // aligned address that is not null.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

fn page_size() -> usize {
    // SAFETY: asks for a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Bytes of `all` on huge pages, by the system's list of mappings.
pub(super) fn huge_page_bytes<'a>(all: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut ranges: Vec<Range<usize>> = all
        .filter(|bytes| !bytes.is_empty())
        .map(|bytes| bytes.as_ptr().addr()..bytes.as_ptr().addr() + bytes.len())
        .collect();
    ranges.sort_by_key(|range| range.start);
    let Ok(smaps) = File::open("/proc/self/smaps") else {
        return 0;
    };
    count(BufReader::new(smaps), &ranges)
}

/// Bytes on huge pages in the mappings that meet `ranges` (sorted, disjoint). A mapping that is
/// partly of another owner counts for at most what is in the ranges.
fn count(smaps: impl BufRead, ranges: &[Range<usize>]) -> usize {
    let mut total = 0;
    let mut overlap = 0;
    for line in smaps.lines().map_while(Result::ok) {
        if let Some(mapping) = address_range(&line) {
            overlap = ranges
                .iter()
                .skip(ranges.partition_point(|range| range.end <= mapping.start))
                .take_while(|range| range.start < mapping.end)
                .map(|range| range.end.min(mapping.end) - range.start.max(mapping.start))
                .sum();
        } else if let Some(kib) = line.strip_prefix("AnonHugePages:") {
            let kib: usize = kib.trim().trim_end_matches(" kB").parse().unwrap_or(0);
            total += kib.saturating_mul(1024).min(overlap);
        }
    }
    total
}

/// The addresses in the first line of a mapping's description, `55d0-55e0 rw-p …`.
fn address_range(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_that_meet_the_ranges_count() {
        let smaps = "\
1000-2000 r--p 00000000 00:00 0 [heap]
Size:                  4 kB
AnonHugePages:      2048 kB
400000-c00000 rw-p 00000000 00:00 0 
AnonHugePages:      4096 kB
VmFlags: rd wr mr mw me ac hg
1000000-1800000 rw-p 00000000 00:00 0 
AnonHugePages:      8192 kB
";
        let count = |ranges: &[Range<usize>]| super::count(smaps.as_bytes(), ranges);
        let first = 0x40_0000..0xc0_0000;
        let half = 0x100_0000..0x140_0000;
        assert_eq!(count(&[]), 0);
        assert_eq!(count(std::slice::from_ref(&first)), 4 << 20);
        assert_eq!(count(std::slice::from_ref(&half)), 4 << 20);
        assert_eq!(count(&[first, half]), 8 << 20);
        let neither = 0xd0_0000..0xe0_0000;
        assert_eq!(count(std::slice::from_ref(&neither)), 0);
    }
}
