//! The two inner loops, in one arithmetic for every instruction set.
//!
//! *Dot*: lane `l` of 16 sums the products at `i ≡ l (mod 16)` in ascending order with fused
//! multiply-adds, then a fixed tree adds the lanes. *Accumulate*: each element adds its terms in
//! ascending row order with fused multiply-adds. The blocking into 4 × 4 registers changes which
//! sums run side by side, never a sum; so results do not depend on the instruction set, the
//! tile, or the other rows and tokens.

pub(crate) mod isa;
#[cfg(target_arch = "x86_64")]
mod points_avx2;
#[cfg(target_arch = "x86_64")]
mod points_avx512;
pub(crate) mod quads;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quads_avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quads_avx512;

// No closures in the inner loops: one made here has no vector instructions of its own, and
// inside `array::map` it is a call per row.

/// Lanes of a dot product.
const LANES: usize = 16;
/// Most token rows of one call.
pub(crate) const BLOCK: usize = 4;

/// Rows of floats at a constant distance.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) n_rows: usize,
    pub(crate) stride: usize,
}

impl<'a> Panel<'a> {
    fn row(&self, row: usize, len: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..len]
    }
}

/// Sixteen floats in registers.
trait Lanes: Copy {
    /// Sixteen equal values.
    ///
    /// # Safety
    /// The CPU has the instruction set of the implementation (also for the others below).
    unsafe fn splat(value: f32) -> Self;
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn load(from: &[f32; LANES]) -> Self;
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn store(self, to: &mut [f32; LANES]);
    /// `self + a · b`, rounded once.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// The lanes added by the tree of [`sum_tree`].
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn sum(self) -> f32;
}

impl Lanes for [f32; LANES] {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        *from
    }
    #[inline(always)]
    unsafe fn store(self, to: &mut [f32; LANES]) {
        *to = self;
    }
    #[inline(always)]
    unsafe fn fma(mut self, a: Self, b: Self) -> Self {
        for l in 0..LANES {
            self[l] = a[l].mul_add(b[l], self[l]);
        }
        self
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        sum_tree(self)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    impl Lanes for __m512 {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: AVX-512F, promised by the caller.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: AVX-512F, promised by the caller; 16 floats, unaligned load.
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: &mut [f32; LANES]) {
            // SAFETY: AVX-512F, promised by the caller; 16 floats, unaligned store.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self) }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX-512F, promised by the caller.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: AVX-512F, promised by the caller.
            unsafe {
                let swapped = _mm512_shuffle_f32x4::<0b01_00_11_10>(self, self);
                let eight = _mm512_add_ps(self, swapped);
                let swapped = _mm512_shuffle_f32x4::<0b10_11_00_01>(eight, eight);
                sum_four(_mm512_castps512_ps128(_mm512_add_ps(eight, swapped)))
            }
        }
    }

    impl Lanes for [__m256; 2] {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: AVX, promised by the caller.
            unsafe { [_mm256_set1_ps(value); 2] }
        }
        #[inline(always)]
        unsafe fn load(from: &[f32; LANES]) -> Self {
            // SAFETY: AVX, promised by the caller; two times 8 of 16 floats, unaligned loads.
            unsafe {
                let start = from.as_ptr();
                [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))]
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: &mut [f32; LANES]) {
            // SAFETY: AVX, promised by the caller; two times 8 of 16 floats, unaligned stores.
            unsafe {
                let start = to.as_mut_ptr();
                _mm256_storeu_ps(start, self[0]);
                _mm256_storeu_ps(start.add(8), self[1]);
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX and FMA, promised by the caller.
            unsafe {
                [
                    _mm256_fmadd_ps(a[0], b[0], self[0]),
                    _mm256_fmadd_ps(a[1], b[1], self[1]),
                ]
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: AVX, promised by the caller.
            unsafe {
                let eight = _mm256_add_ps(self[0], self[1]);
                let high = _mm256_extractf128_ps::<1>(eight);
                sum_four(_mm_add_ps(_mm256_castps256_ps128(eight), high))
            }
        }
    }

    /// The last two steps of the tree.
    #[inline(always)]
    fn sum_four(four: __m128) -> f32 {
        // SAFETY: SSE is part of x86-64.
        unsafe {
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

/// `out[t, r] = Σ_i w[r, i] · x[t][i]` for the `n_rows` rows of the panel;
/// `x`: 1 to 4 rows of equal length; `out: [x.len(), n_rows]`.
pub(crate) fn dot_rows(w: Panel<'_>, x: &[&[f32]], out: &mut [f32]) {
    assert_eq!(out.len(), x.len() * w.n_rows);
    run(Kernel::Dot { w, x }, out, w.n_rows);
}

/// `out[j, i] += Σ_r p[j][r] · rows[r, i]` for `i` in `0..len`, with `j` in `0..p.len()` (1 to
/// 4), `out` rows at distance `stride` and `p[j].len() == rows.n_rows`.
pub(crate) fn accumulate_rows(
    p: &[&[f32]],
    rows: Panel<'_>,
    len: usize,
    out: &mut [f32],
    stride: usize,
) {
    run(Kernel::Accumulate { p, rows, len }, out, stride);
}

/// What to run, so that the choice of instruction set stands once.
#[derive(Clone, Copy)]
enum Kernel<'a> {
    Dot {
        w: Panel<'a>,
        x: &'a [&'a [f32]],
    },
    Accumulate {
        p: &'a [&'a [f32]],
        rows: Panel<'a>,
        len: usize,
    },
}

