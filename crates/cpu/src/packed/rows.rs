//! The dot products of 16 rows in the order of the file, for weights that stay in it. The
//! arithmetic is that of packed weights, to the last bit.
//!
//! A vector holds 64 columns of one row. Rows are cut into *spans* of 256 columns: a block of the
//! larger kind, or eight of the smaller.

use perigee_quant::packed::{CHUNK_LEN, Codes, GROUP_ROWS, Parts, Plane, Scale, SubScales};

use super::dot::{Format, exactly, has_base};
use super::unpack::{is_signed, table};
use crate::simd::quads::{Quads, VECTOR};

/// Columns of a span.
const SPAN: usize = 256;
/// Vectors of a span.
const N_VECTORS: usize = SPAN / VECTOR;
/// Blocks of 32 columns in a span.
const SMALL_BLOCKS: usize = SPAN / CHUNK_LEN;
/// Spans whose scales are taken out of the file together. They are stored byte by byte and loaded
/// as vectors, which is slow until the bytes have reached the cache.
const BATCH: usize = 8;

/// `y[c][r] = w[r] · x[c]` for 16 rows, as [`dot_group`](super::dot::dot_group) computes it.
///
/// # Panics
/// As that.
///
/// # Safety
/// The CPU has the instruction set of `S`; `rows` points to 16 rows of `n_in` columns of a file
/// in the type of `F`, and each of `x` to a row of activations in the form of its layout.
#[inline(always)]
pub(super) unsafe fn dot_rows<S: Quads, F: Format, const N: usize>(
    rows: *const u8,
    n_in: usize,
    x: &[*const u8],
    y: &mut [[f32; GROUP_ROWS]],
) {
    let (x, y): (&[_; N], &mut [_; N]) = exactly(x, y);
    let meta_bytes = F::KIND.row_meta_bytes();
    let span_bytes = SPAN / F::LAYOUT.block_len * F::KIND.block_bytes();
    let row_bytes = meta_bytes + n_in / F::LAYOUT.block_len * F::KIND.block_bytes();
    let mut heads = Heads::EMPTY;
    for r in 0..GROUP_ROWS {
        // SAFETY: 16 whole rows, promised by the caller.
        let row = unsafe { std::slice::from_raw_parts(rows.add(r * row_bytes), row_bytes) };
        let (meta, blocks) = row.split_at(meta_bytes);
        let mut sums = [0.0; N];
        let mut first = 0;
        for blocks in blocks.chunks(BATCH * span_bytes) {
            // SAFETY: promised by the caller.
            unsafe { heads.take::<S, F>(meta, blocks) };
            for (i, blocks) in blocks.chunks(span_bytes).enumerate() {
                // SAFETY: promised by the caller; a span is within its row.
                unsafe {
                    heads
                        .span::<F>(i, blocks)
                        .add::<S, F, N>(n_in, first, x, &mut sums)
                };
                first += SPAN;
            }
        }
        for (y, sum) in y.iter_mut().zip(sums) {
            y[r] = sum;
        }
    }
}

/// The scales of some spans.
struct Heads {
    /// Of blocks of the larger kind.
    parts: [Parts; BATCH],
    /// The float scales of all blocks.
    scales: [f32; BATCH * SMALL_BLOCKS],
    /// Those of minima.
    min_scales: [f32; GROUP_ROWS],
}

impl Heads {
    const EMPTY: Self = Self {
        parts: [Parts::EMPTY; BATCH],
        scales: [0.0; BATCH * SMALL_BLOCKS],
        min_scales: [0.0; GROUP_ROWS],
    };

    /// # Safety
    /// The CPU has the instruction set of `S`.
    #[inline(always)]
    unsafe fn take<S: Quads, F: Format>(&mut self, meta: &[u8], blocks: &[u8]) {
        let layout = F::LAYOUT;
        let blocks = blocks.chunks_exact(F::KIND.block_bytes());
        let n_blocks = blocks.len();
        let (mut d, mut dmin) = ([0_u16; BATCH * SMALL_BLOCKS], [0_u16; GROUP_ROWS]);
        for (i, block) in blocks.enumerate() {
            let parts = &mut self.parts[i * layout.block_len / SPAN];
            layout.take_head(block, parts);
            match layout.scale {
                Scale::F16 => d[i] = parts.d as u16,
                _ => self.scales[i] = layout.block_scale(meta, parts),
            }
            if layout.has_mins() {
                dmin[i] = parts.dmin;
            }
        }
        // SAFETY: promised by the caller; there are sixteen from every multiple of sixteen on.
        unsafe {
            if layout.scale == Scale::F16 {
                let factor = S::f_splat(layout.factor);
                for first in (0..n_blocks).step_by(GROUP_ROWS) {
                    let scales = S::f_load_f16(d[first..].as_ptr().cast());
                    S::f_store(S::f_mul(scales, factor), self.scales[first..].as_mut_ptr());
                }
            }
            if layout.has_mins() {
                let scales = S::f_load_f16(dmin.as_ptr().cast());
                S::f_store(scales, self.min_scales.as_mut_ptr());
            }
        }
    }

