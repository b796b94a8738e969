use super::row_blocks::{Accumulate, Dot};
use super::*;
use crate::noise::{bits, noise};

/// The stated sum: lanes, tail, tree.
fn dot_as_stated(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    for (i, (w, x)) in w.iter().zip(x).enumerate() {
        lanes[i % LANES] = w.mul_add(*x, lanes[i % LANES]);
    }
    sum_tree(lanes)
}

#[test]
fn dot_is_the_stated_sum_in_every_block_shape() {
    for len in [1, 15, 16, 17, 64, 100, 576] {
        for n_rows in [1, 2, 3, 4, 5, 7, 16] {
            let w = noise(n_rows * (len + 3), 1);
            let x = noise(4 * len, 2);
            let panel = Panel {
                values: &w,
                n_rows,
                stride: len + 3,
            };
            for n in 1..=4 {
                let rows: Vec<&[f32]> = x.chunks_exact(len).take(n).collect();
                let mut out = vec![f32::NAN; n * n_rows];
                dot_rows(panel, &rows, &mut out);
                for (t, row) in rows.iter().enumerate() {
                    for r in 0..n_rows {
                        let expected = dot_as_stated(panel.row(r, len), row);
                        let got = out[t * n_rows + r];
                        assert_eq!(got.to_bits(), expected.to_bits(), "{len} {n_rows} {n}");
                    }
                }
            }
        }
    }
}

#[test]
fn accumulate_adds_rows_in_ascending_order() {
    for len in [1, 16, 31, 32, 48, 53, 128] {
        for n_rows in [1, 2, 32] {
            let rows = noise(n_rows * (len + 1), 3);
            let p = noise(4 * n_rows, 4);
            let panel = Panel {
                values: &rows,
                n_rows,
                stride: len + 1,
            };
            for n in 1..=4 {
                let p: Vec<&[f32]> = p.chunks_exact(n_rows).take(n).collect();
                let before = noise(n * (len + 2), 5);
                let mut out = before.clone();
                accumulate_rows(&p, panel, len, &mut out, len + 2);
                for (i, (got, before)) in out.iter().zip(&before).enumerate() {
                    let (j, column) = (i / (len + 2), i % (len + 2));
                    let terms = (0..n_rows).filter(|_| column < len);
                    let expected = terms.fold(*before, |sum, r| {
                        p[j][r].mul_add(rows[r * (len + 1) + column], sum)
                    });
                    assert_eq!(got.to_bits(), expected.to_bits(), "{len} {n_rows} {n}");
                }
            }
        }
    }
}

/// Runs a loop on an instruction set over a buffer of which nothing is zero.
macro_rules! bits_on {
    ($isa:expr, $len:expr, |$out:ident| $kernel:expr) => {{
        let mut buffer = noise($len, 99);
        let $out = &mut buffer[..];
        $isa.run($kernel);
        bits(&buffer)
    }};
}

#[test]
fn rows_have_the_same_bits_on_every_instruction_set() {
    for len in [77, 80] {
        let (w, x) = (noise(5 * len, 6), noise(3 * len, 7));
        let x: Vec<&[f32]> = x.chunks_exact(len).collect();
        let p: Vec<&[f32]> = x.iter().map(|row| &row[..5]).collect();
        let w = Panel {
            values: &w,
            n_rows: 5,
            stride: len,
        };
        let run = |isa: Isa| {
            let dot = bits_on!(isa, 15, |out| Dot { w, x: &x, out });
            let accumulate = bits_on!(isa, 3 * len, |out| Accumulate {
                p: &p,
                rows: w,
                len,
                out,
                stride: len,
            });
            (dot, accumulate)
        };
        for isa in Isa::available() {
            assert_eq!(run(isa), run(Isa::Scalar), "{isa:?}");
        }
    }
}
