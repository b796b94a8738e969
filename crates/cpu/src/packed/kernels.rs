//! The table of kernels: one line for each type.

use perigee_quant::QuantKind;
use perigee_quant::packed::{Codes, GROUP_ROWS, Layout, SubScales};

use super::bf16_tiles::{Bf16Panel, dot_bf16};
use super::bytes::dot_bytes;
use super::dot::{Format, dot_group, dot_registers};
use super::rows::dot_rows;
use super::sums::{dot_sums, sums_in_16_bits};
use super::tiles::{TilePanel, dot_tiles};
use super::unpack::{
    Bits2, Bits3, Bits4, Bits5, Bits6, Bits8, Nibbles, Pairs, Points, Sequences, Unpack,
};
use super::words::dot_words;
use crate::matrix::Order;
use crate::simd::isa::Isa;
use crate::simd::quads::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::simd::quads_avx2::Avx2;

/// Most rows of activations that a kernel takes: a multiple of six with which a span of them all and
/// their sums with [`MAX_GROUPS`] stay in the second-level cache.
pub(crate) const MAX_COLUMNS: usize = 240;
/// Most groups that a kernel takes at once.
pub(crate) const MAX_GROUPS: usize = 8;
/// Rows of activations that stay in a first-level cache of 32 KB beside what is unpacked.
pub(crate) const CACHED_COLUMNS: usize = 36;
/// As many as kernels have that are made for a few.
pub(crate) const FEW_COLUMNS: usize = 8;

/// Dot products of 16 rows with as many rows of activations as it is made for.
///
/// # Safety
/// See [`Kernel::few`].
type Dot = unsafe fn(*const u8, usize, &[*const u8], &mut [[f32; GROUP_ROWS]]);

/// Dot products of some groups.
///
/// # Safety
/// See [`Many::dot`].
type DotMany = unsafe fn(&[*const u8], usize, &[*const u8], &mut [[f32; GROUP_ROWS]]);

/// The kernels of a type and order on an instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// By the number of rows of activations that they are made for, from the most to one.
    counts: &'static [(usize, Dot)],
    many: Option<Many>,
}

impl Kernel {
    /// What is better than [`few`](Self::few) for `n` rows of activations, if anything is.
    pub(crate) fn many(&self, n: usize) -> Option<&Many> {
        self.many.as_ref().filter(|many| n >= many.worth)
    }

    /// `y[c][r] = w[r] · x[c]` for the 16 rows of a group of `n_in` columns, with the weights unpacked
    /// again for every few rows of activations.
    ///
    /// # Safety
    /// The kernel is one of an instruction set that the CPU has; `group` points to 16 rows of
    /// `n_in` columns in its order, packed or as in a file, and each of `x` to a row of
    /// activations of that length in the form of the type's layout.
    pub(crate) unsafe fn few(
        &self,
        group: *const u8,
        n_in: usize,
        mut x: &[*const u8],
        mut y: &mut [[f32; GROUP_ROWS]],
    ) {
        debug_assert_eq!(x.len(), y.len());
        for (n, dot) in self.counts {
            while x.len() >= *n {
                let (now, rest) = x.split_at(*n);
                let (y_now, y_rest) = std::mem::take(&mut y).split_at_mut(*n);
                // SAFETY: promised by the caller.
                unsafe { dot(group, n_in, now, y_now) };
                (x, y) = (rest, y_rest);
            }
        }
    }
}

/// Dot products of groups with many rows of activations, for which weights are unpacked once.
#[derive(Clone, Copy)]
pub(crate) struct Many {
    /// Rows of activations from which on it is worth that.
    worth: usize,
    /// Most rows of activations that it takes at once, at most [`MAX_COLUMNS`].
    pub(crate) most_columns: usize,
    /// Most groups, at most [`MAX_GROUPS`].
    pub(crate) most_groups: usize,
    dot: DotMany,
}

impl Many {
    /// `y[g][c][r] = w[g][r] · x[c]` for the 16 rows of some groups of `n_in` columns.
    ///
    /// # Safety
    /// As [`Kernel::few`], for all groups; there are no more of those and of rows of activations than it
    /// takes.
    ///
    /// # Panics
    /// When there are not as many results.
    pub(crate) unsafe fn dot(
        &self,
        groups: &[*const u8],
        n_in: usize,
        x: &[*const u8],
        y: &mut [[f32; GROUP_ROWS]],
    ) {
        debug_assert!(x.len() <= self.most_columns && groups.len() <= self.most_groups);
        // SAFETY: promised by the caller.
        unsafe { (self.dot)(groups, n_in, x, y) }
    }
}

