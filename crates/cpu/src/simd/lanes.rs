//! Sixteen floats in registers.

/// Floats that are worked on side by side.
pub(crate) const LANES: usize = 16;

/// Sixteen floats in registers. Every implementation computes the same bits.
///
/// All methods require that the CPU has the instruction set of the implementation.
pub(crate) trait Lanes: Copy {
    /// Whether there are registers for 8 × 2 sums at a time; else for 6.
    const MANY_REGISTERS: bool;

    /// Sixteen equal values.
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: &[f32; LANES]) -> Self;
    unsafe fn store(self, to: &mut [f32; LANES]);
    /// The values of sixteen little-endian binary16 numbers.
    unsafe fn from_f16(bytes: &[u8; 2 * LANES]) -> Self;
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

impl Lanes for [f32; LANES] {
    const MANY_REGISTERS: bool = false;

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
    unsafe fn from_f16(bytes: &[u8; 2 * LANES]) -> Self {
        let mut values = [0.0; LANES];
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *value = f16_value(u16::from_le_bytes(*bytes));
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
