//! Packed integers of 4 bits to Q4_0, without loss.
//!
//! `pack-quantized` holds a row as int32 words, each with eight codes q + 8, the lowest nibble
//! first, and one scale for 32 columns. Q4_0 has the same codes and one f16 for 32 weights,
//! with code i in the low and code i + 16 in the high nibble of byte i. What can differ is the
//! scale: a bf16 is an f16 too if it is 0, or from 2⁻¹⁴ to below 2¹⁶, or smaller and a multiple
//! of 2⁻²⁴. Beyond that a group is still exact if integers and scale have a common factor to
//! move between them.

use half::f16;

/// Codes of a group.
pub(crate) const GROUP: usize = 32;
/// Bytes of a group's codes.
pub(crate) const PACKED_BYTES: usize = 16;
/// Bytes of a Q4_0 block.
const BLOCK_BYTES: usize = 18;

/// How the scales of some groups became f16, for those that needed more than a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Exact after a factor moved between integers and scale.
    pub(crate) recovered: u64,
    /// Rounded to the nearest f16.
    pub(crate) rounded: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.recovered += other.recovered;
        self.rounded += other.rounded;
    }
}

/// A group whose scale no f16 can stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Inexact {
    /// Index of the group in its row.
    pub(crate) group: usize,
    pub(crate) scale: f32,
}

/// Repacks one row: 16 bytes of `packed` and one scale for every 18 bytes of `out`. With
/// `round`, a finite scale without an exact f16 becomes the nearest one.
pub(crate) fn repack_row(
    packed: &[u8],
    scales: &[f32],
    round: bool,
    out: &mut [u8],
) -> Result<Tally, Inexact> {
    let mut tally = Tally::default();
    let groups = packed.as_chunks::<PACKED_BYTES>().0.iter().zip(scales);
    for (group, ((packed, &scale), block)) in
        groups.zip(out.as_chunks_mut::<BLOCK_BYTES>().0).enumerate()
    {
        let d = f16::from_f32(scale);
        if d.is_finite() && d.to_f32() == scale {
            put(d, &codes(packed), block);
        } else if let Some((d, codes)) = recover(&codes(packed), scale) {
            tally.recovered += 1;
            put(d, &codes, block);
        } else if round && d.is_finite() {
            tally.rounded += 1;
            put(d, &codes(packed), block);
        } else {
            return Err(Inexact { group, scale });
        }
    }
    Ok(tally)
}

/// The codes q + 8 in column order.
fn codes(packed: &[u8; PACKED_BYTES]) -> [u8; GROUP] {
    // Words are little-endian, so that nibbles follow each other in the order of bytes.
    std::array::from_fn(|i| (packed[i / 2] >> (4 * (i % 2))) & 15)
}

fn put(d: f16, codes: &[u8; GROUP], block: &mut [u8; BLOCK_BYTES]) {
    block[..2].copy_from_slice(&d.to_le_bytes());
    for (i, byte) in block[2..].iter_mut().enumerate() {
        *byte = codes[i] | codes[i + 16] << 4;
    }
}

