//! Vectors of sixteen lanes: an i32, an f32 or four bytes each. With packed weights a lane belongs
//! to a row of the group, with rows in the order of the file to four columns.

use std::mem::MaybeUninit;

use half::f16;
use perigee_quant::packed::{CHUNK_LEN, GROUP_ROWS, Grid};

use super::bytes::{ByteOffsets, SumRows};

/// What the kernels of weights that meet integers need of an instruction set.
///
/// # Safety
/// Every function may be called only on a CPU that has the instruction set; pointers must be
/// good for the bytes that are named.
pub(crate) trait Quads: Copy {
    /// Sixteen i32, or 64 bytes.
    type V: Copy;
    /// Sixteen f32.
    type F: Copy;
    /// Up to 64 bytes to look up.
    type Table: Copy;

    /// Whether [`dot`](Self::dot) is exact for all unsigned bytes. Where it is not, it is for
    /// signed bytes with `WIDE`, and for unsigned ones up to 128 without.
    const EXACT_U8: bool;

    /// Whether tables are for bytes as they are, with the shift of [`built_in`], instead of for
    /// codes.
    const SHIFTS_IN_TABLE: bool;

    unsafe fn zero() -> Self::V;
    unsafe fn splat(value: i32) -> Self::V;
    /// 64 bytes from `at`.
    unsafe fn load(at: *const u8) -> Self::V;
    /// 32 bytes from each.
    unsafe fn load_halves(low: *const u8, high: *const u8) -> Self::V;
    /// 16 bytes from each, every one twice.
    unsafe fn load_doubled(low: *const u8, high: *const u8) -> Self::V;
    /// The low nibbles of 16 bytes, then the high ones, then those of the others.
    unsafe fn load_nibbles(low: *const u8, high: *const u8) -> Self::V;
    /// Eight i32 from `at`, then zeros.
    unsafe fn load_eight(at: *const i32) -> Self::V;
    /// Sixteen i8 from `at`, as i32.
    unsafe fn widen_i8(at: *const u8) -> Self::V;
    /// Sixteen u8 from `at`, as i32.
    unsafe fn widen_u8(at: *const u8) -> Self::V;
    /// `a`, in lanes of set bits of `flags` plus `b`.
    unsafe fn add_where(flags: u16, a: Self::V, b: Self::V) -> Self::V;
    /// The bytes `a`, where bits of the u64 at `mask` are set `twice - a`.
    unsafe fn negate(mask: *const u8, a: Self::V, twice: Self::V) -> Self::V;

    /// The bytes `a` where bits of the u64 at `mask` are set, else zeros.
    unsafe fn bytes_where(mask: *const u8, a: Self::V) -> Self::V;
    /// The magnitudes of signed bytes above −128.
    unsafe fn abs(a: Self::V) -> Self::V;

