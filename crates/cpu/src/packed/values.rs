//! What packed weights are beside their codes, for products that do not follow the order of `dot.rs`:
//! signed values, minima, and a block's sum as floats.

use perigee_quant::packed::{CHUNK_LEN, Codes, GROUP_ROWS, Layout};

use super::dot::{Format, SubBlocks};
use super::unpack::{Unpack, is_signed};
use crate::simd::quads::{Quads, Unpacked};

/// `y ← fma(d·da, f32(sum), y)`.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn add_scaled<S: Quads>(sum: S::V, d: S::F, da: f32, y: &mut [f32; GROUP_ROWS]) {
    // SAFETY: promised by the caller; there are 16 sums.
    unsafe {
        let scale = S::f_mul(d, S::f_splat(da));
        let sum = S::f_fma(scale, S::f_from(sum), S::f_load(y.as_ptr().cast()));
        S::f_store(sum, y.as_mut_ptr());
    }
}

/// The minima of a block of 256 columns, of types that have them.
pub(super) struct Mins<S: Quads> {
    of_subs: [S::V; 16],
    /// Their float scales, negated.
    pub(super) scale: S::F,
}

impl<S: Quads> Mins<S> {
    /// # Safety
    /// As [`signed`].
    #[inline(always)]
    pub(super) unsafe fn of<F: Format>(block: *const u8) -> Self {
        let layout = F::LAYOUT;
        // SAFETY: promised by the caller.
        unsafe {
            let (mut of_subs, mut scale) = ([S::zero(); 16], S::f_zero());
            if layout.has_mins() {
                scale = S::f_neg(S::f_load_f16(block.add(F::DMIN)));
                for (k, min) in of_subs[..layout.n_sub()].iter_mut().enumerate() {
                    let per_chunk = CHUNK_LEN / layout.sub_len;
                    let chunk = SubBlocks::<S>::of::<F>(block, k / per_chunk);
                    *min = chunk.mins[k % per_chunk];
                }
            }
            Self { of_subs, scale }
        }
    }

    /// The minima times the sums of a row of activations, which are `stride` apart from `deltas` on.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`; there is a sum for each sub-block.
    #[inline(always)]
    pub(super) unsafe fn sum<F: Format>(&self, deltas: *const i32, stride: usize) -> S::V {
        let mins = self.of_subs[..F::LAYOUT.n_sub()].iter();
        // SAFETY: promised by the caller.
        unsafe {
            let mut sum = S::zero();
            for (k, min) in mins.enumerate() {
                let delta = deltas.add(k * stride).read_unaligned();
                sum = S::add(sum, S::mul(*min, S::splat(delta)));
            }
            sum
        }
    }
}

/// The values of a chunk of a packed block.
///
/// # Safety
/// The CPU has the instruction set of `S`; `block` points to a block in the layout of `F`.
#[inline(always)]
pub(super) unsafe fn signed<S: Unpacked, F: Format>(
    tables: &<F::Codes as Unpack>::Tables<S>,
    block: *const u8,
    chunk: usize,
) -> [S::V; 8] {
    const { assert!(fits_a_byte::<F>(), "shifted values are bytes") };
    let layout = F::LAYOUT;
    // SAFETY: promised by the caller.
    unsafe {
        let mut quads = F::Codes::unpack::<S, F>(tables, block.add(F::CODES), chunk);
        for q in 0..8 {
            if F::Codes::HIGH_TIMES_16 && S::EXACT_U8 && q >= 4 {
                quads[q] = S::and(S::shr16::<4>(quads[q]), S::splat(0x0F0F_0F0F));
            }
            if layout.bias != 0 && !const { is_signed::<S>(F::LAYOUT) } {
                quads[q] = S::sub_bytes(quads[q], layout.bias);
            }
            if layout.shift != 0 {
                let k = (chunk * CHUNK_LEN + q / 4 * CHUNK_LEN / 2) / layout.sub_len;
                quads[q] = shifted::<S, F>(quads[q], block, k);
            }
        }
        quads
    }
}

/// Values of sub-block `sub` of a block, shifted where it is.
///
/// # Safety
/// The CPU has the instruction set of `S`; `block` points to a block in the layout of `F`.
#[inline(always)]
pub(super) unsafe fn shifted<S: Unpacked, F: Format>(
    quad: S::V,
    block: *const u8,
    sub: usize,
) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        let flags = block.add(F::FLAGS + 2 * sub).cast::<u16>();
        let flags = u16::from_le(flags.read_unaligned());
        let shifted = S::sub_bytes(quad, -i32::from(F::LAYOUT.shift));
        S::select_lanes(flags, shifted, quad)
    }
}

/// Words of `first` and of `second` in every lane, of which each has its low 16 bits.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn word_pair<S: Quads>(first: S::V, second: S::V) -> S::V {
    // SAFETY: promised by the caller.
    unsafe { S::xor(S::and(first, S::splat(0xFFFF)), S::shl32::<16>(second)) }
}

/// The scales of the sub-blocks of a chunk times what their values are short of: the shift, where there
/// is one, less the bias. Words; that of a second sub-block is 0 where there is none.
///
/// # Safety
/// The CPU has the instruction set of `S`; `block` points to a block in the layout of `F`.
#[inline(always)]
pub(super) unsafe fn biased_scales<S: Quads, F: Format>(
    block: *const u8,
    scales: &[S::V; 2],
    chunk: usize,
) -> S::V {
    let layout = F::LAYOUT;
    let per_chunk = CHUNK_LEN / layout.sub_len;
    // SAFETY: promised by the caller.
    unsafe {
        let mut biased = [S::zero(); 2];
        for s in 0..per_chunk {
            biased[s] = S::mul(scales[s], S::splat(-layout.bias));
            if layout.shift != 0 {
                let flags = block.add(F::FLAGS + 2 * (chunk * per_chunk + s));
                let flags = u16::from_le(flags.cast::<u16>().read_unaligned());
                let shift = S::mul(scales[s], S::splat(i32::from(layout.shift)));
                biased[s] = S::add_where(flags, biased[s], shift);
            }
        }
        word_pair::<S>(biased[0], biased[1])
    }
}

/// The least and the greatest of the numbers that value `i` of a layout is multiplied as, where values
/// are biased: points have signs beside their values.
pub(super) const fn biased(layout: &Layout, i: usize) -> (i32, i32) {
    let value = layout.values[i] as i32;
    match layout.codes {
        Codes::Grid(_) => (layout.bias - value.abs(), layout.bias + value.abs()),
        _ => (layout.bias + value, layout.bias + value),
    }
}

/// Whether shifted values are signed bytes.
const fn fits_a_byte<F: Format>() -> bool {
    let layout = F::LAYOUT;
    let mut i = 0;
    while i < layout.values.len() {
        let shifted = layout.values[i] as i32 + layout.shift as i32;
        if shifted != shifted as i8 as i32 {
            return false;
        }
        i += 1;
    }
    true
}