/// Other codes and an f16 with the same products, if there are any: integers q·m/n with the
/// scale s·n/m. A small scale takes a factor from the integers, a large one gives them some.
fn recover(codes: &[u8; GROUP], scale: f32) -> Option<(f16, [u8; GROUP])> {
    let integers = codes.map(|code| i32::from(code) - 8);
    if !scale.is_finite() {
        return None;
    }
    if integers.iter().all(|&q| q == 0) {
        return Some((f16::ZERO, *codes));
    }
    for n in 1..=8 {
        if integers.iter().any(|q| q % n != 0) {
            continue;
        }
        for m in 1..=8 {
            let moved = integers.map(|q| q / n * m);
            let wanted = f64::from(scale) * f64::from(n) / f64::from(m);
            let d = f16::from_f64(wanted);
            // The quotient may have been rounded: what counts is the products.
            let exact =
                d.is_finite() && f64::from(d) * f64::from(m) == f64::from(scale) * f64::from(n);
            if exact && moved.iter().all(|q| (-8..=7).contains(q)) {
                return Some((d, moved.map(|q| (q + 8) as u8)));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use perigee_quant::QuantKind;
    use proptest::prelude::*;

    use super::*;

    /// Packs as compressed-tensors does: word by word, shifts of 4.
    fn pack(integers: &[i32]) -> Vec<u8> {
        let words = integers.chunks(8).map(|eight| {
            let fields = eight.iter().enumerate();
            fields.fold(0_u32, |word, (i, q)| word | ((q + 8) as u32) << (4 * i))
        });
        words.flat_map(u32::to_le_bytes).collect()
    }

    fn decode(block: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; block.len() / 18 * 32];
        QuantKind::Q4_0.dequantize_row(block, &mut out);
        out
    }

    fn repack(integers: &[i32], scale: f32, round: bool) -> Result<(Vec<f32>, Tally), Inexact> {
        let mut out = vec![0; integers.len() / 32 * 18];
        let scales = vec![scale; integers.len() / 32];
        let tally = repack_row(&pack(integers), &scales, round, &mut out)?;
        Ok((decode(&out), tally))
    }

    fn products(integers: &[i32], scale: f32) -> Vec<f32> {
        integers.iter().map(|&q| q as f32 * scale).collect()
    }

    /// All 32 integers of a group, from −8 to 7 and back.
    fn all_integers() -> Vec<i32> {
        (0..32)
            .map(|i| if i < 16 { i - 8 } else { 23 - i })
            .collect()
    }

    #[test]
    fn every_integer_survives_under_every_bf16_that_is_an_f16() {
        let integers = all_integers();
        let (mut exact, mut refused) = (0, 0);
        for bits in 0..=u16::MAX {
            let scale = bf16::from_bits(bits).to_f32();
            match repack(&integers, scale, false) {
                Ok((decoded, tally)) => {
                    assert_eq!(tally, Tally::default());
                    assert_eq!(decoded, products(&integers, scale), "scale {scale:e}");
                    exact += 1;
                }
                Err(inexact) => {
                    assert_eq!(inexact.scale.to_bits(), scale.to_bits());
                    let magnitude = f64::from(scale).abs();
                    let representable =
                        magnitude < 65_504.0 && (magnitude * 2f64.powi(24)).fract() == 0.0;
                    assert!(!representable, "scale {scale:e}");
                    refused += 1;
                }
            }
        }
        // Of both signs: zero; 128 values for each exponent from −14 to 15 and from −17 to −15;
        // below, the multiples of 2⁻²⁴, of which an exponent has half as many as the one above.
        assert_eq!(exact, 2 * (1 + 30 * 128 + 3 * 128 + 127));
        assert_eq!(exact + refused, 1 << 16);
    }

    proptest! {
        #[test]
        fn integers_and_scales_come_back(
            integers in prop::collection::vec(-8..=7_i32, 96),
            exponent in -14..16_i32,
            significand in 128..256_i32,
            negative: bool,
        ) {
            let sign = if negative { -1.0 } else { 1.0 };
            let scale = sign * significand as f32 / 128.0 * 2f32.powi(exponent);
            prop_assert_eq!(bf16::from_f32(scale).to_f32(), scale);
            let (decoded, tally) = repack(&integers, scale, false).unwrap();
            prop_assert_eq!(tally, Tally::default());
            prop_assert_eq!(decoded, products(&integers, scale));
        }

        /// Whatever the scale: exact products, or a refusal.
        #[test]
        fn nothing_is_rounded_unasked(
            integers in prop::collection::vec(-8..=7_i32, 32),
            factor in 1..=8_i32,
            bits: u16,
        ) {
            let integers: Vec<i32> = integers.iter().map(|q| q / factor * factor).collect();
            let scale = bf16::from_bits(bits).to_f32();
            if let Ok((decoded, _)) = repack(&integers, scale, false) {
                prop_assert_eq!(decoded, products(&integers, scale));
            }
        }
    }

    #[test]
    fn a_common_factor_brings_small_and_large_scales_back() {
        let tally = Tally {
            recovered: 1,
            rounded: 0,
        };
        let even: Vec<i32> = (0..32).map(|i| (i % 8 - 4) * 2).collect();
        let small = 1.5 * 2f32.powi(-25);
        let sixes: Vec<i32> = (0..32).map(|i| (i % 3 - 1) * 6).collect();
        let ones: Vec<i32> = (0..32).map(|i| i % 2).collect();
        let zeros = vec![0; 32];
        let cases = [
            (&even, 2f32.powi(-25)),
            (&sixes, 2f32.powi(-25)),
            (&sixes, 2f32.powi(-24) / 2.0 * 3.0),
            (&ones, 2f32.powi(17)),
            (&zeros, 1e30),
            (&zeros, small),
        ];
        for (integers, scale) in cases {
            let (decoded, found) = repack(integers, scale, false).unwrap();
            assert_eq!(decoded, products(integers, scale), "scale {scale:e}");
            assert_eq!(found, tally, "scale {scale:e}");
        }
    }

    #[test]
    fn other_scales_are_refused_or_rounded_as_asked() {
        let integers = all_integers();
        for scale in [2f32.powi(-25), 1.25 * 2f32.powi(-23), 1e-30] {
            let refused = repack(&integers, scale, false);
            assert_eq!(refused, Err(Inexact { group: 0, scale }));
            let (decoded, tally) = repack(&integers, scale, true).unwrap();
            assert_eq!(
                tally,
                Tally {
                    recovered: 0,
                    rounded: 1
                }
            );
            for (got, want) in decoded.iter().zip(products(&integers, scale)) {
                assert!((got - want).abs() <= 8.0 * 2f32.powi(-25));
            }
        }
        for scale in [65_536.0, 1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            assert!(repack(&integers, scale, true).is_err(), "scale {scale:e}");
        }
        assert!(repack(&[0; 32], f32::NAN, true).is_err());
    }

    #[test]
    fn the_refusal_names_the_group() {
        let mut out = [0; 36];
        let packed = pack(&[all_integers(), all_integers()].concat());
        let refused = repack_row(&packed, &[1.0, 1e-30], false, &mut out);
        assert_eq!(
            refused.unwrap_err(),
            Inexact {
                group: 1,
                scale: 1e-30
            }
        );
    }
}
