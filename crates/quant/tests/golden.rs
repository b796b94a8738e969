//! Agreement with other programs on the bytes of `testdata`; `make_golden.py` there says which.

use std::path::Path;

use half::f16;
use perigee_quant::QuantKind;

/// `(bytes, weights)` of every row of a golden file.
type Rows = Vec<(Vec<u8>, Vec<f32>)>;

fn read(folder: &str, name: &str) -> (usize, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/{folder}/{name}.bin"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert!(word(0) > 0 && word(4) == 512, "{}", path.display());
    (word(0), bytes[8..].to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks::<4>().0;
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

fn decode_rows(kind: QuantKind, name: &str) -> Rows {
    let (n_rows, bytes) = read("decode", name);
    let row_bytes = kind.row_bytes(512).unwrap();
    let rows = bytes.chunks_exact(row_bytes + 4 * 512);
    assert!(
        rows.remainder().is_empty() && rows.len() == n_rows,
        "{name}"
    );
    rows.map(|row| (row[..row_bytes].to_vec(), floats(&row[row_bytes..])))
        .collect()
}

#[track_caller]
fn assert_same_bits(what: &str, got: &[f32], want: &[f32]) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
        assert!(same, "{what}, weight {i}: {got:e}, expected {want:e}");
    }
}

#[test]
fn every_kind_decodes_as_other_programs_decode_it() {
    for &kind in QuantKind::ALL {
        let rows = decode_rows(kind, kind.name());
        for (r, (bytes, want)) in rows.iter().enumerate() {
            let mut got = vec![0.0; want.len()];
            kind.dequantize_row(bytes, &mut got);
            assert_same_bits(&format!("{}, row {r}", kind.name()), &got, want);
        }
    }
}

/// ik's scalar decoder of IQ6_K follows a cubic within half a unit of the table.
#[test]
fn iq6_k_is_within_half_a_table_unit_of_the_cubic() {
    let mut n_different = 0;
    for (bytes, cubic) in decode_rows(QuantKind::Iq6K, "IQ6_K_cubic") {
        let mut got = vec![0.0; cubic.len()];
        QuantKind::Iq6K.dequantize_row(&bytes, &mut got);
        for (i, (got, cubic)) in got.iter().zip(&cubic).enumerate() {
            let block = &bytes[212 * (i / 256)..];
            let d = f16::from_le_bytes([block[0], block[1]]).to_f32();
            let unit = d * f32::from(block[4 + i % 256 / 16] as i8);
            if unit.is_finite() {
                let distance = (got - cubic).abs();
                assert!(
                    distance <= 0.49 * unit.abs(),
                    "weight {i}: {got} and {cubic}"
                );
                n_different += usize::from(distance > 0.1 * unit.abs());
            }
        }
    }
    assert!(n_different > 500, "the file holds the cubic's values");
}

#[test]
fn kinds_that_round_plainly_encode_to_the_bytes_of_other_programs() {
    for kind in [
        QuantKind::F16,
        QuantKind::Bf16,
        QuantKind::Q4_0,
        QuantKind::Q8_0,
    ] {
        let (_, bytes) = read("encode", kind.name());
        let rows = bytes.chunks_exact(4 * 512 + kind.row_bytes(512).unwrap());
        assert!(rows.remainder().is_empty());
        for (r, row) in rows.enumerate() {
            let (x, want) = row.split_at(4 * 512);
            let mut got = vec![0; want.len()];
            kind.quantize_row(&floats(x), None, &mut got).unwrap();
            if kind.block_len() > 1 {
                assert_eq!(got, want, "{}, row {r}", kind.name());
            }
            let decoded = [got.as_slice(), want].map(|bytes| {
                let mut y = vec![0.0; 512];
                kind.dequantize_row(bytes, &mut y);
                y
            });
            assert_same_bits(
                &format!("{}, row {r}", kind.name()),
                &decoded[0],
                &decoded[1],
            );
        }
    }
}
