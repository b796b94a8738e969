//! The dot products of a group of 16 rows with a few rows of activations, for every type and
//! every instruction set. The arithmetic is that of `perigee_quant::packed`.
//!
//! A group is one linear stream, which the hardware follows within a page; beyond it the kernels
//! ask for weights themselves.

use perigee_quant::QuantKind;
use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS, Layout, Scale, SubScales};

use super::unpack::{Unpack, is_signed};
use super::values::{biased_scales, word_pair};
use crate::simd::prefetch;
use crate::simd::quads::{Quads, VECTOR, splat_totals};

/// Bytes of a page.
const PAGE: usize = 4096;

/// Asks for weights beyond a block of `F` that meets `n_columns`: those a page later, and where
/// several columns take long to multiply, two pages.
///
/// (Measured on Zen 5. Two columns of IQ3_K come to 97 % of the bandwidth instead of 65, one to 97
/// instead of 85. One column of Q8_0 in a long matrix alone does better where only the start of
/// each page is asked for; but a token of a whole model, most of whose bytes are Q8_0, takes 3 %
/// less this way, and 14 % less with AVX2.)
#[inline(always)]
pub(super) fn prefetch_ahead<F: Format>(block: *const u8, n_columns: usize) {
    let n_pages = if n_columns >= 2 { 2 } else { 1 };
    prefetch(block.wrapping_add(n_pages * PAGE), F::BLOCK_BYTES);
}

/// A type with a packed layout.
pub(super) trait Format {
    /// The type.
    const KIND: QuantKind;
    /// Its layout.
    const LAYOUT: &'static Layout;
    /// How its codes are unpacked.
    type Codes: Unpack;

    // What the loops need of the layout, computed once.
    /// See [`Layout::block_bytes`].
    const BLOCK_BYTES: usize = Self::LAYOUT.block_bytes();
    /// See [`Layout::dmin_offset`].
    const DMIN: usize = Self::LAYOUT.dmin_offset();
    /// See [`Layout::scales_offset`].
    const SCALES: usize = Self::LAYOUT.scales_offset();
    /// See [`Layout::mins_offset`].
    const MINS: usize = Self::LAYOUT.mins_offset();
    /// See [`Layout::flags_offset`].
    const FLAGS: usize = Self::LAYOUT.flags_offset();
    /// See [`Layout::codes_offset`].
    const CODES: usize = Self::LAYOUT.codes_offset();
}

/// `y[c][r] = w[r] · x[c]` for the 16 rows of a group.
///
/// # Panics
/// When `x` or `y` is not `N` long.
///
/// # Safety
/// The CPU has the instruction set of `S`; `group` points to a group of `n_in` columns in the
/// layout of `F`, and each of `x` to a row of activations of its form.
#[inline(always)]
pub(super) unsafe fn dot_group<S: Quads, F: Format, const N: usize>(
    group: *const u8,
    n_in: usize,
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    let (x, y): (&[_; N], &mut [_; N]) = exactly(x, y);
    let layout = F::LAYOUT;
    let form = layout.form();
    // SAFETY: promised by the caller; offsets are those of the layout and of the form.
    unsafe {
        let tables = F::Codes::tables::<S, F>();
        let mut sums = [S::f_zero(); N];
        let mut at = Offsets {
            a: 0,
            base: form.bases(n_in).start,
            delta: form.deltas(n_in).start,
            total: form.totals(n_in).start,
        };
        for b in 0..n_in / layout.block_len {
            let block = group.add(layout.group_meta_bytes() + b * F::BLOCK_BYTES);
            prefetch_ahead::<F>(block, N);
            let d = block_scales::<S, F>(group, block);
            let dmin = if layout.has_mins() {
                S::f_neg(S::f_load_f16(block.add(F::DMIN)))
            } else {
                S::f_zero()
            };
            let (dots, mins) = dot_block::<S, F, N>(&tables, block, x, at);
            at = at.after::<F>(layout.block_len);
            let scale = form.scales(n_in).start + size_of::<f32>() * b;
            for c in 0..N {
                let da = S::f_splat(x[c].add(scale).cast::<f32>().read_unaligned());
                sums[c] = S::f_fma(S::f_mul(d, da), S::f_from(dots[c]), sums[c]);
                if layout.has_mins() {
                    sums[c] = S::f_fma(S::f_mul(dmin, da), S::f_from(mins[c]), sums[c]);
                }
            }
        }
        for c in 0..N {
            S::f_store(sums[c], y[c].as_mut_ptr());
        }
    }
}

