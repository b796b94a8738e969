use super::*;
use crate::noise::{bits, noise};

/// The stated sums, one at a time.
fn as_stated(product: &Product<'_>) -> Vec<f32> {
    let mut out = product.out.to_vec();
    for m in 0..product.n_rows {
        for n in 0..product.n_lanes {
            let lane = |block: usize| n / LANES * block + n % LANES;
            let at = m * product.out_row_block.0 + lane(product.out_row_block.1);
            let mut sum = match product.start {
                Start::Zero => 0.0,
                Start::Out => out[at],
                Start::Rows(factors) => out[at] * factors[m],
                Start::Lanes(factors) => out[at] * factors[n],
            };
            for k in 0..product.n_steps {
                let a = product.a[m * product.a_row_step.0 + k * product.a_row_step.1];
                let b = product.b[k * product.b_step_block.0 + lane(product.b_step_block.1)];
                sum = a.mul_add(b, sum);
            }
            out[at] = sum;
        }
    }
    out
}

#[test]
fn products_are_the_stated_sums_on_every_instruction_set() {
    let factors = noise(64, 4);
    let mut shapes: Vec<(usize, usize, usize)> = Vec::new();
    for n_rows in [1, 2, 3, 6, 8, 15] {
        for n_lanes in [1, 16, 23, 32, 55] {
            shapes.extend([0, 1, 5].map(|n_steps| (n_rows, n_lanes, n_steps)));
        }
    }
    // More steps than have their turn at a time.
    shapes.extend([(7, 40, STEPS), (9, 33, 2 * STEPS + 3)]);
    for (n_rows, n_lanes, n_steps) in shapes {
        let blocks = n_lanes.div_ceil(LANES);
        let padded = blocks * LANES;
        let (a, b) = (noise(n_rows * (n_steps + 1), 1), noise(n_steps * padded, 2));
        let before = noise(n_rows * padded, 3);
        let starts = [
            Start::Zero,
            Start::Out,
            Start::Rows(&factors),
            Start::Lanes(&factors),
        ];
        for (i, start) in starts.into_iter().enumerate() {
            // Rows in one piece or packed, steps of `a` side by side or its rows.
            let (packed, turned) = (i % 2 == 0, i / 2 == 0);
            let (b_step_block, out_row_block) = if packed {
                ((LANES, n_steps * LANES), (LANES, n_rows * LANES))
            } else {
                ((padded, LANES), (padded, LANES))
            };
            let a_row_step = if turned {
                (1, n_rows)
            } else {
                (n_steps + 1, 1)
            };
            let mut want = None;
            for isa in Isa::available() {
                let mut out = before.clone();
                let product = Product {
                    n_rows,
                    n_steps,
                    n_lanes,
                    a: &a,
                    a_row_step,
                    b: &b,
                    b_step_block,
                    start,
                    out: &mut out,
                    out_row_block,
                };
                let want = want.get_or_insert_with(|| as_stated(&product));
                product.run_on(isa);
                let shape = (n_rows, n_lanes, n_steps, i);
                assert_eq!(bits(&out), bits(want), "{isa:?} {shape:?}");
            }
        }
    }
}

#[test]
#[should_panic]
fn short_operands_are_refused() {
    Product {
        n_rows: 2,
        n_steps: 3,
        n_lanes: 17,
        a: &[0.0; 6],
        a_row_step: (3, 1),
        b: &[0.0; 3 * 17 - 1],
        b_step_block: (17, LANES),
        start: Start::Zero,
        out: &mut [0.0; 34],
        out_row_block: (17, LANES),
    }
    .run_on(Isa::best());
}
