use super::*;
use crate::noise::{bits, noise, quantized_noise};
use crate::simd::lanes::sum_tree;

const KINDS: [QuantKind; 3] = [QuantKind::F32, QuantKind::F16, QuantKind::Bf16];

/// The sum that `simd.rs` states.
fn dots(w: &[f32], x: &[f32], n_in: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for x in x.chunks_exact(n_in) {
        for w in w.chunks_exact(n_in) {
            let mut lanes = [0.0; LANES];
            for (i, (w, x)) in w.iter().zip(x).enumerate() {
                lanes[i % LANES] = w.mul_add(*x, lanes[i % LANES]);
            }
            all.push(sum_tree(lanes));
        }
    }
    all
}

#[test]
fn dots_with_few_rows_are_the_stated_sums() {
    for kind in KINDS {
        for (n_in, n_rows) in [(16, 1), (48, 7), (1040, 16)] {
            let (bytes, values) = quantized_noise(kind, n_in, n_rows, 3);
            let w = FloatRows::new(kind, n_in, &bytes).unwrap();
            for n in 1..=4 {
                let x = noise(n * n_in, 4);
                let rows: Vec<&[f32]> = x.chunks_exact(n_in).collect();
                let expected = dots(&values, &x, n_in);
                for isa in Isa::available() {
                    let mut out = vec![f32::NAN; n * n_rows];
                    let (x, out_mut) = (&rows[..], &mut out[..]);
                    isa.run(On(Few { w, x, out: out_mut }));
                    let what = format!("{} {} {n_in} {n}", kind.name(), isa.name());
                    assert_eq!(bits(&out), bits(&expected), "{what}");
                }
            }
        }
    }
}

/// Spans that are whole and one that is not; rows of activations for all blocks and several batches.
#[test]
fn dots_with_many_rows_are_the_stated_sums() {
    for kind in KINDS {
        for (n_in, n_rows, n) in [(16, 1, 8), (560, 7, 13), (1040, 16, 33)] {
            let (bytes, values) = quantized_noise(kind, n_in, n_rows, 5);
            let w = FloatRows::new(kind, n_in, &bytes).unwrap();
            let x = noise(n * n_in, 6);
            let row = |t: usize| &x[t * n_in..][..n_in];
            let expected = dots(&values, &x, n_in);
            let least = n_rows * (SPAN + MOST_SIDE_BY_SIDE * (LANES + 1)) + LANES;
            for isa in Isa::available() {
                for scratch_len in [least, 1 << 16] {
                    let mut scratch = vec![f32::NAN; scratch_len];
                    let mut out = Vec::new();
                    let mut body = |first, sums: &[f32]| {
                        assert_eq!(first * n_rows, out.len());
                        out.extend_from_slice(sums);
                    };
                    assert!(dot_many_with(isa, w, (n, &row), &mut scratch, &mut body));
                    let what = format!("{} {} {n_in} {scratch_len}", kind.name(), isa.name());
                    assert_eq!(bits(&out), bits(&expected), "{what}");
                }
            }
            let mut short = vec![0.0; n_rows * SPAN];
            let mut body = |_, _: &[f32]| panic!("no room");
            assert!(!dot_many(w, (n, &row), &mut short, &mut body));
        }
    }
}

#[test]
fn other_types_and_broken_sixteens_are_left_to_others() {
    assert!(FloatRows::new(QuantKind::Q8_0, 32, &[0; 34]).is_none());
    assert!(FloatRows::new(QuantKind::F32, 17, &[0; 68]).is_none());
    assert!(FloatRows::new(QuantKind::F32, 0, &[]).is_none());
}