/// `N` rows of activations and their results.
#[inline(always)]
pub(super) fn exactly<'a, const N: usize>(
    x: &'a [*const u8],
    y: &'a mut [[f32; GROUP_ROWS]],
) -> (&'a [*const u8; N], &'a mut [[f32; GROUP_ROWS]; N]) {
    let x = x.try_into().expect("as many as the kernel is for");
    (x, y.try_into().expect("as many as the kernel is for"))
}

/// The float scales of 16 rows in a block of their group.
///
/// # Safety
/// As [`dot_group`].
#[inline(always)]
pub(super) unsafe fn block_scales<S: Quads, F: Format>(group: *const u8, block: *const u8) -> S::F {
    // SAFETY: promised by the caller.
    unsafe {
        let scales = match F::LAYOUT.scale {
            Scale::F16 => S::f_load_f16(block),
            Scale::Exponent => exponents::<S>(block),
            Scale::RowF16 => S::f_load_f16(group),
            Scale::RowF32 => S::f_load(group),
        };
        if F::LAYOUT.factor == 1.0 {
            scales
        } else {
            S::f_mul(scales, S::f_splat(F::LAYOUT.factor))
        }
    }
}

/// Where the parts of a row of activations are from some column on. The same for all rows: a pointer
/// to each part of each would be more than there are registers for.
#[derive(Clone, Copy)]
struct Offsets {
    a: usize,
    base: usize,
    delta: usize,
    total: usize,
}

impl Offsets {
    /// Those of `n` columns later.
    #[inline(always)]
    fn after<F: Format>(self, n: usize) -> Self {
        let n_subs = n / F::LAYOUT.sub_len;
        Self {
            a: self.a + n,
            base: self.base + size_of::<i32>() * n_subs,
            delta: self.delta + size_of::<i32>() * n_subs,
            total: self.total + size_of::<i16>() * n_subs,
        }
    }
}

/// `Σ ls · Σ v·a` of one block, and `Σ ml · Σ a` for types with minima.
///
/// # Safety
/// As [`dot_group`].
#[inline(always)]
unsafe fn dot_block<S: Quads, F: Format, const N: usize>(
    tables: &<F::Codes as Unpack>::Tables<S>,
    block: *const u8,
    x: &[*const u8; N],
    mut at: Offsets,
) -> ([S::V; N], [S::V; N]) {
    let layout = F::LAYOUT;
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = ([S::zero(); N], [S::zero(); N]);
        for chunk in 0..layout.block_len / CHUNK_LEN {
            let quads = F::Codes::unpack::<S, F>(tables, block.add(F::CODES), chunk);
            let scales = SubBlocks::<S>::of::<F>(block, chunk);
            let flags = block.add(F::FLAGS + 2 * chunk * (CHUNK_LEN / layout.sub_len));
            if const { by_words::<S, F>(N) } {
                let scales = if layout.has_mins() {
                    word_pair::<S>(scales.mins[0], scales.mins[1])
                } else {
                    biased_scales::<S, F>(block, &scales.scales, chunk)
                };
                let sums = if layout.has_mins() {
                    &mut sums.1
                } else {
                    &mut sums.0
                };
                for c in 0..N {
                    let totals = splat_totals::<S, { CHUNK_LEN / 2 }>(x[c].add(at.total));
                    sums[c] = S::dot16(sums[c], totals, scales);
                }
            }
            // No loop: one would stay a loop, with its vectors in memory.
            add_sub_block::<S, F, N, 0>(&quads, &scales, flags, (x, at), &mut sums);
            at = at.after::<F>(layout.sub_len);
            if layout.sub_len < CHUNK_LEN {
                add_sub_block::<S, F, N, 1>(&quads, &scales, flags, (x, at), &mut sums);
                at = at.after::<F>(layout.sub_len);
            }
        }
        sums
    }
}

