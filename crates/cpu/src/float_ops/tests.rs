use super::*;
use crate::noise::{bits, noise};

fn assert_close(got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*got) - expected).abs();
        assert!(
            error <= 1e-6 * expected.abs().max(1.0),
            "{i}: {got} for {expected}"
        );
    }
}

#[test]
fn rms_norm_divides_by_the_root_of_the_mean_square() {
    for n in [1, 7, 8, 19] {
        let x: Vec<f32> = (0..n).map(|i| i as f32 - 3.5).collect();
        let w: Vec<f32> = (0..n).map(|i| 1.0 + i as f32 / 8.0).collect();
        let mean = x.iter().map(|x| f64::from(x * x)).sum::<f64>() / n as f64;
        let expected: Vec<f64> = (0..n)
            .map(|i| f64::from(w[i]) * f64::from(x[i]) / (mean + 1e-5).sqrt())
            .collect();
        let mut out = vec![0.0; n];
        rms_norm(&x, &w, 1e-5, &mut out);
        assert_close(&out, &expected);
    }
}

#[test]
fn rope_turns_adjacent_pairs_also_far_out() {
    for position in [0, 1, 5_000, 250_000] {
        let frequencies = [1.0f32, 0.713_111_1, 4.382_206_6e-7];
        let mut table = [0.0; 6];
        rope_table(position, &frequencies, &mut table);
        let mut x = [1.0, 0.0, 0.0, 1.0, 2.0, 0.0];
        apply_rope(&mut x, &table);
        let angle = frequencies.map(|frequency| position as f64 * f64::from(frequency));
        let expected = [
            angle[0].cos(),
            angle[0].sin(),
            -angle[1].sin(),
            angle[1].cos(),
            2.0 * angle[2].cos(),
            2.0 * angle[2].sin(),
        ];
        assert_close(&x, &expected);
    }
}

#[test]
fn softmax_survives_large_logits() {
    let mut x = [1000.0, 1000.0, 999.0, -1000.0];
    softmax(&mut x);
    let rest = (-1.0f64).exp();
    assert_close(
        &x,
        &[1.0, 1.0, rest, 0.0].map(|weight| weight / (2.0 + rest)),
    );
}

#[test]
fn silu_mul_gates_and_saturates() {
    let mut gate = [0.0, 1.0, -100.0, 100.0];
    silu_mul(&mut gate, &[5.0, 2.0, 3.0, 1.0]);
    let one = 2.0 / (1.0 + (-1.0f64).exp());
    assert_close(&gate, &[0.0, one, 0.0, 100.0]);
}

/// What the operations leave for an odd length, on one instruction set.
fn results(isa: Isa) -> Vec<Vec<u32>> {
    let (x, y) = (noise(77, 1), noise(77, 2));
    let run = |op: &dyn Fn(&mut [f32])| {
        let mut x: Vec<f32> = x.iter().map(|x| 30.0 * x).collect();
        op(&mut x);
        bits(&x)
    };
    vec![
        run(&|x| isa.run(RmsNorm { x, w: &y, eps: 0.5 })),
        run(&|x| isa.run(Softmax(x))),
        run(&|gate| isa.run(SiluMul { gate, up: &y })),
        run(&|x| isa.run(Add { x, y: &y })),
        run(&|x| x.iter_mut().for_each(|x| *x = isa.run(Sigmoid(*x)))),
    ]
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for isa in Isa::available() {
        assert_eq!(results(isa), results(Isa::Scalar), "{isa:?}");
    }
}
