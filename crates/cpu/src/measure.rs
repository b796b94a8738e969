//! How fast this machine reads its memory: the ceiling of every decode step.
//!
//! Generating a token reads each active weight once, so that tokens per second cannot exceed
//! read bandwidth over active bytes. What is measured here is the plainest loop that has the
//! access pattern of weights: long sequential runs, wide loads, one addition per load, on the
//! threads that will compute. It is what those threads can draw, not what the memory modules
//! could deliver: with few threads the cores are the bound, and the number is lower than the
//! data sheet's.

use std::hint::black_box;
use std::time::{Duration, Instant};

use perigee_topology::{OutOfMemory, Pool, ZeroedBytes};

/// Bytes that a thread claims at a time: long enough for prefetchers, short enough that all
/// threads finish together.
const PIECE: usize = 2 << 20;

/// Read bandwidth in bytes per second; divide by 10⁹ for GB/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadBandwidth {
    /// Of the fastest pass: the least disturbed by others.
    pub best: f64,
    /// Of the median pass.
    pub median: f64,
}

/// Reads `n_bytes` (rounded up to 2 MiB) `passes` times with all threads of `pool`, after a pass
/// that is not counted. The buffer should be much larger than all caches together, or it is they
/// that are measured; it lies on huge pages where the system gives them on request.
///
/// On machines with several memory nodes pieces are read by whoever is free, near or far, as
/// weights without a home are.
///
/// # Errors
/// When there is no memory for the buffer.
///
/// # Panics
/// When called from inside a loop of the pool.
pub fn read_bandwidth(
    pool: &Pool,
    n_bytes: usize,
    passes: usize,
) -> Result<ReadBandwidth, OutOfMemory> {
    let refused = OutOfMemory { n_bytes };
    let n_bytes = n_bytes
        .max(1)
        .checked_next_multiple_of(PIECE)
        .ok_or(refused)?;
    let mut memory = ZeroedBytes::new(n_bytes.checked_add(PIECE).ok_or(refused)?)?;
    let first = memory.as_ptr().align_offset(PIECE).min(PIECE);
    let bytes = &mut memory[first..][..n_bytes];
    ask_for_huge_pages(bytes);
    // Pages that were never written are all one page of zeros, which the caches hold.
    pool.for_chunks(bytes, PIECE, &|i, piece| piece.fill(i as u8 | 1));
    let pieces: Vec<&[u8]> = bytes.chunks(PIECE).collect();
    let pass = || {
        let started = Instant::now();
        pool.for_each(pieces.len(), &|i| {
            black_box(sum(pieces[i]));
        });
        started.elapsed()
    };
    pass();
    let mut times: Vec<Duration> = (0..passes.max(1)).map(|_| pass()).collect();
    times.sort_unstable();
    // A clock that saw no time pass at all is no reason to divide by zero.
    let rate = |time: Duration| n_bytes as f64 / time.as_secs_f64().max(1e-9);
    Ok(ReadBandwidth {
        best: rate(times[0]),
        median: rate(times[times.len() / 2]),
    })
}

fn ask_for_huge_pages(bytes: &mut [u8]) {
    // SAFETY: the range is ours, and the advice changes no byte of it. Where the system refuses,
    // pages are small, as they are for any other memory.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::madvise(bytes.as_mut_ptr().cast(), bytes.len(), libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}

/// The sum of all 64-bit words, with the widest loads that this processor has. Sums of memory
/// cannot be left out, and adding is cheaper than loading.
fn sum(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { x86::sum_512(bytes) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            return unsafe { x86::sum_256(bytes) };
        }
    }
    sum_words(bytes)
}

fn sum_words(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0.iter();
    words.fold(0, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::sum_words;

    /// Additions that do not wait for one another.
    const LANES: usize = 8;

    #[target_feature(enable = "avx512f")]
    pub(super) fn sum_512(bytes: &[u8]) -> u64 {
        const BLOCK: usize = 64 * LANES;
        let mut sums = [_mm512_setzero_si512(); LANES];
        let blocks = bytes.chunks_exact(BLOCK);
        let rest = sum_words(blocks.remainder());
        for block in blocks {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 64 bytes from `64 · i` on, in a block of `64 · LANES`.
                let words = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * i).cast()) };
                *sum = _mm512_add_epi64(*sum, words);
            }
        }
        sums.iter().fold(rest, |total, sum| {
            total.wrapping_add(_mm512_reduce_add_epi64(*sum).cast_unsigned())
        })
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn sum_256(bytes: &[u8]) -> u64 {
        const BLOCK: usize = 32 * LANES;
        let mut sums = [_mm256_setzero_si256(); LANES];
        let blocks = bytes.chunks_exact(BLOCK);
        let rest = sum_words(blocks.remainder());
        for block in blocks {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 32 bytes from `32 · i` on, in a block of `32 · LANES`.
                let words = unsafe { _mm256_loadu_si256(block.as_ptr().add(32 * i).cast()) };
                *sum = _mm256_add_epi64(*sum, words);
            }
        }
        let mut lanes = [0_u8; 32];
        sums.iter().fold(rest, |total, sum| {
            // SAFETY: 32 bytes are written to an array of as many.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), *sum) };
            total.wrapping_add(sum_words(&lanes))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_widths_have_the_same_sum() {
        let bytes: Vec<u8> = (0..8 * 517_u32).map(|i| ((i * i) >> 3) as u8).collect();
        let want = sum_words(&bytes);
        assert_eq!(sum(&bytes), want);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            assert_eq!(unsafe { x86::sum_256(&bytes) }, want);
        }
    }

    #[test]
    fn a_bandwidth_is_a_positive_number() {
        for (threads, n_bytes) in [(1, 0), (2, 5 << 20)] {
            let found = read_bandwidth(&Pool::new(threads), n_bytes, 3).unwrap();
            assert!(found.median > 0.0 && found.best.is_finite(), "{found:?}");
            assert!(found.best >= found.median, "{found:?}");
        }
    }

    #[test]
    fn a_buffer_beyond_all_memory_is_an_error() {
        let pool = Pool::new(1);
        assert!(read_bandwidth(&pool, usize::MAX, 1).is_err());
        assert!(read_bandwidth(&pool, isize::MAX as usize, 1).is_err());
    }
}