/// Whether what takes bias and shift out, or the minima, is added for both sub-blocks of a chunk at
/// once, as words: for several rows of activations that is less than what it takes to make the words.
const fn by_words<S: Quads, F: Format>(n: usize) -> bool {
    let form = F::LAYOUT.form();
    n >= 4 && form.shift != 0 && form.sub_len < CHUNK_LEN && !is_signed::<S>(F::LAYOUT)
}

/// Adds the products of sub-block `K` of a chunk, whose flags are at `flags`, to the sums of a block.
///
/// # Safety
/// As [`dot_group`].
#[inline(always)]
unsafe fn add_sub_block<S: Quads, F: Format, const N: usize, const K: usize>(
    quads: &[S::V; 8],
    scales: &SubBlocks<S>,
    flags: *const u8,
    (x, at): (&[*const u8; N], Offsets),
    (dots, mins): &mut ([S::V; N], [S::V; N]),
) {
    let layout = F::LAYOUT;
    // SAFETY: promised by the caller.
    unsafe {
        // What takes the bias out of the products.
        let mut acc = [S::zero(); N];
        let by_words = const { by_words::<S, F>(N) };
        if has_base::<S, F>() && !by_words {
            for c in 0..N {
                acc[c] = S::splat(x[c].add(at.base).cast::<i32>().read_unaligned());
            }
        }
        for q in 0..4 {
            for c in 0..N {
                acc[c] = dot::<S, F>(acc[c], quads[4 * K + q], x[c].add(at.a + 4 * q).cast());
            }
        }
        if layout.sub_len == CHUNK_LEN {
            let low = acc;
            let is_apart = F::Codes::HIGH_TIMES_16 && S::EXACT_U8;
            if is_apart {
                acc = [S::zero(); N];
            }
            for q in 4..8 {
                for c in 0..N {
                    acc[c] = dot::<S, F>(acc[c], quads[q], x[c].add(at.a + 4 * q).cast());
                }
            }
            if is_apart {
                for c in 0..N {
                    acc[c] = S::add(low[c], S::sar32::<4>(acc[c]));
                }
            }
        }
        if layout.shift != 0 && !by_words {
            let flags = u16::from_le(flags.cast::<u16>().add(K).read_unaligned());
            for c in 0..N {
                // After the products, or it and the base would be added first, and then spread.
                let delta = S::splat(x[c].add(at.delta).cast::<i32>().read_unaligned());
                acc[c] = S::add_where(flags, acc[c], delta);
            }
        }
        for c in 0..N {
            dots[c] = match layout.sub_scales {
                SubScales::None => acc[c],
                _ => S::add(dots[c], S::mul(acc[c], scales.scales[K])),
            };
        }
        if layout.has_mins() && !by_words {
            for c in 0..N {
                let total = S::splat(x[c].add(at.delta).cast::<i32>().read_unaligned());
                mins[c] = S::add(mins[c], S::mul(total, scales.mins[K]));
            }
        }
    }
}

#[inline(always)]
unsafe fn dot<S: Quads, F: Format>(acc: S::V, w: S::V, a: *const i8) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        if const { is_signed::<S>(F::LAYOUT) } {
            S::dot::<true>(acc, w, a)
        } else {
            S::dot::<false>(acc, w, a)
        }
    }
}

/// Whether products of `S` are with biased values, whose bias must be taken out of the sums.
pub(super) const fn has_base<S: Quads, F: Format>() -> bool {
    F::LAYOUT.bias != 0 && !is_signed::<S>(F::LAYOUT)
}

/// Integer scales and minima of the sub-blocks of a chunk.
pub(super) struct SubBlocks<S: Quads> {
    pub(super) scales: [S::V; 2],
    pub(super) mins: [S::V; 2],
}

