//! Sixteen floats in registers.

/// Floats that are worked on side by side.
pub(crate) const LANES: usize = 16;

/// Two neighbouring integers.
pub(crate) type Pair = [i16; 2];

/// Sixteen floats in registers. Every implementation computes the same bits.
///
/// All methods require that the CPU has the instruction set of the implementation.
pub(crate) trait Lanes: Copy {
    /// Whether there are registers for 8 × 2 sums at a time; else for 6.
    const MANY_REGISTERS: bool;
    /// Sixteen i32 in registers.
    type Ints: Copy;

    /// Sixteen equal values.
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: &[f32; LANES]) -> Self;
    unsafe fn store(self, to: &mut [f32; LANES]);
    /// Sixteen values of one little-endian binary16 number.
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self;
    /// The values of sixteen little-endian binary16 numbers.
    unsafe fn from_f16(bytes: &[u8; 2 * LANES]) -> Self;
    /// The values of sixteen little-endian bfloat16 numbers.
    unsafe fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self;
    /// The values of sixteen signed bytes.
    unsafe fn from_i8(bytes: &[u8; LANES]) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self + a · b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// `self` where it is above `other`, else `other` (also where one is not a number).
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where it is below `other`, else `other` (also where one is not a number).
    unsafe fn min(self, other: Self) -> Self;
    /// Zero where `x` is below `limit`, else `self`.
    unsafe fn zero_below(self, x: Self, limit: f32) -> Self;
    /// `self · 2ⁿ` with `n` in −254..=254 as the low bits of `shifted`, see [`SHIFT`].
    unsafe fn scale(self, shifted: Self) -> Self;
    /// The lanes added by the tree of [`sum_tree`].
    unsafe fn sum(self) -> f32;
    /// The larger of `self`, which are magnitudes, and those of `x`. What is no number counts as
    /// above all numbers, and infinities as above all finite ones.
    unsafe fn most(self, x: Self) -> Self;
    /// The [`most`](Self::most) of all lanes, which are magnitudes.
    unsafe fn most_of_all(self) -> f32;
    /// The low halves of the lanes, neighbours in pairs: integers, where the lanes are numbers plus
    /// [`SHIFT`].
    unsafe fn store_i16(two: [Self; 2], to: &mut [Pair; LANES]);
    /// The low bytes of the lanes.
    unsafe fn store_i8(self, to: &mut [u8; LANES]);
    /// The low halves of two, side by side.
    unsafe fn store_pairs(first: Self, second: Self, to: &mut [Pair; LANES]);
    unsafe fn no_ints() -> Self::Ints;
    /// `sums[l] + a[0] · b[l][0] + a[1] · b[l][1]`; wraps.
    unsafe fn add_pairs(sums: Self::Ints, a: Pair, b: &[Pair; LANES]) -> Self::Ints;
    /// The nearest floats.
    unsafe fn from_ints(ints: Self::Ints) -> Self;
}

/// Adding this rounds to an integer, which is then in the low bits of the sum.
pub(super) const SHIFT: f32 = 12_582_912.0;

/// `2ⁿ`, for the `n` of [`Lanes::scale`], as two factors: each has an exponent of its own.
#[inline(always)]
pub(super) fn powers(shifted: f32) -> [f32; 2] {
    let n = (shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
    let half = n >> 1;
    [half, n.wrapping_sub(half)].map(|n| f32::from_bits((n.wrapping_add(127) as u32) << 23))
}

/// The value of a binary16 number.
#[inline(always)]
pub(crate) fn f16_value(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // The exponents differ by 112; a multiplication also brings subnormal numbers to their place.
    let value = f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23);
    let value = if bits & 0x7c00 == 0x7c00 {
        magnitude | 0x7f80_0000
    } else {
        value.to_bits()
    };
    f32::from_bits(sign | value)
}

/// The value of a little-endian bfloat16 number.
#[inline(always)]
pub(crate) fn bf16_value([low, high]: [u8; 2]) -> f32 {
    f32::from_le_bytes([0, 0, low, high])
}

/// What [`Lanes::store_i16`] stores of a lane.
#[inline(always)]
fn low_half(x: f32) -> i16 {
    x.to_bits() as i16
}