    unsafe fn and(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn xor(a: Self::V, b: Self::V) -> Self::V;
    /// Bits of `a` where `mask` is set, else of `b`.
    unsafe fn select(mask: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// Shifts 16-bit units right: bits come in from the neighbouring byte.
    unsafe fn shr16<const N: i32>(a: Self::V) -> Self::V;
    /// The same by these numbers of bits in the first 32 bytes and in the others.
    unsafe fn shr_halves(a: Self::V, low: i32, high: i32) -> Self::V;
    /// Shifts 16-bit units left.
    unsafe fn shl16<const N: i32>(a: Self::V) -> Self::V;
    /// Shifts i32 left.
    unsafe fn shl32<const N: i32>(a: Self::V) -> Self::V;
    /// Shifts i32 right, keeping the sign.
    unsafe fn sar32<const N: i32>(a: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `acc + a[2i]·b[2i] + a[2i+1]·b[2i+1]` of i16, as i32.
    unsafe fn dot16(acc: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// In every lane bytes 0, 0, 1, 1.
    unsafe fn double_low(a: Self::V) -> Self::V;
    /// In every lane bytes 2, 2, 3, 3.
    unsafe fn double_high(a: Self::V) -> Self::V;
    /// Bytes 0 and 2 of every lane of `even`, 1 and 3 of `odd`.
    unsafe fn interleave(even: Self::V, odd: Self::V) -> Self::V;

    /// A table for [`lookup`](Self::lookup): entry i is the value of code i, or with
    /// `SHIFTS_IN_TABLE` that of the code in a byte whose low bits are i.
    unsafe fn table(bytes: &[u8; 64]) -> Self::Table;
    /// In every byte the value of the code in its `BITS` bits from bit `SHIFT` on. Other bits of
    /// the byte do not matter.
    unsafe fn lookup<const BITS: u32, const SHIFT: i32>(table: &Self::Table, z: Self::V)
    -> Self::V;

    /// The codes of the columns of a chunk of points, each in the lowest bits of its byte, whose
    /// other bits are anything. `at` points to the indices as [`Indices`] has them, of points of
    /// `WIDTH` columns with `HIGH` high bits.
    ///
    /// [`Indices`]: perigee_quant::packed::Indices
    unsafe fn points<const WIDTH: usize, const HIGH: usize>(
        grid: &Grid,
        at: *const u8,
    ) -> [Self::V; 8];

    /// `acc + Σ w·a` over the four bytes of every lane; `a` are i8.
    unsafe fn dot_lanes<const WIDE: bool>(acc: Self::V, w: Self::V, a: Self::V) -> Self::V;
    /// The same with the four i8 at `a` in all lanes.
    #[inline(always)]
    unsafe fn dot<const WIDE: bool>(acc: Self::V, w: Self::V, a: *const i8) -> Self::V {
        // SAFETY: four readable bytes, promised by the caller.
        unsafe {
            let a = Self::splat(a.cast::<i32>().read_unaligned());
            Self::dot_lanes::<WIDE>(acc, w, a)
        }
    }

    /// In lane l the lane (16 · v + l) / `LANES` of `a`.
    unsafe fn spread<const LANES: usize>(a: Self::V, v: usize) -> Self::V;
    /// The sum of the lanes.
    unsafe fn sum(a: Self::V) -> i32;
    /// The sums of every eight lanes, then zeros.
    unsafe fn eights(a: [Self::V; 4]) -> Self::V;

    unsafe fn f_zero() -> Self::F;
    unsafe fn f_splat(value: f32) -> Self::F;
    /// Sixteen f16 from `at`.
    unsafe fn f_load_f16(at: *const u8) -> Self::F;
    /// Sixteen f32 from `at`.
    unsafe fn f_load(at: *const u8) -> Self::F;
    unsafe fn f_store(values: Self::F, at: *mut f32);
    unsafe fn f_from(a: Self::V) -> Self::F;
    /// The floats that have these bits.
    unsafe fn f_from_bits(a: Self::V) -> Self::F;
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn f_neg(a: Self::F) -> Self::F;
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
}

/// `Σ a` of the sub-blocks of a chunk, in every lane, as words: one, or two where sub-blocks are
/// halves of a chunk.
///
/// # Safety
/// The CPU has the instruction set of `S`; `at` points to the totals of the chunk.
#[inline(always)]
pub(crate) unsafe fn splat_totals<S: Quads, const SUB_LEN: usize>(at: *const u8) -> S::V {
    // SAFETY: promised by the caller.
    unsafe {
        if SUB_LEN == CHUNK_LEN {
            // Not two words: the row may end after the first.
            S::splat(at.cast::<u16>().read_unaligned().into())
        } else {
            S::splat(at.cast::<i32>().read_unaligned())
        }
    }
}

/// What products need beside [`Quads`] that unpack weights before they meet activations.
///
/// # Safety
/// As [`Quads`].
pub(crate) trait Unpacked: Quads {
    /// 64 bytes to `at`.
    unsafe fn store(a: Self::V, at: *mut i8);
    /// The bytes less `bias`.
    unsafe fn sub_bytes(a: Self::V, bias: i32) -> Self::V;
    /// Lanes of `a` where bits of `flags` are set, else of `b`.
    unsafe fn select_lanes(flags: u16, a: Self::V, b: Self::V) -> Self::V;
}

/// Products of tiles: rows of activations with quads of weights.
///
/// A row of an operand `a` is one row of activations, a row of `b` a quad of 16 rows of weights; a
/// row of a product has the sums of 16 rows of weights with a row of activations.
///
/// # Safety
/// As [`Quads`], and the CPU has tiles that this process may use; `tiles` are those that
/// [`configure`](Self::configure) has made, on the same thread, for such a depth.
pub(crate) trait Tiles: Unpacked {
    /// Tiles that are ready, for as long as it lives.
    type Configured;

    /// Makes tiles ready for products over `depth` columns at a time: 64 or 32.
    unsafe fn configure(depth: usize) -> Self::Configured;

    /// `c[i][j] = Σ a[i] · b[j]`, j 0 or 1, for as many i, 1 or 2, and over as many steps of 64 columns, at
    /// least one, as the shape says: of the operands `a` has 16 rows of 64 bytes for each i, and those of the
    /// next step `a_step` bytes on; `b` has two times 16 quads for every step; `c` gets two times 16
    /// rows for each i.
    unsafe fn multiply_twice(
        tiles: &Self::Configured,
        operands: (*const i8, *const i8),
        a_step: usize,
        shape: (usize, usize),
        c: *mut i32,
    );

    /// `c[i] = a[i] · b` over 32 columns: `a` has two times 16 rows of 32 bytes, `b` eight quads;
    /// `c` gets two times 16 rows.
    unsafe fn multiply_once(tiles: &Self::Configured, a: *const i8, b: *const i8, c: *mut i32);

    /// The signed bytes of every lane times its scale, −128 to 127, as `256 · first + second`.
    unsafe fn scaled(a: Self::V, scales: Self::V) -> [Self::V; 2];
}

/// Products of tiles of bf16: rows of activations with pairs of weights, of which a row of an operand
/// `b` has those of 16 rows in two columns.
///
/// # Safety
/// As [`Tiles`], and the CPU has tiles of bf16.
pub(crate) trait Bf16Tiles: Tiles {
    /// Float scales of 16 rows, ready for [`pair`](Self::pair).
    type Scales: Copy;

    unsafe fn scales(d: Self::F) -> Self::Scales;

    /// The signed bytes of the first two columns of a quad (`P` 0) or of the others (`P` 1) times the scales
    /// of their rows, rounded to the nearest bf16, halves to even.
    unsafe fn pair<const P: usize>(quad: Self::V, scales: &Self::Scales) -> Self::V;

    /// `c[g] += a · b[g]` for so many groups, 1 to 4, over so many steps of 32 columns, at least one: of
    /// the operands `a` has 16 rows of 32 for every step, `b` sixteen rows of pairs for every group and
    /// step, the groups of a step one after another; the 16 rows of 16 floats of `c[g]` start `g · c_step`
    /// bytes after `c`. `tiles` were made for 64 columns of bytes.
    unsafe fn add_products(
        tiles: &Self::Configured,
        operands: (*const u16, *const u16),
        groups_and_steps: (usize, usize),
        c: *mut f32,
        c_step: usize,
    );
}

/// Products of bytes that add up in 32 bits.
///
/// # Safety
/// As [`Quads`].
pub(crate) trait Bytes: Unpacked {
    /// Most groups that are multiplied side by side, so that they share what is loaded of activations.
    const GROUPS: usize;
    /// Most rows of activations that are: as many as registers have room for the sums of.
    const COLUMNS: usize;

    /// Adds the products of the spans of some groups with rows of activations to `y`, where blocks
    /// have `N_SUB` sub-blocks: 16, 8, or none in blocks of 32 columns.
    ///
    /// The spans have as many blocks each and are of one layout, `x` points to rows of its form that have
    /// the spans' columns at `at`, and `y` has sums for each group and row that nobody else uses.
    ///
    /// # Panics
    /// When there are more groups or rows than that, or none.
    unsafe fn multiply<const N_SUB: usize>(
        spans: &[ByteSpan],
        x: &[*const u8],
        at: ByteOffsets,
        y: SumRows,
    );
}

/// Products in 16 bits, for instruction sets that have none of bytes which add up in 32 bits.
///
/// # Safety
/// As [`Quads`].
pub(crate) trait Words: Unpacked {
    /// `w[2i]·a[2i] + w[2i+1]·a[2i+1]` as i16, of unsigned bytes `w` up to 128 and signed ones `a`
    /// above −128.
    unsafe fn pair_sums(w: Self::V, a: Self::V) -> Self::V;
    /// Sums of 16-bit units.
    unsafe fn add16(a: Self::V, b: Self::V) -> Self::V;
    /// The low halves of the products of 16-bit units.
    unsafe fn mul16(a: Self::V, b: Self::V) -> Self::V;
    /// Bytes 0 and 2 of every lane as two i16, and bytes 1 and 3.
    unsafe fn words(a: Self::V) -> [Self::V; 2];
    /// `y[c] ← fma(scales[k] · da[c][k], f32(Σ w·a[c]), y[c])` over the blocks k of the span, in their
    /// order. `a[c]` points to as many activations as the span has columns, `da[c]` to a float for each
    /// block.
    unsafe fn multiply<const N: usize>(
        span: &WordSpan,
        a: &[*const i8; N],
        da: &[*const f32; N],
        y: &mut [[f32; GROUP_ROWS]; N],
    );
}

/// Bytes of a vector.
pub(crate) const VECTOR: usize = 64;

/// Up to 512 columns of 16 rows of weights, as bytes; each vector is one of an instruction set, in
/// memory.
#[repr(C, align(64))]
pub(crate) struct ByteSpan {
    /// Biased values: `[column / 4]`.
    pub(crate) quads: [MaybeUninit<[i8; VECTOR]>; Self::LEN / 4],
    /// What the products of a sub-block are multiplied by.
    pub(crate) scales: [MaybeUninit<[i8; VECTOR]>; Self::LEN / Self::MIN_SUB],
    /// What values are short of times the scales of their sub-blocks, where the latter are words; two
    /// words a lane: `[column / 32]`.
    pub(crate) biases: [MaybeUninit<[i8; VECTOR]>; Self::LEN / CHUNK_LEN],
    /// Minima of the sub-blocks of types that have them, two words a lane: `[column / 32]`.
    pub(crate) mins: [MaybeUninit<[i8; VECTOR]>; Self::LEN / CHUNK_LEN],
    /// Float scales: `[block]`.
    pub(crate) d: [MaybeUninit<[f32; GROUP_ROWS]>; Self::LEN / CHUNK_LEN],
    /// Those of the minima of blocks of 256 columns, negated.
    pub(crate) dmin: [MaybeUninit<[f32; GROUP_ROWS]>; Self::LEN / Self::BLOCK],
    /// Blocks that it has.
    pub(crate) n_blocks: usize,
    /// Whether there are minima.
    pub(crate) has_mins: bool,
}

impl ByteSpan {
    /// Columns of a whole one.
    pub(crate) const LEN: usize = 512;
    /// Columns of the smallest sub-block.
    const MIN_SUB: usize = 16;
    /// Columns of a block that has sub-blocks.
    pub(crate) const BLOCK: usize = 256;

    /// Without blocks. The memory is not cleared: with few rows of activations that would be a tenth of
    /// the work.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            quads: [const { MaybeUninit::uninit() }; _],
            scales: [const { MaybeUninit::uninit() }; _],
            biases: [const { MaybeUninit::uninit() }; _],
            mins: [const { MaybeUninit::uninit() }; _],
            d: [const { MaybeUninit::uninit() }; _],
            dmin: [const { MaybeUninit::uninit() }; _],
            n_blocks: 0,
            has_mins: false,
        }
    }
}

/// Up to 256 columns of 16 rows of weights, as words.
#[repr(C, align(64))]
pub(crate) struct WordSpan {
    /// Values times the integer scales of their sub-blocks. For each 32 columns: those that
    /// [`Words::words`] gives first of the eight quads, then the others.
    pub(crate) words: [[[[i16; 2]; GROUP_ROWS]; CHUNK_LEN / 2]; Self::LEN / CHUNK_LEN],
    /// The float scales of its blocks.
    pub(crate) scales: [[f32; GROUP_ROWS]; Self::LEN / CHUNK_LEN],
    /// Columns of a block.
    pub(crate) block_len: usize,
    /// Blocks that it has.
    pub(crate) n_blocks: usize,
}

impl WordSpan {
    /// Columns of a whole one.
    pub(crate) const LEN: usize = 256;

    /// Without blocks.
    pub(crate) fn new(block_len: usize) -> Self {
        Self {
            words: [[[[0; 2]; GROUP_ROWS]; CHUNK_LEN / 2]; Self::LEN / CHUNK_LEN],
            scales: [[0.0; GROUP_ROWS]; Self::LEN / CHUNK_LEN],
            block_len,
            n_blocks: 0,
        }
    }
}

/// The shift that a 64-entry table makes up for when codes have `bits` bits from bit `shift` on
/// and only the low six bits of a byte select: all of it, or nothing.
pub(crate) const fn built_in(bits: u32, shift: i32) -> i32 {
    if shift + bits as i32 <= 6 { shift } else { 0 }
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

/// The bytes of a vector as i32 lanes.
fn lanes(v: [u8; 64]) -> [i32; 16] {
    std::array::from_fn(|r| {
        i32::from_le_bytes([v[4 * r], v[4 * r + 1], v[4 * r + 2], v[4 * r + 3]])
    })
}

fn from_lanes(lanes: [i32; 16]) -> [u8; 64] {
    std::array::from_fn(|i| lanes[i / 4].to_le_bytes()[i % 4])
}

/// Applies `f` to the 16-bit units.
fn units(v: [u8; 64], f: impl Fn(u16) -> u16) -> [u8; 64] {
    std::array::from_fn(|i| {
        let unit = u16::from_le_bytes([v[i & !1], v[i | 1]]);
        f(unit).to_le_bytes()[i % 2]
    })
}

fn zip(a: [u8; 64], b: [u8; 64], f: impl Fn(i32, i32) -> i32) -> [u8; 64] {
    let (a, b) = (lanes(a), lanes(b));
    from_lanes(std::array::from_fn(|r| f(a[r], b[r])))
}

impl Quads for Scalar {
    type V = [u8; 64];
    type F = [f32; 16];
    type Table = [u8; 64];

    const EXACT_U8: bool = true;
    const SHIFTS_IN_TABLE: bool = false;

    unsafe fn zero() -> Self::V {
        [0; 64]
    }
    unsafe fn splat(value: i32) -> Self::V {
        from_lanes([value; 16])
    }
    unsafe fn load(at: *const u8) -> Self::V {
        // SAFETY: 64 readable bytes, promised by the caller; byte arrays need no alignment.
        unsafe { at.cast::<[u8; 64]>().read() }
    }
    unsafe fn load_halves(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: 32 readable bytes each, promised by the caller.
        let halves = unsafe { [low, high].map(|at| at.cast::<[u8; 32]>().read()) };
        std::array::from_fn(|i| halves[i / 32][i % 32])
    }
    unsafe fn load_doubled(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: 16 readable bytes each, promised by the caller.
        let halves = unsafe { [low, high].map(|at| at.cast::<[u8; 16]>().read()) };
        std::array::from_fn(|i| halves[i / 32][i % 32 / 2])
    }
    unsafe fn load_nibbles(low: *const u8, high: *const u8) -> Self::V {
        // SAFETY: 16 readable bytes each, promised by the caller.
        let halves = unsafe { [low, high].map(|at| at.cast::<[u8; 16]>().read()) };
        std::array::from_fn(|i| halves[i / 32][i % 16] >> (4 * (i / 16 % 2)) & 15)
    }
    unsafe fn load_eight(at: *const i32) -> Self::V {
        // SAFETY: eight readable integers, promised by the caller.
        let eight = unsafe { at.cast::<[i32; 8]>().read_unaligned() };
        from_lanes(std::array::from_fn(|r| eight.get(r).copied().unwrap_or(0)))
    }
    unsafe fn widen_i8(at: *const u8) -> Self::V {
        // SAFETY: 16 readable bytes, promised by the caller.
        let bytes = unsafe { at.cast::<[u8; 16]>().read() };
        from_lanes(bytes.map(|byte| i32::from(byte as i8)))
    }
    unsafe fn widen_u8(at: *const u8) -> Self::V {
        // SAFETY: 16 readable bytes, promised by the caller.
        let bytes = unsafe { at.cast::<[u8; 16]>().read() };
        from_lanes(bytes.map(i32::from))
    }
    unsafe fn add_where(flags: u16, a: Self::V, b: Self::V) -> Self::V {
        let (a, b) = (lanes(a), lanes(b));
        from_lanes(std::array::from_fn(|r| {
            a[r].wrapping_add(if flags >> r & 1 == 1 { b[r] } else { 0 })
        }))
    }
    unsafe fn negate(mask: *const u8, a: Self::V, twice: Self::V) -> Self::V {
        // SAFETY: eight readable bytes, promised by the caller.
        let mask = u64::from_le_bytes(unsafe { mask.cast::<[u8; 8]>().read() });
        std::array::from_fn(|i| match mask >> i & 1 {
            1 => twice[i].wrapping_sub(a[i]),
            _ => a[i],
        })
    }
    unsafe fn bytes_where(mask: *const u8, a: Self::V) -> Self::V {
        // SAFETY: eight readable bytes, promised by the caller.
        let mask = u64::from_le_bytes(unsafe { mask.cast::<[u8; 8]>().read() });
        std::array::from_fn(|i| if mask >> i & 1 == 1 { a[i] } else { 0 })
    }
    unsafe fn abs(a: Self::V) -> Self::V {
        a.map(|byte| (byte as i8).unsigned_abs())
    }
    unsafe fn and(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] & b[i])
    }
    unsafe fn xor(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] ^ b[i])
    }
    unsafe fn select(mask: Self::V, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] & mask[i] | b[i] & !mask[i])
    }
    unsafe fn shr16<const N: i32>(a: Self::V) -> Self::V {
        units(a, |unit| unit >> N)
    }
    unsafe fn shr_halves(a: Self::V, low: i32, high: i32) -> Self::V {
        let shifted = [units(a, |unit| unit >> low), units(a, |unit| unit >> high)];
        std::array::from_fn(|i| shifted[i / 32][i])
    }
    unsafe fn shl16<const N: i32>(a: Self::V) -> Self::V {
        units(a, |unit| unit << N)
    }
    unsafe fn shl32<const N: i32>(a: Self::V) -> Self::V {
        from_lanes(lanes(a).map(|lane| lane << N))
    }
    unsafe fn sar32<const N: i32>(a: Self::V) -> Self::V {
        from_lanes(lanes(a).map(|lane| lane >> N))
    }
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, i32::wrapping_add)
    }
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, i32::wrapping_mul)
    }
    unsafe fn dot16(acc: Self::V, a: Self::V, b: Self::V) -> Self::V {
        let word = |v: [u8; 64], i: usize| i32::from(i16::from_le_bytes([v[i], v[i + 1]]));
        let acc = lanes(acc);
        from_lanes(std::array::from_fn(|r| {
            let product = |i| word(a, i).wrapping_mul(word(b, i));
            acc[r]
                .wrapping_add(product(4 * r))
                .wrapping_add(product(4 * r + 2))
        }))
    }
    unsafe fn double_low(a: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i / 4 * 4 + i % 4 / 2])
    }
    unsafe fn double_high(a: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i / 4 * 4 + 2 + i % 4 / 2])
    }
    unsafe fn interleave(even: Self::V, odd: Self::V) -> Self::V {
        std::array::from_fn(|i| if i % 2 == 0 { even[i] } else { odd[i] })
    }
    unsafe fn table(bytes: &[u8; 64]) -> Self::Table {
        *bytes
    }
    unsafe fn lookup<const BITS: u32, const SHIFT: i32>(
        table: &Self::Table,
        z: Self::V,
    ) -> Self::V {
        z.map(|byte| table[usize::from(byte >> SHIFT & (u8::MAX >> (8 - BITS)))])
    }
    unsafe fn points<const WIDTH: usize, const HIGH: usize>(
        grid: &Grid,
        at: *const u8,
    ) -> [Self::V; 8] {
        let mut quads = [[[0; 4]; 16]; 8];
        // SAFETY: whole vectors and masks of indices, promised by the caller; a grid has points
        // for all indices of its bits.
        unsafe {
            let n_vectors = 8 / WIDTH;
            let high = at.add(64 * n_vectors);
            for vector in 0..n_vectors {
                let mut masks = [0; HIGH];
                for (k, mask) in masks.iter_mut().enumerate() {
                    let at = high.add(8 * (vector * HIGH + k)).cast::<[u8; 8]>();
                    *mask = u64::from_le_bytes(at.read());
                }
                for i in 0..64 {
                    let mut index = usize::from(at.add(64 * vector + i).read());
                    for (k, mask) in masks.iter().enumerate() {
                        index |= ((mask >> i & 1) as usize) << (8 + k);
                    }
                    let point = grid.codes.as_ptr().add(WIDTH * index);
                    let p = 4 * vector + i % 4;
                    for part in 0..WIDTH / 4 {
                        quads[WIDTH / 4 * p + part][i / 4] =
                            point.add(4 * part).cast::<[u8; 4]>().read();
                    }
                }
            }
        }
        quads.map(|quad: [[u8; 4]; 16]| std::array::from_fn(|i| quad[i / 4][i % 4]))
    }
    unsafe fn dot_lanes<const WIDE: bool>(acc: Self::V, w: Self::V, a: Self::V) -> Self::V {
        let acc = lanes(acc);
        from_lanes(std::array::from_fn(|r| {
            (4 * r..4 * r + 4).fold(acc[r], |sum, i| {
                sum + i32::from(w[i]) * i32::from(a[i] as i8)
            })
        }))
    }
    unsafe fn spread<const LANES: usize>(a: Self::V, v: usize) -> Self::V {
        let a = lanes(a);
        from_lanes(std::array::from_fn(|l| a[(16 * v + l) / LANES]))
    }
    unsafe fn sum(a: Self::V) -> i32 {
        lanes(a).iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
    }
    unsafe fn eights(a: [Self::V; 4]) -> Self::V {
        let eight = |k: usize| lanes(a[k / 2])[k % 2 * 8..][..8].iter().sum();
        from_lanes(std::array::from_fn(|k| if k < 8 { eight(k) } else { 0 }))
    }
    unsafe fn f_zero() -> Self::F {
        [0.0; 16]
    }
    unsafe fn f_splat(value: f32) -> Self::F {
        [value; 16]
    }
    unsafe fn f_load_f16(at: *const u8) -> Self::F {
        // SAFETY: 32 readable bytes, promised by the caller.
        let bytes = unsafe { at.cast::<[[u8; 2]; 16]>().read() };
        bytes.map(|bytes| f16::from_le_bytes(bytes).to_f32())
    }
    unsafe fn f_load(at: *const u8) -> Self::F {
        // SAFETY: 64 readable bytes, promised by the caller.
        let bytes = unsafe { at.cast::<[[u8; 4]; 16]>().read() };
        bytes.map(f32::from_le_bytes)
    }
    unsafe fn f_store(values: Self::F, at: *mut f32) {
        // SAFETY: room for 16 floats, promised by the caller.
        unsafe { at.cast::<[f32; 16]>().write_unaligned(values) }
    }
    unsafe fn f_from(a: Self::V) -> Self::F {
        lanes(a).map(|lane| lane as f32)
    }
    unsafe fn f_from_bits(a: Self::V) -> Self::F {
        lanes(a).map(|lane| f32::from_bits(lane.cast_unsigned()))
    }
    unsafe fn f_mul(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|r| a[r] * b[r])
    }
    unsafe fn f_neg(a: Self::F) -> Self::F {
        a.map(|a| -a)
    }
    unsafe fn f_fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|r| a[r].mul_add(b[r], c[r]))
    }
}