/// Dot products of a group of packed rows with many rows of activations.
#[derive(Clone, Copy)]
pub(crate) struct TileKernel {
    dot: unsafe fn(*const u8, &TilePanel<'_>, &mut [[f32; GROUP_ROWS]]),
}

impl TileKernel {
    /// `y[t][r] = w[r] · x[t]` for the 16 rows of a group and the rows of a panel.
    ///
    /// # Safety
    /// The CPU has [`Isa::Amx`]; `group` points to a packed group of as many columns as the panel,
    /// which is of the form of its layout and has at least as many rows as `y`.
    pub(crate) unsafe fn dot(
        &self,
        group: *const u8,
        panel: &TilePanel<'_>,
        y: &mut [[f32; GROUP_ROWS]],
    ) {
        // SAFETY: promised by the caller.
        unsafe { (self.dot)(group, panel, y) }
    }
}

/// Dot products of some groups of packed rows with many rows of activations, near the canonical ones.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Kernel {
    /// # Safety
    /// As [`dot`](Self::dot).
    dot: unsafe fn(&[*const u8], &mut Bf16Panel<'_>),
}

impl Bf16Kernel {
    /// The products of the 16 rows of some groups with the rows of a panel, which has them then.
    ///
    /// # Safety
    /// The CPU has [`Isa::Amx`] and tiles of bf16; each of `groups` points to a packed group of as
    /// many columns as the panel.
    ///
    /// # Panics
    /// When there are more than [`MAX_GROUPS`].
    pub(crate) unsafe fn dot(&self, groups: &[*const u8], panel: &mut Bf16Panel<'_>) {
        // SAFETY: promised by the caller.
        unsafe { (self.dot)(groups, panel) }
    }
}

/// A [`Kernel`] of functions for these numbers of rows of activations.
macro_rules! kernel {
    ($function:tt $types:tt $($n:literal)+) => {
        Kernel {
            counts: &[$(($n, kernel!(@ $function $types $n))),+],
            many: None,
        }
    };
    (@ [$($function:tt)+] [$($types:ty),+] $n:literal) => { $($function)+::<$($types),+, $n> };
}

/// The kernels of `F` per instruction set.
struct Of<F>(F);

impl<F: Format> Of<F> {
    const SCALAR: Kernel = kernel!([dot_group] [Scalar, F] 4 2 1);
    const SCALAR_ROWS: Kernel = kernel!([dot_rows] [Scalar, F] 4 2 1);

    /// Bytes with a sign cost an instruction more for each product, words do not.
    #[cfg(target_arch = "x86_64")]
    const AVX2: Kernel = Kernel {
        many: Some(match sums_in_16_bits::<Avx2<false>>(F::LAYOUT) {
            Some(_) => Many {
                worth: 4,
                most_columns: CACHED_COLUMNS,
                most_groups: 1,
                dot: x86::avx2_sums::<F>,
            },
            None => Many {
                worth: 7,
                most_columns: CACHED_COLUMNS,
                most_groups: 1,
                dot: x86::avx2_words::<F>,
            },
        }),
        ..kernel!([x86::avx2] [F] 3 2 1)
    };

    /// Sixteen registers hold the sums of few rows of activations, so that weights are unpacked often:
    /// for some types that is most of the work.
    #[cfg(target_arch = "x86_64")]
    const AVX_VNNI: Kernel = Kernel {
        many: if F::Codes::IS_DEAR || (F::LAYOUT.shift != 0 && F::LAYOUT.sub_len == 16) {
            Some(Many {
                worth: 7,
                most_columns: CACHED_COLUMNS,
                most_groups: 1,
                dot: x86::avx_vnni_bytes::<F>,
            })
        } else {
            None
        },
        ..kernel!([x86::avx_vnni] [F] 4 3 2 1)
    };

    /// With many rows of activations two groups share what is loaded of them. Unpacking to memory waits
    /// for it, while the kernels for a few read on: it takes the more rows to be worth that, the less
    /// there is to unpack.
    #[cfg(target_arch = "x86_64")]
    const AVX512: Kernel = Kernel {
        many: Some(Many {
            worth: match (F::LAYOUT.codes, F::LAYOUT.sub_scales) {
                (Codes::Grid(_) | Codes::Trellis(_), _) => 16,
                (_, SubScales::None) => 64,
                _ => 32,
            },
            most_columns: MAX_COLUMNS,
            most_groups: MAX_GROUPS,
            dot: x86::avx512_bytes::<F>,
        }),
        ..kernel!([x86::avx512] [F] 8 6 4 3 2 1)
    };

