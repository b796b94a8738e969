//! What holds for any bytes and any weights.

use perigee_quant::{QuantKind, quantize_q4_0_symmetric};
use proptest::prelude::*;

const N: usize = 512;

fn kinds_with_encoders() -> impl Iterator<Item = QuantKind> {
    let kinds = QuantKind::ALL.iter().copied();
    kinds.filter(|kind| kind.has_encoder())
}

fn round_trip(kind: QuantKind, x: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let mut bytes = vec![0; kind.row_bytes(x.len()).unwrap()];
    kind.quantize_row(x, importance, &mut bytes).unwrap();
    decoded(kind, &bytes, x.len())
}

fn decoded(kind: QuantKind, bytes: &[u8], n: usize) -> Vec<f32> {
    let mut y = vec![0.0; n];
    kind.dequantize_row(bytes, &mut y);
    y
}

/// Weights that share a scale.
fn scale_len(kind: QuantKind) -> usize {
    if kind.row_meta_bytes() > 0 {
        N
    } else {
        kind.block_len()
    }
}

/// Largest error relative to the largest weight that shares the scale, by the widest gap of the codes
/// and, where sub-blocks have scales of their own, the coarseness of those.
fn error_bound(kind: QuantKind) -> f32 {
    match kind {
        QuantKind::F32 => 0.0,
        QuantKind::F16 => 2.0_f32.powi(-11),
        QuantKind::Bf16 => 2.0_f32.powi(-8),
        QuantKind::Q8_0 => 0.6 / 127.0,
        QuantKind::Q6K => 0.06,
        QuantKind::Q4_0 => 1.01 / 8.0,
        QuantKind::Iq4K => 0.2,
        QuantKind::Iq4Ks => 0.2,
        QuantKind::Iq5K | QuantKind::Iq5Ks => 0.12,
        QuantKind::Iq6K => 0.06,
        QuantKind::Iq3K | QuantKind::Iq3Ks => 0.4,
        QuantKind::Iq2K | QuantKind::Iq2Ks | QuantKind::Iq2Kl => 0.8,
        QuantKind::Q4_1 => 0.1,
        QuantKind::Q4K => 0.2,
        QuantKind::Q5_0 => 1.01 / 16.0,
        QuantKind::Q5_1 => 0.05,
        QuantKind::Q5K => 0.1,
        QuantKind::Q6_0 => 0.05,
        QuantKind::Q3K => 0.3,
        QuantKind::Q2K => 0.5,
        QuantKind::Iq4Nl | QuantKind::Iq4Xs => 0.2,
        _ => unreachable!("{} has no encoder", kind.name()),
    }
}

/// Weights of ordinary size: in 1e-2..1e3 f16 scales have all their bits.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let scale = prop_oneof![Just(1.0_f32), Just(1000.0), Just(0.01)];
    let weight = prop_oneof![8 => (-999_999..1_000_000_i32).prop_map(|i| i as f32 * 1e-6), 1 => Just(0.0), 1 => Just(1.0), 1 => Just(-1.0)];
    (scale, prop::collection::vec(weight, N))
        .prop_map(|(scale, x)| x.iter().map(|x| scale * x).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode(seed in prop::collection::vec(any::<u8>(), 4 * N)) {
        for &kind in QuantKind::ALL {
            decoded(kind, &seed[..kind.row_bytes(N).unwrap()], N);
        }
    }

    #[test]
    fn decoding_what_was_encoded_stays_within_the_bound_of_the_kind(
        x in weights(),
        importance in prop::collection::vec((1..1000_u32).prop_map(|q| q as f32 / 100.0), N),
    ) {
        for kind in kinds_with_encoders() {
            let block_len = scale_len(kind);
            let y = round_trip(kind, &x, None);
            for (x, y) in x.chunks(block_len).zip(y.chunks(block_len)) {
                let largest = x.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
                for (x, y) in x.iter().zip(y) {
                    // f16 has steps of 2⁻²⁴ at the least.
                    let bound = error_bound(kind) * largest + 2.0_f32.powi(-25);
                    prop_assert!((x - y).abs() <= bound, "{}: {x} became {y}, block of {largest}", kind.name());
                }
            }
            let y = round_trip(kind, &x, Some(&importance));
            prop_assert!(y.iter().all(|y| y.is_finite()), "{}", kind.name());
        }
    }

    #[test]
    fn any_weights_and_importances_encode(
        x in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), N),
        importance in prop::collection::vec(any::<u32>().prop_map(f32::from_bits), N),
    ) {
        for kind in kinds_with_encoders() {
            round_trip(kind, &x, None);
            round_trip(kind, &x, Some(&importance));
        }
        quantize_q4_0_symmetric(&x, &mut vec![0; N / 32 * 18]);
    }

    #[test]
    fn floats_of_every_magnitude_encode_to_finite_blocks_or_overflow(exponent in -140_i32..38, x in weights()) {
        let x: Vec<f32> = x.iter().map(|x| x / 1000.0 * 10.0_f32.powi(exponent)).collect();
        for kind in kinds_with_encoders().filter(|kind| kind.block_len() > 1) {
            for importance in [None, Some(x.as_slice())] {
                let y = round_trip(kind, &x, importance);
                prop_assert!(exponent > 3 || y.iter().all(|y| y.is_finite()), "{}", kind.name());
                prop_assert!(exponent > -15 || y.iter().all(|&y| y == 0.0), "{}", kind.name());
            }
        }
    }

    /// An int4-trained group: integers −7..=7 with an extreme among them, times a bf16 scale.
    #[test]
    fn symmetric_q4_0_keeps_weights_that_lie_on_its_grid(
        scale in (0x3A00_u32..0x3F00).prop_map(|bits| f32::from_bits(bits << 16)),
        mut integers in prop::collection::vec(-7_i32..=7, 32),
        at in 0..32_usize,
    ) {
        integers[at] = if integers[at] < 0 { -7 } else { 7 };
        let x: Vec<f32> = integers.iter().map(|&q| q as f32 * scale).collect();
        let mut bytes = [0; 18];
        quantize_q4_0_symmetric(&x, &mut bytes);
        prop_assert_eq!(decoded(QuantKind::Q4_0, &bytes, 32), x);
    }
}

