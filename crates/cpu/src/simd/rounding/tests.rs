use perigee_quant::QuantKind;

use super::*;
use crate::noise::noise;
use crate::simd::{F16Row, Q8Row};

const LIMIT: f32 = 2047.0;

/// Rows of four that meet each other's columns, with a number of sixteens that is odd too.
#[test]
fn rows_are_rounded_alike_on_every_instruction_set() {
    const MAX: [f32; 4] = [3.0, 5.0, 2.0, 7.0];
    for (len, n_columns) in [(64, 0), (64, 64), (64, 48), (48, 48), (48, 32), (16, 16)] {
        let mut x: Vec<Vec<f32>> = (0..4).map(|m| noise(len, 1 + m)).collect();
        for (x, max) in x.iter_mut().zip(MAX) {
            x[len - 5] = -max;
        }
        let rows: Vec<_> = x.iter().map(|x| x.as_chunks().0).collect();
        for (isa, is_stored) in Isa::available().flat_map(|isa| [(isa, true), (isa, false)]) {
            let step = len / 2 + 3;
            let mut out = vec![[9; 2]; if is_stored { 4 * step } else { 0 }];
            let mut columns = vec![[9; 2]; 2 * n_columns];
            let mut scales = [0.0; 4];
            RoundRows {
                x: &rows,
                limit: LIMIT,
                out: &mut out,
                out_step: step,
                columns: &mut columns,
                n_columns,
                scales: &mut scales,
            }
            .run_on(isa);
            for (m, (x, max)) in x.iter().zip(MAX).enumerate() {
                assert_eq!(scales[m].to_bits(), (max / LIMIT).to_bits(), "{isa:?}");
                for (k, x) in x.iter().enumerate() {
                    let wanted = (x * (LIMIT / max)).round_ties_even();
                    if is_stored {
                        let got = out[m * step..].as_flattened()[k];
                        assert_eq!(f32::from(got), wanted, "{isa:?} {len} {n_columns}");
                    }
                    if k < n_columns {
                        let got = columns[m / 2 * n_columns + k][m % 2];
                        assert_eq!(f32::from(got), wanted, "{isa:?} {len} {n_columns}");
                    }
                }
                if is_stored {
                    assert_eq!(out[m * step..][len / 2..step], [[9; 2]; 3]);
                }
            }
        }
    }
}

/// Encoded rows give what their floats give.
#[test]
fn encoded_rows_are_rounded_as_their_floats() {
    let floats = noise(128, 5);
    for kind in [QuantKind::F16, QuantKind::Q8_0] {
        let mut bytes = vec![0; kind.row_bytes(128).unwrap()];
        kind.quantize_row(&floats, None, &mut bytes).unwrap();
        let mut decoded = vec![0.0; 128];
        kind.dequantize_row(&bytes, &mut decoded);
        let halves = bytes.chunks_exact(bytes.len() / 2);
        for isa in Isa::available() {
            let wanted = round_two_rows(isa, decoded.chunks_exact(64).map(|x| x.as_chunks().0));
            let got = match kind {
                QuantKind::F16 => round_two_rows(isa, halves.clone().map(F16Row::new)),
                _ => round_two_rows(isa, halves.clone().map(Q8Row::new)),
            };
            assert_eq!(got, wanted, "{kind:?} {isa:?}");
        }
    }
}

fn round_two_rows<R: Row>(isa: Isa, rows: impl Iterator<Item = R>) -> (Vec<Pair>, [f32; 2]) {
    let rows: Vec<R> = rows.collect();
    let (mut out, mut scales) = (vec![[9; 2]; 64], [0.0; 2]);
    RoundRows {
        x: &rows,
        limit: LIMIT,
        out: &mut out,
        out_step: 32,
        columns: &mut [],
        n_columns: 0,
        scales: &mut scales,
    }
    .run_on(isa);
    (out, scales)
}

#[test]
fn columns_are_rounded_in_pairs_of_rows() {
    let (stride, weights) = (32, [0.5, 2.0, 1.0, 4.0, 0.0]);
    let x = noise(5 * stride, 2);
    for n_rows in 1..=5 {
        for weights in [None, Some(&weights[..])] {
            let weighted = |k: usize, l: usize| x[k * stride + l] * weights.map_or(1.0, |w| w[k]);
            for isa in Isa::available() {
                let (mut out, mut scales) = (vec![[9; 2]; 3 * stride], [0.0; LANES]);
                RoundColumns {
                    x: &x,
                    stride,
                    n_rows,
                    weights,
                    limit: LIMIT,
                    out: &mut out,
                    scales: &mut scales,
                }
                .run_on(isa);
                for (l, scale) in scales.iter().enumerate() {
                    let max = (0..n_rows)
                        .map(|k| weighted(k, l).abs())
                        .fold(0.0, f32::max);
                    assert_eq!(scale.to_bits(), (max / LIMIT).to_bits());
                    for k in 0..n_rows.next_multiple_of(2) {
                        let wanted = if k < n_rows {
                            (weighted(k, l) * (LIMIT / max)).round_ties_even()
                        } else {
                            0.0
                        };
                        let got = out[k / 2 * stride + l][k % 2];
                        assert_eq!(f32::from(got), wanted, "{isa:?} {n_rows} rows: {k}, {l}");
                    }
                }
            }
        }
    }
}

#[test]
fn faults_stay_faults_and_zeros_zeros() {
    for isa in Isa::available() {
        for (fault, at) in [(f32::NAN, 0), (f32::INFINITY, 20), (f32::NAN, 31)] {
            let mut x = noise(32, 3);
            x[at] = fault;
            let (mut out, mut scales) = ([[9; 2]; 32], [1.0; 2]);
            RoundRows {
                x: &[x.as_chunks().0, &[[0.0; LANES]; 2]],
                limit: LIMIT,
                out: &mut out,
                out_step: 16,
                columns: &mut [],
                n_columns: 0,
                scales: &mut scales,
            }
            .run_on(isa);
            assert!(
                scales[0].is_nan() && scales[1] == 0.0,
                "{isa:?} {fault} at {at}"
            );
            assert_eq!(out[16..], [[0; 2]; 16]);
        }
        let (mut out, mut scales) = ([[9; 2]; LANES], [1.0; LANES]);
        let mut x = [0.0; 2 * LANES];
        x[3] = f32::NAN;
        RoundColumns {
            x: &x,
            stride: LANES,
            n_rows: 2,
            weights: None,
            limit: LIMIT,
            out: &mut out,
            scales: &mut scales,
        }
        .run_on(isa);
        for (l, scale) in scales.into_iter().enumerate() {
            assert!(
                if l == 3 { scale.is_nan() } else { scale == 0.0 },
                "{isa:?}"
            );
        }
        assert_eq!(out[4], [0; 2]);
    }
}
