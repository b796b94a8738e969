//! The K-quants of llama.cpp, its IQ4 types, and the other types of 32 weights: decoders against
//! published hashes, plain encoders against those of the `gguf` package, searching encoders
//! against the losses of ik_llama.cpp.

mod golden_rows;

use golden_rows::{Lcg, N};
use perigee_quant::QuantKind;
use sha2::{Digest, Sha256};

/// Hexadecimal digits of the SHA-256 of `bytes`.
fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row of 512 weights: bytes of a generator seeded with the type's id, then in block k the
/// scale 0x2C00 + k at byte `d` and, where there is one, the minimum 0x2800 + k at byte `m`.
fn deterministic_row(kind: QuantKind, d: usize, m: Option<usize>) -> Vec<u8> {
    let mut lcg = Lcg(kind.id());
    let n_bytes = kind.row_bytes(512).unwrap();
    let mut row: Vec<u8> = (0..n_bytes).map(|_| (lcg.next() >> 24) as u8).collect();
    for (k, block) in row.chunks_exact_mut(kind.block_bytes()).enumerate() {
        block[d..d + 2].copy_from_slice(&(0x2C00 + k as u16).to_le_bytes());
        if let Some(m) = m {
            block[m..m + 2].copy_from_slice(&(0x2800 + k as u16).to_le_bytes());
        }
    }
    row
}

#[test]
fn deterministic_rows_decode_to_the_values_of_the_reference_decoders() {
    for (kind, d, m, hash, ends) in [
        (
            QuantKind::Q4_1,
            0,
            Some(2),
            "3a3e48489e4802b6572ba5b92eded647",
            [0.15625, 0.84375, 0.158_538_82],
        ),
        (
            QuantKind::Q5_0,
            0,
            None,
            "d10e8b446f3289fdfd19099d43e8704a",
            [0.875, -0.8125, -0.951_232_9],
        ),
        (
            QuantKind::Q5_1,
            0,
            Some(2),
            "11ae8fe317bd6d037e0d71765280d179",
            [0.09375, 0.71875, 0.158_538_82],
        ),
        (
            QuantKind::Q6_0,
            0,
            None,
            "a290fb119ac473037a65259447d1f7c2",
            [0.25, 1.0625, 0.887_817_4],
        ),
        (
            QuantKind::Q2K,
            80,
            Some(82),
            "cde5c0ace1ba7f93755fb10e0080cf98",
            [0.71875, 1.53125, 0.062_561_035],
        ),
        (
            QuantKind::Q3K,
            108,
            None,
            "17fb0bd0b8722202210c79bb87050ed9",
            [-5.0625, 6.75, -7.507_324],
        ),
        (
            QuantKind::Q4K,
            0,
            Some(2),
            "2995d3e7d04f4ff4e1e67ccf706b36c5",
            [21.8125, 28.0, -0.469_207_76],
        ),
        (
            QuantKind::Q5K,
            0,
            Some(2),
            "9815404b149c12e3223aa2b1397ade73",
            [6.5625, 9.5625, 0.531_768_8],
        ),
        (
            QuantKind::Iq4Nl,
            0,
            None,
            "e1749e5b3b9b9af4dd6cdf6a1b373796",
            [-4.0625, 0.0625, -4.122_009_3],
        ),
        (
            QuantKind::Iq4Xs,
            0,
            None,
            "85475d0d06318aa10c92d5737745357b",
            [21.875, 6.25, 17.892_456],
        ),
    ] {
        let mut y = vec![0.0; 512];
        kind.dequantize_row(&deterministic_row(kind, d, m), &mut y);
        assert_eq!([y[0], y[1], y[511]], ends, "{}", kind.name());
        // The published hashes are of values whose zeros have no sign.
        let bytes: Vec<u8> = y.iter().flat_map(|y| (y + 0.0).to_le_bytes()).collect();
        assert_eq!(sha256(&bytes)[..32], *hash, "{}", kind.name());
    }
}

/// The rows of the loss tables with blocks of zeros, of ties, of scales that are subnormal as
/// f16, and of one value.
fn rows_with_odd_blocks(distribution: &str) -> Vec<f32> {
    let (mut x, _) = golden_rows::rows(distribution);
    x[N..][..64].fill(0.0);
    for x in &mut x[2 * N..][32..64] {
        *x = (*x * 8.0).round_ties_even() / 16.0;
    }
    for x in &mut x[3 * N..][64..96] {
        *x *= 1e-7;
    }
    x[4 * N..][96..128].fill(0.3);
    x
}

/// The hashes are of what `gguf.quants.quantize` makes of the same rows.
#[test]
fn without_importances_rounding_types_have_the_bytes_of_the_reference_encoders() {
    for (kind, hash) in [
        (
            QuantKind::Q4_1,
            "37f5935691ae0a79d8aafe69f3097961f4b97035681aa5a3b1837bc2edf3e4fe",
        ),
        (
            QuantKind::Q5_0,
            "a76b1f24138e3f8cabf9d78387c8b013d208f1278aa2763458a5ef5b9e10c7c2",
        ),
        (
            QuantKind::Q5_1,
            "6abc1e441601840ecbc72430aab0c2c9d3d86ae81efc3cda8d39a86757cd1997",
        ),
    ] {
        let mut encoded = Vec::new();
        let mut bytes = vec![0; kind.row_bytes(N).unwrap()];
        for distribution in ["gaussian", "product", "outliers"] {
            for x in rows_with_odd_blocks(distribution).chunks_exact(N) {
                kind.quantize_row(x, None, &mut bytes).unwrap();
                encoded.extend_from_slice(&bytes);
            }
        }
        assert_eq!(sha256(&encoded), hash, "{}", kind.name());
    }
}

/// Sub-blocks whose magnitudes are far apart: those of next to nothing must cost the others
/// nothing, whatever their shares of the sums that choose a scale.
#[test]
fn sub_blocks_of_next_to_nothing_leave_the_others_alone() {
    for kind in [
        QuantKind::Q2K,
        QuantKind::Q3K,
        QuantKind::Q4K,
        QuantKind::Q5K,
        QuantKind::Iq4Xs,
    ] {
        for tiny in [0.0, 1e-6, 1e-15, 1e-25, 1e-40] {
            let mut x: Vec<f32> = (0..256)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
                .collect();
            for x in &mut x[64..] {
                *x *= tiny;
            }
            for importance in [None, Some([2.0; 256].as_slice())] {
                let mut bytes = vec![0; kind.block_bytes()];
                kind.quantize_row(&x, importance, &mut bytes).unwrap();
                let mut y = [0.0; 256];
                kind.dequantize_row(&bytes, &mut y);
                for (x, y) in x.iter().zip(&y) {
                    let bound = if kind == QuantKind::Q2K { 0.4 } else { 0.2 };
                    assert!(
                        (x - y).abs() < bound,
                        "{} {tiny}: {x} became {y}",
                        kind.name()
                    );
                }
            }
        }
    }
}
