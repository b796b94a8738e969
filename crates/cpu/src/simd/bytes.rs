//! Products of weights that are unpacked to memory as bytes, for instruction sets whose products of
//! bytes add up in 32 bits. The arithmetic is that of `packed/dot.rs`, to the last bit.
//!
//! What is loaded of activations is most of what is loaded, so that several groups share it where there
//! are registers for the sums of all.

use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS};

use super::quads::{ByteSpan, Bytes, splat_totals};

/// Where the parts of rows of activations are that a span meets.
#[derive(Clone, Copy)]
pub(crate) struct ByteOffsets {
    /// Its columns.
    pub(crate) a: usize,
    /// The float scale of its first block.
    pub(crate) scale: usize,
    /// What takes the bias out of the products of its first sub-block, an i32.
    pub(crate) base: usize,
    /// `Σ a` of its first sub-block, a word, of types with minima.
    pub(crate) total: usize,
}

impl ByteOffsets {
    /// Those of a later block, of `n_sub` sub-blocks each.
    #[inline(always)]
    fn after(self, blocks: usize, n_sub: usize) -> Self {
        Self {
            a: self.a + ByteSpan::BLOCK * blocks,
            scale: self.scale + size_of::<f32>() * blocks,
            base: self.base + size_of::<i32>() * n_sub * blocks,
            total: self.total + size_of::<i16>() * n_sub * blocks,
        }
    }
}

/// Sums of 16 floats for some rows of activations, a group after the other.
#[derive(Clone, Copy)]
pub(crate) struct SumRows {
    /// Those of the first group and row.
    pub(crate) first: *mut [f32; GROUP_ROWS],
    /// Distance of groups.
    pub(crate) stride: usize,
}

impl SumRows {
    /// The floats of a group and a row.
    #[inline(always)]
    fn at(&self, group: usize, row: usize) -> *mut f32 {
        self.first.wrapping_add(group * self.stride + row).cast()
    }
}

/// Adds the products of `G` spans with `N` rows of activations; see [`Bytes::multiply`].
///
/// # Safety
/// The CPU has the instruction set of `S`; the rest as there.
#[inline(always)]
unsafe fn multiply<S: Bytes, const N_SUB: usize, const G: usize, const N: usize>(
    spans: &[ByteSpan; G],
    x: &[*const u8; N],
    at: ByteOffsets,
    y: SumRows,
) {
    // SAFETY: promised by the caller.
    unsafe {
        if N_SUB == 0 {
            multiply_small::<S, G, N>(spans, x, at, y);
            return;
        }
        for b in 0..spans[0].n_blocks {
            let at = at.after(b, N_SUB);
            let dots = dot_sub_blocks::<S, N_SUB, G, N>(spans, b, x, at);
            for c in 0..N {
                let da = S::f_splat(x[c].add(at.scale).cast::<f32>().read_unaligned());
                for g in 0..G {
                    let scale = S::f_mul(S::f_load(spans[g].d.as_ptr().add(b).cast()), da);
                    let sum = S::f_load(y.at(g, c).cast());
                    let sum = S::f_fma(scale, S::f_from(dots[g][c]), sum);
                    S::f_store(sum, y.at(g, c));
                }
            }
            if spans[0].has_mins {
                subtract_mins::<S, N_SUB, G, N>(spans, b, x, at, y);
            }
        }
    }
}

/// The same for blocks of 32 columns.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn multiply_small<S: Bytes, const G: usize, const N: usize>(
    spans: &[ByteSpan; G],
    x: &[*const u8; N],
    at: ByteOffsets,
    y: SumRows,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = [[S::f_zero(); N]; G];
        for g in 0..G {
            for c in 0..N {
                sums[g][c] = S::f_load(y.at(g, c).cast());
            }
        }
        for b in 0..spans[0].n_blocks {
            let dots = dot_quads::<S, 8, G, N>(spans, 0, b, x, at);
            for c in 0..N {
                let da = x[c].add(at.scale).cast::<f32>().add(b);
                let da = S::f_splat(da.read_unaligned());
                for g in 0..G {
                    let scale = S::f_mul(S::f_load(spans[g].d.as_ptr().add(b).cast()), da);
                    sums[g][c] = S::f_fma(scale, S::f_from(dots[g][c]), sums[g][c]);
                }
            }
        }
        for g in 0..G {
            for c in 0..N {
                S::f_store(sums[g][c], y.at(g, c));
            }
        }
    }
}

/// `Σ ls · Σ v·a` of block `b`, from whose columns on `at` are offsets.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn dot_sub_blocks<S: Bytes, const N_SUB: usize, const G: usize, const N: usize>(
    spans: &[ByteSpan; G],
    b: usize,
    x: &[*const u8; N],
    at: ByteOffsets,
) -> [[S::V; N]; G] {
    // SAFETY: promised by the caller.
    unsafe {
        const QUADS: usize = ByteSpan::BLOCK / 4;
        let mut dots = [[S::zero(); N]; G];
        for k in 0..N_SUB {
            let sums = if N_SUB == 16 {
                dot_quads::<S, 4, G, N>(spans, QUADS * b, k, x, at)
            } else {
                dot_quads::<S, 8, G, N>(spans, QUADS * b, k, x, at)
            };
            for g in 0..G {
                let scale = S::load(spans[g].scales.as_ptr().add(b * N_SUB + k).cast());
                for c in 0..N {
                    dots[g][c] = S::add(dots[g][c], S::mul(sums[g][c], scale));
                }
            }
        }
        dots
    }
}