    #[inline(always)]
    fn span<'a, F: Format>(&'a self, i: usize, blocks: &'a [u8]) -> Span<'a> {
        Span {
            blocks,
            parts: &self.parts[i],
            scales: &self.scales[i * SPAN / F::LAYOUT.block_len..],
            min_scale: self.min_scales[i],
        }
    }
}

/// Up to 256 columns of a row.
struct Span<'a> {
    blocks: &'a [u8],
    parts: &'a Parts,
    /// The float scale of the block, or from those of eight small ones on.
    scales: &'a [f32],
    min_scale: f32,
}

impl Span<'_> {
    /// Adds the products with the columns from `first` on.
    ///
    /// # Safety
    /// As [`dot_rows`]; the rows of activations have the columns of the span.
    #[inline(always)]
    unsafe fn add<S: Quads, F: Format, const N: usize>(
        &self,
        n_in: usize,
        first: usize,
        x: &[*const u8; N],
        sums: &mut [f32; N],
    ) {
        let layout = F::LAYOUT;
        let form = layout.form();
        let first_sub = first / layout.sub_len;
        let first_block = first / layout.block_len;
        // SAFETY: promised by the caller; offsets are those of the form.
        unsafe {
            let values = self.values::<S, F>();
            for (x, sum) in x.iter().zip(sums) {
                let scales = x.add(form.scales(n_in).start).cast::<f32>();
                let bases = x.add(form.bases(n_in).start).cast::<i32>();
                let deltas = x.add(form.deltas(n_in).start).cast::<i32>();
                let x = Activations {
                    a: x.add(first),
                    scales: scales.add(first_block),
                    bases: bases.add(first_sub),
                    deltas: deltas.wrapping_add(first_sub),
                };
                *sum = if layout.sub_scales == SubScales::None {
                    self.add_small::<S, F>(&values, &x, *sum)
                } else {
                    self.add_block::<S, F>(&values, &x, *sum)
                };
            }
        }
    }

    /// The values of the columns as the bytes that `S` multiplies.
    ///
    /// # Safety
    /// The CPU has the instruction set of `S`; the span has blocks of the type of `F`.
    #[inline(always)]
    unsafe fn values<S: Quads, F: Format>(&self) -> [S::V; N_VECTORS] {
        let layout = F::LAYOUT;
        let mut bytes = [0; SPAN];
        if let Codes::Grid(_) | Codes::Trellis(_) = layout.codes {
            layout.values(self.parts, &mut bytes);
            let bias = const {
                if is_signed::<S>(F::LAYOUT) {
                    0
                } else {
                    F::LAYOUT.bias
                }
            };
            for byte in &mut bytes {
                *byte = byte.wrapping_add(bias as i8);
            }
        }
        // SAFETY: promised by the caller; a vector has 64 bytes.
        unsafe {
            let mut values = [S::zero(); N_VECTORS];
            for (v, value) in values.iter_mut().enumerate() {
                let z = match layout.codes {
                    Codes::Grid(_) | Codes::Trellis(_) => {
                        S::load(bytes[v * VECTOR..].as_ptr().cast())
                    }
                    _ if layout.planes.is_empty() => {
                        S::load(self.parts.codes[v * VECTOR..].as_ptr())
                    }
                    _ => self.codes::<S, F>(v),
                };
                *value = match layout.codes {
                    Codes::Bits2 => S::lookup::<2, 0>(&table::<S, F, 2, 0>(0), z),
                    Codes::Bits3 => S::lookup::<3, 0>(&table::<S, F, 3, 0>(0), z),
                    Codes::Bits4 => S::lookup::<4, 0>(&table::<S, F, 4, 0>(0), z),
                    Codes::Bits5 => S::lookup::<5, 0>(&table::<S, F, 5, 0>(0), z),
                    Codes::Bits6 => S::lookup::<6, 0>(&table::<S, F, 6, 0>(0), z),
                    Codes::Bits8 if S::EXACT_U8 => S::xor(z, S::splat(0x8080_8080_u32 as i32)),
                    Codes::Pairs => S::interleave(
                        S::lookup::<5, 0>(&table::<S, F, 5, 0>(0), z),
                        S::lookup::<5, 0>(&table::<S, F, 5, 0>(1), z),
                    ),
                    Codes::Bits8 | Codes::Grid(_) | Codes::Trellis(_) => z,
                };
            }
            values
        }
    }

    /// The codes of vector `v`, those of pairs of columns twice.
    ///
    /// # Safety
    /// As [`values`](Self::values).
    #[inline(always)]
    unsafe fn codes<S: Quads, F: Format>(&self, v: usize) -> S::V {
        let layout = F::LAYOUT;
        // SAFETY: promised by the caller; planes lie within their blocks.
        unsafe {
            let mut codes = S::zero();
            for plane in layout.planes {
                let halves = [self.chunk::<F>(2 * v), self.chunk::<F>(2 * v + 1)];
                let bits = match *plane {
                    Plane::Halves { starts } => {
                        let [low, high] = halves;
                        S::load_nibbles(
                            low.0.add(usize::from(starts[low.1])),
                            high.0.add(usize::from(starts[high.1])),
                        )
                    }
                    Plane::Bytes { places, bits, to } => {
                        let [low, high] = halves;
                        let (low_start, low_shift) = places[low.1];
                        let (high_start, high_shift) = places[high.1];
                        let low = low.0.add(usize::from(low_start));
                        let high = high.0.add(usize::from(high_start));
                        let z = match layout.codes {
                            Codes::Pairs => S::load_doubled(low, high),
                            _ => S::load_halves(low, high),
                        };
                        let z = S::shr_halves(z, low_shift.into(), high_shift.into());
                        let mask = ((1_u32 << bits) - 1) * 0x0101_0101;
                        let z = S::and(z, S::splat(mask.cast_signed()));
                        match to {
                            2 => S::shl16::<2>(z),
                            4 => S::shl16::<4>(z),
                            0 => z,
                            _ => unreachable!("no plane has bits from there on"),
                        }
                    }
                };
                codes = S::xor(codes, bits);
            }
            codes
        }
    }

    /// The block of 32 columns and the chunk of it that they are. After the last comes the last
    /// again.
    ///
    /// # Safety
    /// The span has blocks of the type of `F`.
    #[inline(always)]
    unsafe fn chunk<F: Format>(&self, chunk: usize) -> (*const u8, usize) {
        if F::LAYOUT.block_len == SPAN {
            return (self.blocks.as_ptr(), chunk);
        }
        let block_bytes = F::KIND.block_bytes();
        let last = self.blocks.len() / block_bytes - 1;
        // SAFETY: the span has a block of that number.
        let block = unsafe { self.blocks.as_ptr().add(chunk.min(last) * block_bytes) };
        (block, 0)
    }

    /// A block of 256 columns.
    ///
    /// # Safety
    /// As [`add`](Self::add).
    #[inline(always)]
    unsafe fn add_block<S: Quads, F: Format>(
        &self,
        values: &[S::V; N_VECTORS],
        x: &Activations,
        y: f32,
    ) -> f32 {
        let layout = F::LAYOUT;
        let parts = self.parts;
        // SAFETY: promised by the caller; there are 16 scales and minima.
        unsafe {
            let scales = S::widen_i8(parts.scales.as_ptr().cast());
            let mut total = S::zero();
            for (v, value) in values.iter().enumerate() {
                let dots = dot_lanes::<S, F>(*value, S::load(x.a.add(v * VECTOR)));
                let scales = if layout.sub_len == 16 {
                    S::spread::<4>(scales, v)
                } else {
                    S::spread::<8>(scales, v)
                };
                total = S::add(total, S::mul(dots, scales));
            }
            let has_base = has_base::<S, F>();
            if has_base || layout.shift != 0 {
                let mut sums = S::zero();
                if has_base {
                    sums = per_sub::<S, F>(x.bases);
                }
                if layout.shift != 0 {
                    sums = S::add_where(parts.flags, sums, per_sub::<S, F>(x.deltas));
                }
                total = S::add(total, S::mul(sums, scales));
            }
            let da = x.scales.read_unaligned();
            let y = (self.scales[0] * da).mul_add(S::sum(total) as f32, y);
            if !layout.has_mins() {
                return y;
            }
            let mins = S::widen_u8(parts.mins.as_ptr());
            let total = S::sum(S::mul(per_sub::<S, F>(x.deltas), mins));
            (-(self.min_scale * da)).mul_add(total as f32, y)
        }
    }

    /// Up to eight blocks of 32 columns.
    ///
    /// # Safety
    /// As [`add`](Self::add).
    #[inline(always)]
    unsafe fn add_small<S: Quads, F: Format>(
        &self,
        values: &[S::V; N_VECTORS],
        x: &Activations,
        y: f32,
    ) -> f32 {
        let n_blocks = self.blocks.len() / F::KIND.block_bytes();
        if n_blocks == SMALL_BLOCKS {
            // SAFETY: promised by the caller.
            return unsafe { self.add_blocks::<S, F>(values, x, SMALL_BLOCKS, y) };
        }
        let len = n_blocks * CHUNK_LEN;
        let (mut a, mut scales, mut bases) = ([0; SPAN], [0.0; SMALL_BLOCKS], [0; SMALL_BLOCKS]);
        // SAFETY: there are as many numbers, promised by the caller; the arrays are of a whole
        // span.
        unsafe {
            a[..len].copy_from_slice(std::slice::from_raw_parts(x.a, len));
            for k in 0..n_blocks {
                scales[k] = x.scales.add(k).read_unaligned();
                bases[k] = x.bases.add(k).read_unaligned();
            }
            let x = Activations {
                a: a.as_ptr(),
                scales: scales.as_ptr(),
                bases: bases.as_ptr(),
                deltas: x.deltas,
            };
            self.add_blocks::<S, F>(values, &x, n_blocks, y)
        }
    }

    /// The first `n_blocks` of eight blocks.
    ///
    /// # Safety
    /// As [`add`](Self::add), but that `x` has a whole span.
    #[inline(always)]
    unsafe fn add_blocks<S: Quads, F: Format>(
        &self,
        values: &[S::V; N_VECTORS],
        x: &Activations,
        n_blocks: usize,
        y: f32,
    ) -> f32 {
        // SAFETY: promised by the caller; eight scales are left from every span on.
        unsafe {
            let mut products = [S::zero(); N_VECTORS];
            for (v, value) in values.iter().enumerate() {
                products[v] = dot_lanes::<S, F>(*value, S::load(x.a.add(v * VECTOR)));
            }
            let mut dots = S::eights(products);
            if has_base::<S, F>() {
                dots = S::add(dots, S::load_eight(x.bases));
            }
            let da = S::f_from_bits(S::load_eight(x.scales.cast()));
            let d = S::f_from_bits(S::load_eight(self.scales.as_ptr().cast()));
            let mut factors = [[0.0; GROUP_ROWS]; 2];
            S::f_store(S::f_mul(d, da), factors[0].as_mut_ptr());
            S::f_store(S::f_from(dots), factors[1].as_mut_ptr());
            let factors = factors[0].iter().zip(&factors[1]).take(n_blocks);
            factors.fold(y, |y, (scale, dot)| scale.mul_add(*dot, y))
        }
    }
}

/// A row of activations from the columns of a span on; see
/// [`Form`](perigee_quant::packed::Form).
struct Activations {
    a: *const u8,
    scales: *const f32,
    bases: *const i32,
    deltas: *const i32,
}

/// A number for each sub-block of a block.
///
/// # Safety
/// The CPU has the instruction set of `S`; `at` points to as many numbers.
#[inline(always)]
unsafe fn per_sub<S: Quads, F: Format>(at: *const i32) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        if F::LAYOUT.n_sub() == 16 {
            S::load(at.cast())
        } else {
            S::load_eight(at)
        }
    }
}

/// Sums of four products.
///
/// # Safety
/// The CPU has the instruction set of `S`.
#[inline(always)]
unsafe fn dot_lanes<S: Quads, F: Format>(values: S::V, a: S::V) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        if const { is_signed::<S>(F::LAYOUT) } {
            S::dot_lanes::<true>(S::zero(), values, a)
        } else {
            S::dot_lanes::<false>(S::zero(), values, a)
        }
    }
}