fn run(kernel: Kernel<'_>, out: &mut [f32], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has AVX-512F.
            return unsafe { run_avx512(kernel, out, stride) };
        }
        if is_x86_feature_detected!("avx") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has AVX and FMA.
            return unsafe { run_fma(kernel, out, stride) };
        }
    }
    // SAFETY: plain floats need no instruction set.
    unsafe { run_on::<[f32; LANES]>(kernel, out, stride) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn run_avx512(kernel: Kernel<'_>, out: &mut [f32], stride: usize) {
    // SAFETY: this function has AVX-512F.
    unsafe { run_on::<std::arch::x86_64::__m512>(kernel, out, stride) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,fma")]
unsafe fn run_fma(kernel: Kernel<'_>, out: &mut [f32], stride: usize) {
    // SAFETY: this function has AVX and FMA.
    unsafe { run_on::<[std::arch::x86_64::__m256; 2]>(kernel, out, stride) }
}

/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn run_on<L: Lanes>(kernel: Kernel<'_>, out: &mut [f32], stride: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        match kernel {
            Kernel::Dot { w, x } => match *x {
                [a] => dot_panel::<L, 1>(w, [a], out),
                [a, b] => dot_panel::<L, 2>(w, [a, b], out),
                [a, b, c] => dot_panel::<L, 3>(w, [a, b, c], out),
                [a, b, c, d] => dot_panel::<L, 4>(w, [a, b, c, d], out),
                _ => panic!("{} rows in a block", x.len()),
            },
            Kernel::Accumulate { p, rows, len } => match *p {
                [a] => accumulate_panel::<L, 1>([a], rows, len, out, stride),
                [a, b] => accumulate_panel::<L, 2>([a, b], rows, len, out, stride),
                [a, b, c] => accumulate_panel::<L, 3>([a, b, c], rows, len, out, stride),
                [a, b, c, d] => accumulate_panel::<L, 4>([a, b, c, d], rows, len, out, stride),
                _ => panic!("{} rows in a block", p.len()),
            },
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn dot_panel<L: Lanes, const T: usize>(w: Panel<'_>, x: [&[f32]; T], out: &mut [f32]) {
    let len = x[0].len();
    let n = w.n_rows;
    let mut r = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        while r + 4 <= n {
            let rows = [
                w.row(r, len),
                w.row(r + 1, len),
                w.row(r + 2, len),
                w.row(r + 3, len),
            ];
            let sums = dot_block::<L, 4, T>(rows, x);
            for t in 0..T {
                out[t * n + r..][..4].copy_from_slice(&sums[t]);
            }
            r += 4;
        }
        while r < n {
            let sums = dot_block::<L, 1, T>([w.row(r, len)], x);
            for t in 0..T {
                out[t * n + r] = sums[t][0];
            }
            r += 1;
        }
    }
}

/// All `R · T` dot products of equally long rows.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn dot_block<L: Lanes, const R: usize, const T: usize>(
    w: [&[f32]; R],
    x: [&[f32]; T],
) -> [[f32; R]; T] {
    let n = w[0].len() / LANES;
    let (w, w_tail) = split(w, n);
    let (x, x_tail) = split(x, n);
    // SAFETY: passed on from the caller.
    unsafe {
        let mut lanes = [[L::splat(0.0); R]; T];
        for i in 0..n {
            let mut w_lanes = [L::splat(0.0); R];
            for r in 0..R {
                w_lanes[r] = L::load(&w[r][i]);
            }
            for t in 0..T {
                let x = L::load(&x[t][i]);
                for r in 0..R {
                    lanes[t][r] = lanes[t][r].fma(w_lanes[r], x);
                }
            }
        }
        let mut sums = [[0.0; R]; T];
        for t in 0..T {
            for r in 0..R {
                if x_tail[t].is_empty() {
                    sums[t][r] = lanes[t][r].sum();
                    continue;
                }
                let mut partial = [0.0; LANES];
                lanes[t][r].store(&mut partial);
                for (l, (w, x)) in w_tail[r].iter().zip(x_tail[t]).enumerate() {
                    partial[l] = w.mul_add(*x, partial[l]);
                }
                sums[t][r] = sum_tree(partial);
            }
        }
        sums
    }
}

/// `n` chunks of sixteen of each row, and the rests.
#[inline(always)]
fn split<const N: usize>(rows: [&[f32]; N], n: usize) -> ([&[[f32; LANES]]; N], [&[f32]; N]) {
    let (mut chunks, mut tails) = ([[].as_slice(); N], [[].as_slice(); N]);
    for r in 0..N {
        chunks[r] = &rows[r].as_chunks::<LANES>().0[..n];
        tails[r] = &rows[r][n * LANES..];
    }
    (chunks, tails)
}

/// Adds halves onto each other: 16, 8, 4, 2, 1.
#[inline(always)]
fn sum_tree(mut lanes: [f32; LANES]) -> f32 {
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
    }
    lanes[0]
}

/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn accumulate_panel<L: Lanes, const J: usize>(
    p: [&[f32]; J],
    rows: Panel<'_>,
    len: usize,
    out: &mut [f32],
    stride: usize,
) {
    let mut i = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        while i + 2 * LANES <= len {
            accumulate_block::<L, J, 2>(p, rows, i, out, stride);
            i += 2 * LANES;
        }
        while i + LANES <= len {
            accumulate_block::<L, J, 1>(p, rows, i, out, stride);
            i += LANES;
        }
    }
    for i in i..len {
        for j in 0..J {
            let mut sum = out[j * stride + i];
            for r in 0..rows.n_rows {
                sum = p[j][r].mul_add(rows.values[r * rows.stride + i], sum);
            }
            out[j * stride + i] = sum;
        }
    }
}