/// `Σ v·a` of sub-block `k` from quad `first` of the spans on, of `QUADS` quads.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn dot_quads<S: Bytes, const QUADS: usize, const G: usize, const N: usize>(
    spans: &[ByteSpan; G],
    first: usize,
    k: usize,
    x: &[*const u8; N],
    at: ByteOffsets,
) -> [[S::V; N]; G] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = [[S::zero(); N]; G];
        for c in 0..N {
            let base = x[c].add(at.base).cast::<i32>().add(k);
            let base = S::splat(base.read_unaligned());
            for g in 0..G {
                sums[g][c] = base;
            }
        }
        for q in QUADS * k..QUADS * (k + 1) {
            let mut w = [S::zero(); G];
            for g in 0..G {
                w[g] = S::load(spans[g].quads.as_ptr().add(first + q).cast());
            }
            for c in 0..N {
                let a = x[c].add(at.a + 4 * q).cast::<i32>();
                let a = S::splat(a.read_unaligned());
                for g in 0..G {
                    sums[g][c] = S::dot_lanes::<false>(sums[g][c], w[g], a);
                }
            }
        }
        sums
    }
}

/// Adds the products of the minima of block `b` to `y`.
///
/// # Safety
/// As [`multiply`]; the spans have minima.
#[inline(always)]
unsafe fn subtract_mins<S: Bytes, const N_SUB: usize, const G: usize, const N: usize>(
    spans: &[ByteSpan; G],
    b: usize,
    x: &[*const u8; N],
    at: ByteOffsets,
    y: SumRows,
) {
    const CHUNKS: usize = ByteSpan::BLOCK / CHUNK_LEN;
    // SAFETY: promised by the caller.
    unsafe {
        for c in 0..N {
            let mut sums = [S::zero(); G];
            for chunk in 0..CHUNKS {
                let totals = x[c].add(at.total + size_of::<i16>() * (N_SUB / CHUNKS) * chunk);
                let totals = if N_SUB == CHUNKS {
                    splat_totals::<S, CHUNK_LEN>(totals)
                } else {
                    splat_totals::<S, { CHUNK_LEN / 2 }>(totals)
                };
                for g in 0..G {
                    let mins = S::load(spans[g].mins.as_ptr().add(b * CHUNKS + chunk).cast());
                    sums[g] = S::dot16(sums[g], totals, mins);
                }
            }
            let da = S::f_splat(x[c].add(at.scale).cast::<f32>().read_unaligned());
            for g in 0..G {
                let scale = S::f_mul(S::f_load(spans[g].dmin.as_ptr().add(b).cast()), da);
                let sum = S::f_load(y.at(g, c).cast());
                let sum = S::f_fma(scale, S::f_from(sums[g]), sum);
                S::f_store(sum, y.at(g, c));
            }
        }
    }
}

/// [`Bytes`] of an instruction set, with functions for these numbers of groups and of rows of
/// activations. Functions of their own, as they are the same for all types of a shape.
#[cfg(target_arch = "x86_64")]
macro_rules! bytes {
    ($simd:ty, $features:literal, $groups:literal groups, $columns:literal columns: $(($g:literal $n:literal))+) => {
        impl Bytes for $simd {
            const GROUPS: usize = $groups;
            const COLUMNS: usize = $columns;

            #[inline(always)]
            unsafe fn multiply<const N_SUB: usize>(
                spans: &[ByteSpan],
                x: &[*const u8],
                at: ByteOffsets,
                y: SumRows,
            ) {
                /// # Safety
                /// The CPU has the instruction set; the rest as [`multiply`].
                #[target_feature(enable = $features)]
                unsafe fn compiled<const N_SUB: usize, const G: usize, const N: usize>(
                    spans: &[ByteSpan; G],
                    x: &[*const u8; N],
                    at: ByteOffsets,
                    y: SumRows,
                ) {
                    // SAFETY: this function has the instruction set; the rest is promised by the
                    // caller.
                    unsafe { multiply::<$simd, N_SUB, G, N>(spans, x, at, y) }
                }
                match (spans.len(), x.len()) {
                    $(($g, $n) => {
                        let spans = spans.try_into().expect("as many as in the pattern");
                        let x = x.try_into().expect("as many as in the pattern");
                        // SAFETY: promised by the caller.
                        unsafe { compiled::<N_SUB, $g, $n>(spans, x, at, y) }
                    })+
                    (groups, columns) => panic!("{groups} groups with {columns} columns"),
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
bytes!(super::quads_avx2::Avx2<true>, "avx2,fma,f16c,avxvnni", 1 groups, 3 columns:
    (1 1) (1 2) (1 3));
#[cfg(target_arch = "x86_64")]
bytes!(super::quads_avx512::Avx512, "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi", 2 groups, 6 columns:
    (1 1) (1 2) (1 3) (1 4) (1 5) (1 6) (2 1) (2 2) (2 3) (2 4) (2 5) (2 6));
