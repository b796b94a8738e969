//! A few hundred columns of a group, unpacked once for many rows of activations.

use perigee_quant::packed::{CHUNK_LEN, SubScales};

use super::dot::{Format, SubBlocks, block_scales, prefetch_ahead};
use super::unpack::{Unpack, is_signed};
use super::values::{biased, biased_scales, shifted, word_pair};
use crate::simd::quads::{ByteSpan, Unpacked};

impl ByteSpan {
    /// Unpacks the columns from `first` on of a group of `n_in`, for products with `n_columns` rows of
    /// activations.
    ///
    /// The scales of a sub-block are an i32 for each row, and values of shifted sub-blocks are shifted.
    /// With `WORDS` scales are the same word twice, and what the shift adds is part of the biases.
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
            assert!(!is_signed::<S>(F::LAYOUT), "quads are biased values");
            assert!(WORDS || shifted_values_are_bytes::<F>());
        }
        let layout = F::LAYOUT;
        let chunks = layout.block_len / CHUNK_LEN;
        let blocks = first / layout.block_len..n_in.min(first + Self::LEN) / layout.block_len;
        self.n_blocks = blocks.len();
        self.has_mins = layout.has_mins();
        // SAFETY: promised by the caller; offsets are those of the layout.
        unsafe {
            for (i, b) in blocks.enumerate() {
                let block = group.add(layout.group_meta_bytes() + b * F::BLOCK_BYTES);
                prefetch_ahead::<F>(block, n_columns);
                let d = block_scales::<S, F>(group, block);
                S::f_store(d, self.d[i].as_mut_ptr().cast());
                if layout.has_mins() {
                    let dmin = S::f_neg(S::f_load_f16(block.add(F::DMIN)));
                    S::f_store(dmin, self.dmin[i].as_mut_ptr().cast());
                }
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
                let mut quad = quads[q];
                if F::Codes::HIGH_TIMES_16 && S::EXACT_U8 && q >= 4 {
                    quad = S::and(S::shr16::<4>(quad), S::splat(0x0F0F_0F0F));
                }
                if layout.shift != 0 && !WORDS {
                    let sub = (chunk * CHUNK_LEN + 4 * q) / layout.sub_len;
                    quad = shifted::<S, F>(quad, block, sub);
                }
                S::store(quad, self.quads[8 * k + q].as_mut_ptr().cast());
            }
            if !matches!(layout.sub_scales, SubScales::None) {
                let SubBlocks { scales, mins } = SubBlocks::<S>::of::<F>(block, chunk);
                for s in 0..per_chunk {
                    let to = self.scales[k * per_chunk + s].as_mut_ptr().cast();
                    let scale = if WORDS {
                        word_pair::<S>(scales[s], scales[s])
                    } else {
                        scales[s]
                    };
                    S::store(scale, to);
                }
                if layout.bias != 0 && WORDS {
                    let biases = biased_scales::<S, F>(block, &scales, chunk);
                    S::store(biases, self.biases[k].as_mut_ptr().cast());
                }
                if layout.has_mins() {
                    S::store(
                        word_pair::<S>(mins[0], mins[1]),
                        self.mins[k].as_mut_ptr().cast(),
                    );
                }
            }
        }
    }
}

/// Whether biased values are unsigned bytes where they are shifted too.
const fn shifted_values_are_bytes<F: Format>() -> bool {
    let layout = F::LAYOUT;
    let mut i = 0;
    while i < layout.values.len() {
        let (low, high) = biased(layout, i);
        let shift = layout.shift as i32;
        if low < 0 || low + shift < 0 || high > 255 || high + shift > 255 {
            return false;
        }
        i += 1;
    }
    true
}