/// `16 · C` columns from column `i`, kept in registers over all rows.
///
/// # Safety
/// The CPU has the instruction set of `L`.
#[inline(always)]
unsafe fn accumulate_block<L: Lanes, const J: usize, const C: usize>(
    p: [&[f32]; J],
    rows: Panel<'_>,
    i: usize,
    out: &mut [f32],
    stride: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut terms = p;
        for j in 0..J {
            terms[j] = &p[j][..rows.n_rows];
        }
        let mut sums = [[L::splat(0.0); C]; J];
        for j in 0..J {
            let out = &out[j * stride + i..][..C * LANES];
            for (sum, chunk) in sums[j].iter_mut().zip(out.as_chunks::<LANES>().0) {
                *sum = L::load(chunk);
            }
        }
        for r in 0..rows.n_rows {
            let row = &rows.values[r * rows.stride + i..][..C * LANES];
            let row = row.as_chunks::<LANES>().0;
            for c in 0..C {
                let value = L::load(&row[c]);
                for j in 0..J {
                    sums[j][c] = sums[j][c].fma(L::splat(terms[j][r]), value);
                }
            }
        }
        for j in 0..J {
            let out = &mut out[j * stride + i..][..C * LANES];
            for (sum, chunk) in sums[j].iter().zip(out.as_chunks_mut::<LANES>().0) {
                sum.store(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests;