    /// For rows in the order of the file.
    fn rows_on(isa: Isa) -> Kernel {
        match isa {
            Isa::Scalar => Self::SCALAR_ROWS,
            // Taking blocks apart is most of the work, so that AVX-VNNI would gain nothing.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => kernel!([x86::avx2_rows] [F] 4 2 1),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => kernel!([x86::avx512_rows] [F] 4 2 1),
            #[cfg(not(target_arch = "x86_64"))]
            _ => Self::SCALAR_ROWS,
        }
    }

    /// For packed rows and many columns; `None` where no machine has tiles.
    fn tiles() -> Option<TileKernel> {
        #[cfg(target_arch = "x86_64")]
        return Some(TileKernel { dot: x86::amx::<F> });
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// For packed rows of blocks whose sums leave tiles of integers too often; `None` for others, and
    /// where no machine has tiles.
    const BF16: Option<Bf16Kernel> = match F::LAYOUT.sub_scales {
        #[cfg(target_arch = "x86_64")]
        SubScales::None => Some(Bf16Kernel {
            dot: x86::bf16::<F>,
        }),
        _ => None,
    };

    /// For packed rows. Each call for a few rows of activations unpacks the weights again, which costs as
    /// much as a row of activations, with AVX2 as two: hence three and six too.
    fn on(isa: Isa) -> Kernel {
        match isa {
            Isa::Scalar => Self::SCALAR,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Self::AVX2,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Self::AVX_VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => Self::AVX512,
            #[cfg(not(target_arch = "x86_64"))]
            _ => Self::SCALAR,
        }
    }
}

/// Multiplies `rounds` times what registers hold, and returns how many products that were.
///
/// # Safety
/// The CPU has the instruction set.
pub(super) unsafe fn peak(isa: Isa, rounds: usize) -> usize {
    // SAFETY: promised by the caller.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2_peak(rounds),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => x86::avx_vnni_peak(rounds),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512_peak(rounds),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => crate::simd::amx::peak(rounds),
            _ => dot_registers::<Scalar, 1>(rounds),
        }
    }
}

/// [`dot_group`], [`dot_bytes`], [`dot_sums`], [`dot_words`], [`dot_rows`], [`dot_tiles`] and
/// [`dot_bf16`] in functions that may use an instruction set.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{
        Bf16Panel, Format, GROUP_ROWS, TilePanel, dot_bf16, dot_bytes, dot_group, dot_registers,
        dot_rows, dot_sums, dot_tiles, dot_words,
    };
    use crate::simd::quads_avx2::Avx2;
    use crate::simd::quads_avx512::Avx512;

    macro_rules! enabled {
        ($name:ident, tiles, $features:literal, $simd:ty) => {
            /// # Safety
            /// As the loop that it wraps, on a CPU that has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<F: Format>(
                group: *const u8,
                panel: &TilePanel<'_>,
                y: &mut [[f32; GROUP_ROWS]],
            ) {
                // SAFETY: this function has the instruction set; the rest is promised by the
                // caller.
                unsafe { dot_tiles::<$simd, F>(group, panel, y) }
            }
        };
        ($name:ident, bf16_tiles, $features:literal, $simd:ty) => {
            /// # Safety
            /// As the loop that it wraps, on a CPU that has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<F: Format>(groups: &[*const u8], panel: &mut Bf16Panel<'_>) {
                // SAFETY: this function has the instruction set; the rest is promised by the
                // caller.
                unsafe { dot_bf16::<$simd, F>(groups, panel) }
            }
        };
        ($name:ident, many $dot:ident, $features:literal, $simd:ty) => {
            /// # Safety
            /// As the loop that it wraps, on a CPU that has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<F: Format>(
                groups: &[*const u8],
                n_in: usize,
                x: &[*const u8],
                y: &mut [[f32; GROUP_ROWS]],
            ) {
                // SAFETY: this function has the instruction set; the rest is promised by the
                // caller.
                unsafe { $dot::<$simd, F>(groups, n_in, x, y) }
            }
        };
        ($name:ident, $dot:ident, $features:literal, $simd:ty) => {
            /// # Safety
            /// As the loop that it wraps, on a CPU that has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name<F: Format, const N: usize>(
                group: *const u8,
                n_in: usize,
                x: &[*const u8],
                y: &mut [[f32; GROUP_ROWS]],
            ) {
                // SAFETY: this function has the instruction set; the rest is promised by the
                // caller.
                unsafe { $dot::<$simd, F, N>(group, n_in, x, y) }
            }
        };
        ($name:ident, $features:literal, $simd:ty, $chains:literal) => {
            /// # Safety
            /// The CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(rounds: usize) -> usize {
                // SAFETY: this function has the instruction set.
                unsafe { dot_registers::<$simd, $chains>(rounds) }
            }
        };
    }
    enabled!(avx2, dot_group, "avx2,fma,f16c", Avx2<false>);
    enabled!(avx2_sums, many dot_sums, "avx2,fma,f16c", Avx2<false>);
    enabled!(avx2_words, many dot_words, "avx2,fma,f16c", Avx2<false>);
    enabled!(avx2_rows, dot_rows, "avx2,fma,f16c", Avx2<false>);
    enabled!(avx2_peak, "avx2,fma,f16c", Avx2<false>, 6);
    enabled!(avx_vnni, dot_group, "avx2,fma,f16c,avxvnni", Avx2<true>);
    enabled!(
        avx_vnni_bytes,
        many dot_bytes,
        "avx2,fma,f16c,avxvnni",
        Avx2<true>
    );
    enabled!(avx_vnni_peak, "avx2,fma,f16c,avxvnni", Avx2<true>, 6);
    enabled!(
        avx512,
        dot_group,
        "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi",
        Avx512
    );
    enabled!(
        avx512_bytes,
        many dot_bytes,
        "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi",
        Avx512
    );
    enabled!(
        avx512_rows,
        dot_rows,
        "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi",
        Avx512
    );
    enabled!(
        amx,
        tiles,
        "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi",
        Avx512
    );
    enabled!(
        bf16,
        bf16_tiles,
        "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512bf16",
        Avx512
    );
    enabled!(
        avx512_peak,
        "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi",
        Avx512,
        12
    );
}