impl Lanes for [f32; LANES] {
    const MANY_REGISTERS: bool = false;
    type Ints = [i32; LANES];

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
    unsafe fn splat_f16(bytes: [u8; 2]) -> Self {
        [f16_value(u16::from_le_bytes(bytes)); LANES]
    }
    #[inline(always)]
    unsafe fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        let mut values = [0.0; LANES];
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *value = f16_value(u16::from_le_bytes(*bytes));
        }
        values
    }
    #[inline(always)]
    unsafe fn from_bf16(bytes: &[u8; 2 * LANES]) -> Self {
        let mut values = [0.0; LANES];
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *value = bf16_value(*bytes);
        }
        values
    }
    #[inline(always)]
    unsafe fn from_i8(bytes: &[u8; LANES]) -> Self {
        let mut values = [0.0; LANES];
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = f32::from(*byte as i8);
        }
        values
    }
    #[inline(always)]
    unsafe fn add(mut self, other: Self) -> Self {
        for l in 0..LANES {
            self[l] += other[l];
        }
        self
    }
    #[inline(always)]
    unsafe fn mul(mut self, other: Self) -> Self {
        for l in 0..LANES {
            self[l] *= other[l];
        }
        self
    }
    #[inline(always)]
    unsafe fn div(mut self, other: Self) -> Self {
        for l in 0..LANES {
            self[l] /= other[l];
        }
        self
    }
    #[inline(always)]
    unsafe fn fma(mut self, a: Self, b: Self) -> Self {
        for l in 0..LANES {
            self[l] = a[l].mul_add(b[l], self[l]);
        }
        self
    }
    #[inline(always)]
    unsafe fn max(mut self, other: Self) -> Self {
        for l in 0..LANES {
            self[l] = if self[l] > other[l] {
                self[l]
            } else {
                other[l]
            };
        }
        self
    }
    #[inline(always)]
    unsafe fn min(mut self, other: Self) -> Self {
        for l in 0..LANES {
            self[l] = if self[l] < other[l] {
                self[l]
            } else {
                other[l]
            };
        }
        self
    }
    #[inline(always)]
    unsafe fn zero_below(mut self, x: Self, limit: f32) -> Self {
        for l in 0..LANES {
            self[l] = if x[l] < limit { 0.0 } else { self[l] };
        }
        self
    }
    #[inline(always)]
    unsafe fn scale(mut self, shifted: Self) -> Self {
        for l in 0..LANES {
            let [a, b] = powers(shifted[l]);
            self[l] = self[l] * a * b;
        }
        self
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        sum_tree(self)
    }
    #[inline(always)]
    unsafe fn most(mut self, x: Self) -> Self {
        for l in 0..LANES {
            self[l] = f32::from_bits(self[l].to_bits().max(x[l].abs().to_bits()));
        }
        self
    }
    #[inline(always)]
    unsafe fn most_of_all(self) -> f32 {
        let mut most = 0;
        for lane in self {
            most = lane.to_bits().max(most);
        }
        f32::from_bits(most)
    }
    #[inline(always)]
    unsafe fn store_i16(two: [Self; 2], to: &mut [Pair; LANES]) {
        let halves = two.as_flattened().as_chunks::<2>().0.iter();
        for (to, lanes) in to.iter_mut().zip(halves) {
            *to = [low_half(lanes[0]), low_half(lanes[1])];
        }
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: &mut [u8; LANES]) {
        for l in 0..LANES {
            to[l] = self[l].to_bits() as u8;
        }
    }
    #[inline(always)]
    unsafe fn store_pairs(first: Self, second: Self, to: &mut [Pair; LANES]) {
        for l in 0..LANES {
            to[l] = [low_half(first[l]), low_half(second[l])];
        }
    }
    #[inline(always)]
    unsafe fn no_ints() -> Self::Ints {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn add_pairs(mut sums: Self::Ints, a: Pair, b: &[Pair; LANES]) -> Self::Ints {
        for l in 0..LANES {
            for i in 0..2 {
                sums[l] = sums[l].wrapping_add(i32::from(a[i]) * i32::from(b[l][i]));
            }
        }
        sums
    }
    #[inline(always)]
    unsafe fn from_ints(ints: Self::Ints) -> Self {
        let mut values = [0.0; LANES];
        for l in 0..LANES {
            values[l] = ints[l] as f32;
        }
        values
    }
}

/// Adds halves onto each other: 16, 8, 4, 2, 1.
#[inline(always)]
pub(crate) fn sum_tree(mut lanes: [f32; LANES]) -> f32 {
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] += lanes[l + width];
        }
    }
    lanes[0]
}
