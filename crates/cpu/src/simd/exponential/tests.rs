use super::*;
use crate::noise::{bits, noise};

struct Exponentials<'a>(&'a mut [f32]);

impl Kernel for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for x in self.0.as_chunks_mut::<LANES>().0 {
            // SAFETY: passed on from the caller.
            unsafe { exp_lanes(L::load(x)).store(x) };
        }
    }
}

/// Every 1021st float, and the places where something changes.
fn arguments() -> Vec<f32> {
    let mut x: Vec<f32> = (0..=u32::MAX)
        .step_by(1021)
        .map(f32::from_bits)
        .filter(|x| !x.is_nan() && x.abs() < 200.0)
        .collect();
    for edge in [LOWEST, HIGHEST, 88.722_83, -0.346_573_6, 0.346_573_6] {
        x.extend([edge.next_down(), edge, edge.next_up()]);
    }
    x.extend([
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
    ]);
    x.resize(x.len().next_multiple_of(LANES), 1.0);
    x
}

#[test]
fn the_exponential_is_within_an_ulp() {
    let mut worst = 0.0f64;
    for x in arguments() {
        let (got, want) = (exp(x), f64::from(x).exp());
        if want < f64::from(f32::MIN_POSITIVE) {
            assert!(got == 0.0 || got == f32::MIN_POSITIVE, "{x}: {got}");
        } else if want as f32 == f32::INFINITY {
            assert!(got >= f32::MAX, "{x}: {got}");
        } else {
            let ulp = f64::from((want as f32).next_up()) - f64::from(want as f32);
            worst = worst.max((f64::from(got) - want).abs() / ulp);
        }
    }
    assert!(worst < 1.0, "{worst} ulp");
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    assert!(exp(f32::NAN).is_nan());
}

#[test]
fn the_exponential_has_the_same_bits_on_every_instruction_set() {
    let x = arguments();
    let want: Vec<f32> = x.iter().map(|x| exp(*x)).collect();
    for isa in Isa::available() {
        let mut got = x.clone();
        isa.run(Exponentials(&mut got));
        assert_eq!(bits(&got), bits(&want), "{isa:?}");
        let mut got = [f32::NAN; LANES];
        isa.run(Exponentials(&mut got));
        assert!(got.iter().all(|x| x.is_nan()), "{isa:?}");
    }
}

#[test]
fn scores_soften_as_stated_on_every_instruction_set() {
    let (n_rows, stride, scale) = (7, 48, 3.0);
    let scores = noise(n_rows * stride, 1);
    let (max, sum) = (noise(32, 2), noise(32, 3));
    for isa in Isa::available() {
        let (mut weights, mut new_max, mut new_sum) = (scores.clone(), max.clone(), sum.clone());
        new_max[5] = f32::NEG_INFINITY;
        let mut shrink = [f32::NAN; 32];
        Soften {
            scores: &mut weights,
            n_rows,
            stride,
            scale,
            max: &mut new_max,
            sum: &mut new_sum,
            shrink: &mut shrink,
        }
        .run_on(isa);
        for column in 0..32 {
            let column_of = |rows: &[f32]| -> Vec<f32> {
                rows.chunks_exact(stride).map(|row| row[column]).collect()
            };
            let raw = column_of(&scores);
            let old_max = if column == 5 {
                f32::NEG_INFINITY
            } else {
                max[column]
            };
            let top = raw
                .iter()
                .fold(old_max, |max, score| max.max(score * scale));
            let expected: Vec<f32> = raw.iter().map(|s| exp(s.mul_add(scale, -top))).collect();
            let total = expected.iter().fold(0.0, |sum, weight| sum + weight);
            let factor = exp(old_max - top);
            assert_eq!(bits(&column_of(&weights)), bits(&expected), "{isa:?}");
            let got = [new_max[column], new_sum[column], shrink[column]];
            let want = [top, sum[column].mul_add(factor, total), factor];
            assert_eq!(bits(&got), bits(&want), "{isa:?} column {column}");
        }
        assert!(shrink[5] == 0.0);
        // The other columns take no part.
        for (got, before) in weights.chunks(stride).zip(scores.chunks(stride)) {
            assert_eq!(got[32..], before[32..]);
        }
    }
}