macro_rules! formats {
    ($($kind:ident: $codes:ty),* $(,)?) => {
        $(
            struct $kind;
            impl Format for $kind {
                const KIND: QuantKind = QuantKind::$kind;
                const LAYOUT: &'static Layout = match QuantKind::$kind.layout() {
                    Some(layout) => layout,
                    None => panic!("a type with kernels has a layout"),
                };
                type Codes = $codes;
            }
        )*

        /// The kernels of a type and order on an instruction set; `None` for types without a
        /// layout.
        pub(crate) fn kernel(kind: QuantKind, order: Order, isa: Isa) -> Option<Kernel> {
            match (kind, order) {
                $(
                    (QuantKind::$kind, Order::Packed) => Some(Of::<$kind>::on(isa)),
                    (QuantKind::$kind, Order::File) => Some(Of::<$kind>::rows_on(isa)),
                )*
                _ => None,
            }
        }

        /// The kernel of a packed type for [`Isa::Amx`] with tiles of bf16, where that is the faster.
        pub(crate) fn bf16_kernel(kind: QuantKind) -> Option<Bf16Kernel> {
            match kind {
                $(QuantKind::$kind => Of::<$kind>::BF16,)*
                _ => None,
            }
        }

        /// The kernels of a packed type for [`Isa::Amx`], where there are such.
        pub(crate) fn tile_kernel(kind: QuantKind) -> Option<TileKernel> {
            match kind {
                $(QuantKind::$kind => Of::<$kind>::tiles(),)*
                _ => None,
            }
        }
    };
}

formats! {
    Q4_0: Nibbles,
    Q8_0: Bits8,
    Q2K: Bits2,
    Q3K: Bits3,
    Q4K: Nibbles,
    Q5K: Bits5,
    Q6K: Bits6,
    Iq2K: Bits2,
    Iq3K: Bits3,
    Iq4K: Bits4,
    Iq5K: Bits5,
    Iq6K: Bits6,
    Iq2Ks: Bits2,
    Iq2Kl: Pairs,
    Iq3Ks: Bits3,
    Iq4Ks: Bits4,
    Iq4Kss: Bits4,
    Iq5Ks: Bits5,
    Iq4Nl: Bits4,
    Iq4Xs: Bits4,
    Mxfp4: Bits4,
    Iq2Xxs: Points<8, 0>,
    Iq2Xs: Points<8, 1>,
    Iq2S: Points<8, 2>,
    Iq1S: Points<8, 3>,
    Iq1M: Points<8, 3>,
    Iq3Xxs: Points<4, 0>,
    Iq3S: Points<4, 1>,
    Iq1Kt: Sequences<8, 5>,
    Iq2Kt: Sequences<8, 8>,
    Iq3Kt: Sequences<8, 8>,
    Iq4Kt: Sequences<4, 7>,
}