#[test]
fn one_weight_that_is_no_number_makes_its_block_no_number_and_no_other() {
    for kind in kinds_with_encoders().filter(|kind| kind.block_len() > 1) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let mut x = vec![0.5; N];
            x[3] = bad;
            for importance in [None, Some([1.0; N].as_slice())] {
                let y = round_trip(kind, &x, importance);
                let (first, rest) = y.split_at(scale_len(kind));
                assert!(
                    first.iter().all(|y| y.is_nan()),
                    "{} with {bad}",
                    kind.name()
                );
                assert!(
                    rest.iter().all(|y| (y - 0.5).abs() < 0.1),
                    "{} with {bad}",
                    kind.name()
                );
            }
        }
    }
    for kind in [QuantKind::F32, QuantKind::F16, QuantKind::Bf16] {
        let y = round_trip(kind, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], None);
        assert!(y[0].is_nan(), "{}", kind.name());
        assert_eq!(
            &y[1..],
            [f32::INFINITY, f32::NEG_INFINITY],
            "{}",
            kind.name()
        );
    }
}

#[test]
fn zeros_encode_to_zeros() {
    for kind in kinds_with_encoders() {
        for importance in [None, Some([0.0; N].as_slice())] {
            assert!(
                round_trip(kind, &[0.0; N], importance)
                    .iter()
                    .all(|&y| y == 0.0),
                "{}",
                kind.name()
            );
        }
    }
}

#[test]
fn columns_without_importance_lose_at_most_twice_the_usual() {
    let x: Vec<f32> = (0..N)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
        .collect();
    let importance: Vec<f32> = (0..N)
        .map(|i| if i / 16 % 2 == 0 { 0.0 } else { 3.0 })
        .collect();
    for kind in kinds_with_encoders() {
        let y = round_trip(kind, &x, Some(&importance));
        for (x, y) in x.iter().zip(&y) {
            assert!(
                (x - y).abs() <= 2.0 * error_bound(kind),
                "{}: {x} became {y}",
                kind.name()
            );
        }
    }
}

#[test]
fn f16_decodes_all_its_words() {
    let words: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (word, y) in words
        .iter()
        .zip(decoded(QuantKind::F16, &bytes, words.len()))
    {
        let (exponent, fraction) = (i32::from(word >> 10 & 31), f32::from(word & 1023));
        let magnitude = match exponent {
            0 => fraction * 2.0_f32.powi(-24),
            31 if fraction > 0.0 => f32::NAN,
            31 => f32::INFINITY,
            _ => (1024.0 + fraction) * 2.0_f32.powi(exponent - 25),
        };
        let want = if word >> 15 == 1 {
            -magnitude
        } else {
            magnitude
        };
        assert!(
            y.to_bits() == want.to_bits() || y.is_nan() && want.is_nan(),
            "{word:#06x}: {y:e}, expected {want:e}"
        );
    }
}