impl<S: Quads> SubBlocks<S> {
    /// # Safety
    /// The CPU has the instruction set of `S`; `block` points to a block in the layout of `F`.
    #[inline(always)]
    pub(super) unsafe fn of<F: Format>(block: *const u8, chunk: usize) -> Self {
        let layout = F::LAYOUT;
        // SAFETY: promised by the caller.
        unsafe {
            let per_chunk = 32 / layout.sub_len;
            let (mut scales, mut mins) = ([S::zero(); 2], [S::zero(); 2]);
            let scale_bytes = block.add(F::SCALES);
            let nibble = S::splat(15);
            if let SubScales::Nibbles { .. } | SubScales::Table(_) = layout.sub_scales {
                let both = S::widen_u8(scale_bytes.add(chunk * per_chunk / 2 * GROUP_ROWS));
                let nibbles = [S::and(both, nibble), S::sar32::<4>(both)];
                for s in 0..per_chunk {
                    scales[s] = of_nibble::<S, F>(nibbles[(chunk * per_chunk + s) % 2]);
                }
            }
            for s in 0..per_chunk {
                let at = (chunk * per_chunk + s) * GROUP_ROWS;
                match layout.sub_scales {
                    SubScales::None | SubScales::Nibbles { .. } | SubScales::Table(_) => {}
                    SubScales::Bytes => scales[s] = S::widen_i8(scale_bytes.add(at)),
                    SubScales::WithMins => {
                        scales[s] = S::widen_i8(scale_bytes.add(at));
                        mins[s] = S::widen_u8(block.add(F::MINS + at));
                    }
                    SubScales::NibblesWithMins => {
                        let both = S::widen_u8(scale_bytes.add(at));
                        scales[s] = S::and(both, nibble);
                        mins[s] = S::sar32::<4>(both);
                    }
                }
            }
            Self { scales, mins }
        }
    }
}

/// The integer scales of nibbles, an i32 each.
#[inline(always)]
unsafe fn of_nibble<S: Quads, F: Format>(nibble: S::V) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        match F::LAYOUT.sub_scales {
            SubScales::Nibbles { first, step } => {
                let scale = if step == 2 {
                    S::add(nibble, nibble)
                } else {
                    nibble
                };
                S::add(scale, S::splat(first.into()))
            }
            SubScales::Table(_) => {
                let table = S::table(&const { positive_scales(F::LAYOUT) });
                let scale = S::and(S::lookup::<4, 0>(&table, nibble), S::splat(255));
                S::add(scale, S::splat(-128))
            }
            _ => nibble,
        }
    }
}

/// A layout's table of scales, plus 128, as often as it fits.
const fn positive_scales(layout: &Layout) -> [u8; 64] {
    let mut bytes = [0; 64];
    if let SubScales::Table(scales) = layout.sub_scales {
        let mut i = 0;
        while i < 64 {
            bytes[i] = (scales[i % 16] as i32 + 128) as u8;
            i += 1;
        }
    }
    bytes
}

/// The scales 2^(e − 128) of sixteen exponents.
#[inline(always)]
unsafe fn exponents<S: Quads>(at: *const u8) -> S::F {
    // SAFETY: sixteen readable bytes, promised by the caller.
    let exponents = unsafe { at.cast::<[u8; GROUP_ROWS]>().read() };
    let mut scales = [[0; 4]; GROUP_ROWS];
    for (scale, e) in scales.iter_mut().zip(exponents) {
        // The two smallest are subnormal.
        let small = 0x0020_0000 << u32::from(e & 1);
        let bits = if e < 2 {
            small
        } else {
            (u32::from(e) - 1) << 23
        };
        *scale = bits.to_le_bytes();
    }
    // SAFETY: promised by the caller; 64 bytes.
    unsafe { S::f_load(scales.as_ptr().cast()) }
}

/// `rounds` dot products into each of `CHAINS` vectors, which should be enough to hide the latency of
/// the instruction and few enough for the registers; returns the number of multiplications.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn dot_registers<S: Quads, const CHAINS: usize>(rounds: usize) -> usize {
    /// Vectors of any instruction set.
    #[repr(align(64))]
    struct Weights<const N: usize>([[u8; VECTOR]; N]);

    let a = [1i8, -1, 2, -2];
    let weights = Weights([[3; VECTOR]; CHAINS]);
    // SAFETY: promised by the caller; `a` has four bytes, and there are as many weights as chains.
    unsafe {
        let mut sums = [S::zero(); CHAINS];
        for _ in 0..rounds {
            // Not known to be the same every time, or products would leave the loop.
            let weights = std::hint::black_box(weights.0.as_ptr());
            for i in 0..CHAINS {
                let w = S::load(weights.add(i).cast());
                sums[i] = S::dot::<false>(sums[i], w, a.as_ptr());
            }
        }
        std::hint::black_box(sums);
    }
    rounds * CHAINS * 4 * GROUP_ROWS
}
