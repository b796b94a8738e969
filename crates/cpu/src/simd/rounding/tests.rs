use super::*;
use crate::noise::noise;

const LIMIT: f32 = 2047.0;

#[test]
fn rows_are_rounded_alike_on_every_instruction_set() {
    let mut x = [noise(64, 1), noise(64, 4)];
    x[0][5] = -3.0;
    x[1][63] = 5.0;
    for isa in Isa::available() {
        for n_columns in [0, 64] {
            let mut out = [[[9; 2]; 32]; 2];
            let mut columns = vec![[9; 2]; n_columns];
            let [first, second] = &mut out;
            let scales = RoundRows {
                x: [&x[0], &x[1]],
                limit: LIMIT,
                out: [first, second],
                columns: &mut columns,
            }
            .run_on(isa);
            for ((i, x), max) in x.iter().enumerate().zip([3.0, 5.0]) {
                assert_eq!(scales[i].to_bits(), (max / LIMIT).to_bits(), "{isa:?}");
                let out = out[i].as_flattened();
                for (k, x) in x.iter().enumerate() {
                    let wanted = (x * (LIMIT / max)).round_ties_even();
                    assert_eq!(f32::from(out[k]), wanted, "{isa:?}");
                    assert!(columns.get(k).is_none_or(|pair| pair[i] == out[k]));
                }
            }
        }
    }
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
            let (mut out, mut other) = ([[9; 2]; 16], [[9; 2]; 16]);
            let scales = RoundRows {
                x: [&x, &[0.0; 32]],
                limit: LIMIT,
                out: [&mut out, &mut other],
                columns: &mut [],
            }
            .run_on(isa);
            assert!(
                scales[0].is_nan() && scales[1] == 0.0,
                "{isa:?} {fault} at {at}"
            );
            assert_eq!(other, [[0; 2]; 16]);
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
