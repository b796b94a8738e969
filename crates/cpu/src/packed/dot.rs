//! The dot products of a group of 16 rows with a few rows of activations, for every type and
//! every instruction set. The arithmetic is that of `perigee_quant::packed`.
//!
//! A group is one linear stream, which the hardware follows within a page; beyond it the kernels
//! ask for weights themselves.

use perigee_quant::QuantKind;
use perigee_quant::packed::{GROUP_ROWS, Layout, Scale, SubScales};

use super::unpack::{Unpack, is_signed};
use crate::simd::prefetch;
use crate::simd::quads::Quads;

/// Bytes of a page.
const PAGE: usize = 4096;

/// What to ask for while a block of this length is multiplied: the first byte, and how many. With
/// several columns the kernel computes for long, and asks for a block a page later. With fewer memory
/// takes the time and each request costs some, so that it asks, once a page, for what tells the
/// hardware of a new stream: the start of the page after the next. (Measured on Zen 4; asking for
/// all, or for a page or 1 KB of it sooner, gains less.)
#[inline(always)]
fn ahead(block: *const u8, len: usize, n_columns: usize) -> (*const u8, usize) {
    let in_page = block.addr() % PAGE;
    if n_columns >= 3 {
        (block.wrapping_add(PAGE), len)
    } else if in_page < len {
        (block.wrapping_sub(in_page).wrapping_add(2 * PAGE), 512)
    } else {
        (block, 0)
    }
}

/// Asks for weights beyond a block of `len` bytes that meets `n_columns`.
#[inline(always)]
pub(super) fn prefetch_ahead(block: *const u8, len: usize, n_columns: usize) {
    let (start, len) = ahead(block, len, n_columns);
    prefetch(start, len);
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
        let mut scales_x = [std::ptr::null::<f32>(); N];
        let mut sums_x = [Sums::NONE; N];
        for c in 0..N {
            scales_x[c] = x[c].add(form.scales(n_in).start).cast();
            sums_x[c] = Sums {
                base: x[c].add(form.bases(n_in).start).cast(),
                delta: x[c].add(form.deltas(n_in).start).cast(),
            };
        }
        for b in 0..n_in / layout.block_len {
            let block = group.add(layout.group_meta_bytes() + b * F::BLOCK_BYTES);
            prefetch_ahead(block, F::BLOCK_BYTES, N);
            let d = block_scales::<S, F>(group, block);
            let dmin = if layout.has_mins() {
                S::f_neg(S::f_load_f16(block.add(F::DMIN)))
            } else {
                S::f_zero()
            };
            let columns = x.map(|x| x.wrapping_add(b * layout.block_len).cast());
            let at = sums_x.map(|sums| sums.after(b * layout.block_len / layout.sub_len));
            let (dots, mins) = dot_block::<S, F, N>(&tables, block, &columns, &at);
            for c in 0..N {
                let da = S::f_splat(scales_x[c].add(b).read_unaligned());
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

/// The sums of activations of the sub-blocks from some block on.
#[derive(Clone, Copy)]
struct Sums {
    base: *const i32,
    delta: *const i32,
}

impl Sums {
    const NONE: Self = Self {
        base: std::ptr::null(),
        delta: std::ptr::null(),
    };

    #[inline(always)]
    fn after(self, n: usize) -> Self {
        Self {
            base: self.base.wrapping_add(n),
            delta: self.delta.wrapping_add(n),
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
    x: &[*const i8; N],
    at: &[Sums; N],
) -> ([S::V; N], [S::V; N]) {
    let layout = F::LAYOUT;
    // SAFETY: promised by the caller.
    unsafe {
        let codes = block.add(F::CODES);
        let (mut dots, mut mins) = ([S::zero(); N], [S::zero(); N]);
        for chunk in 0..layout.block_len / 32 {
            let quads = F::Codes::unpack::<S, F>(tables, codes, chunk);
            let per_chunk = 32 / layout.sub_len;
            let scales = SubBlocks::<S>::of::<F>(block, chunk);
            for c in 0..N {
                let a = x[c].add(32 * chunk);
                let k = chunk * per_chunk;
                let first = start::<S, F>(block, at[c], k);
                let second = if per_chunk == 2 {
                    start::<S, F>(block, at[c], k + 1)
                } else {
                    S::zero()
                };
                let mut acc = [first, second];
                for q in 0..4 {
                    acc[0] = dot::<S, F>(acc[0], quads[q], a.add(4 * q));
                    acc[1] = dot::<S, F>(acc[1], quads[4 + q], a.add(16 + 4 * q));
                }
                if per_chunk == 2 {
                    dots[c] = S::add(dots[c], S::mul(acc[0], scales.scales[0]));
                    dots[c] = S::add(dots[c], S::mul(acc[1], scales.scales[1]));
                } else {
                    if F::Codes::HIGH_TIMES_16 && S::EXACT_U8 {
                        acc[1] = S::sar32::<4>(acc[1]);
                    }
                    let sum = S::add(acc[0], acc[1]);
                    dots[c] = match layout.sub_scales {
                        SubScales::None => sum,
                        _ => S::add(dots[c], S::mul(sum, scales.scales[0])),
                    };
                }
                if layout.has_mins() {
                    for s in 0..per_chunk {
                        let total = S::splat(at[c].delta.add(k + s).read_unaligned());
                        mins[c] = S::add(mins[c], S::mul(total, scales.mins[s]));
                    }
                }
            }
        }
        (dots, mins)
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

/// What takes the bias and the shift out of the products of sub-block `k`.
#[inline(always)]
unsafe fn start<S: Quads, F: Format>(block: *const u8, at: Sums, k: usize) -> S::V {
    let layout = F::LAYOUT;
    // SAFETY: promised by the caller.
    unsafe {
        let has_base = has_base::<S, F>();
        if layout.shift != 0 {
            let flags = block.add(F::FLAGS + 2 * k).cast::<u16>();
            let flags = u16::from_le(flags.read_unaligned());
            let base = if has_base {
                S::splat(at.base.add(k).read_unaligned())
            } else {
                S::zero()
            };
            S::add_where(flags, base, S::splat(at.delta.add(k).read_unaligned()))
        } else if has_base {
            S::splat(at.base.add(k).read_unaligned())
        } else {
            S::zero()
        }
    }
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

/// `rounds` dot products into each of a few registers; returns the number of multiplications.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn dot_registers<S: Quads>(rounds: usize) -> usize {
    // Enough to hide the latency of the instruction, few enough for sixteen registers.
    const CHAINS: usize = 6;
    let a = [1i8, -1, 2, -2];
    // SAFETY: promised by the caller; `a` has four bytes.
    unsafe {
        let mut sums = [S::zero(); CHAINS];
        // Not known to be equal, or one product would do for all of them; nor known to be the same
        // every time, or products would leave the loop.
        let mut weights = [S::zero(); CHAINS];
        for (i, w) in weights.iter_mut().enumerate() {
            *w = S::splat(std::hint::black_box(0x0102_0304 + i as i32));
        }
        for _ in 0..rounds {
            let more = S::splat(std::hint::black_box(0));
            for (sum, w) in sums.iter_mut().zip(weights) {
                *sum = S::dot::<false>(*sum, S::xor(w, more), a.as_ptr());
            }
        }
        std::hint::black_box(sums);
    }
    rounds * CHAINS * 4 * GROUP_ROWS
}
