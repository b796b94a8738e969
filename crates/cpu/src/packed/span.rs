//! A few hundred columns of a group, unpacked once for many rows of activations.

use perigee_quant::packed::{CHUNK_LEN, SubScales};

use super::dot::{Format, SubBlocks, block_scales, prefetch_ahead};
use super::unpack::{Unpack, is_signed};
use super::values::{biased_scales, word_pair};
use crate::simd::quads::{ByteSpan, Unpacked};

impl ByteSpan {
    /// Unpacks the columns from `first` on of a group of `n_in`, for products with `n_columns` rows of
    /// activations. The scales of a sub-block are an i32 for each row, or the same word twice with
    /// `WORDS`.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`; `group` points to a group of `n_in` columns in the
    /// layout of `F`.
    #[inline(always)]
    pub(super) unsafe fn unpack<S: Unpacked, F: Format, const WORDS: bool>(
        &mut self,
        tables: &<F::Codes as Unpack>::Tables<S>,
        (group, n_in, n_columns): (*const u8, usize, usize),
        first: usize,
    ) {
        const {
            let is_times_16 = F::Codes::HIGH_TIMES_16 && S::EXACT_U8;
            assert!(
                !is_times_16 && !is_signed::<S>(F::LAYOUT),
                "quads are biased values"
            );
        }
        let layout = F::LAYOUT;
        let chunks = layout.block_len / CHUNK_LEN;
        let blocks = first / layout.block_len..n_in.min(first + Self::LEN) / layout.block_len;
        self.n_blocks = blocks.len();
        // SAFETY: promised by the caller; offsets are those of the layout.
        unsafe {
            for (i, b) in blocks.enumerate() {
                let block = group.add(layout.group_meta_bytes() + b * F::BLOCK_BYTES);
                prefetch_ahead(block, F::BLOCK_BYTES, n_columns);
                let d = block_scales::<S, F>(group, block);
                S::f_store(d, self.d[i].as_mut_ptr());
                for chunk in 0..chunks {
                    let k = i * chunks + chunk;
                    self.unpack_chunk::<S, F, WORDS>(tables, (block, chunk), k);
                }
            }
        }
    }

    /// Unpacks a chunk of a block, which is chunk `k` of the span.
    ///
    /// # Safety
    /// As [`unpack`](Self::unpack); `block` points to a block of the group.
    #[inline(always)]
    unsafe fn unpack_chunk<S: Unpacked, F: Format, const WORDS: bool>(
        &mut self,
        tables: &<F::Codes as Unpack>::Tables<S>,
        (block, chunk): (*const u8, usize),
        k: usize,
    ) {
        let layout = F::LAYOUT;
        let per_chunk = CHUNK_LEN / layout.sub_len;
        // SAFETY: promised by the caller.
        unsafe {
            let quads = F::Codes::unpack::<S, F>(tables, block.add(F::CODES), chunk);
            for q in 0..8 {
                S::store(quads[q], self.quads[8 * k + q].as_mut_ptr());
            }
            if !matches!(layout.sub_scales, SubScales::None) {
                let scales = SubBlocks::<S>::of::<F>(block, chunk).scales;
                for s in 0..per_chunk {
                    let to = self.scales[k * per_chunk + s].as_mut_ptr();
                    let scale = if WORDS {
                        word_pair::<S>(scales[s], scales[s])
                    } else {
                        scales[s]
                    };
                    S::store(scale, to);
                }
                if layout.bias != 0 {
                    let biases = biased_scales::<S, F>(block, &scales, chunk);
                    S::store(biases, self.biases[k].as_mut_ptr());
                }
            }
        }
    }
}
