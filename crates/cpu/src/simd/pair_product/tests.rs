use super::*;
use crate::noise::{bits, noise};

fn pairs(n: usize, limit: f32, seed: u32) -> Vec<Pair> {
    let ints: Vec<i16> = noise(2 * n, seed)
        .into_iter()
        .map(|x| (x.clamp(-1.0, 1.0) * limit) as i16)
        .collect();
    ints.as_chunks::<2>().0.to_vec()
}

/// The stated sums, one at a time.
fn as_stated(product: &PairProduct<'_>) -> Vec<f32> {
    let mut out = product.out.to_vec();
    for m in 0..product.n_rows {
        for n in 0..product.n_lanes {
            let lane = |block: usize| n / LANES * block + n % LANES;
            let at = m * product.out_row_block.0 + lane(product.out_row_block.1);
            let mut sum = 0i32;
            for k in 0..product.n_pairs {
                let a = product.a[m * product.a_row_step.0 + k * product.a_row_step.1];
                let b = product.b[k * product.b_step_block.0 + lane(product.b_step_block.1)];
                sum += (0..2)
                    .map(|i| i32::from(a[i]) * i32::from(b[i]))
                    .sum::<i32>();
            }
            let start = match product.start {
                Start::Zero => 0.0,
                Start::Out => out[at],
                Start::Rows(factors) => out[at] * factors[m],
                Start::Lanes(factors) => out[at] * factors[n],
            };
            let scaled = sum as f32 * product.row_scales[m];
            out[at] = match product.lane_scales {
                Some(scales) => scaled.mul_add(scales[n], start),
                None => start + scaled,
            };
        }
    }
    out
}

/// Rows, lanes and pairs.
type Shape = (usize, usize, usize);

#[test]
fn products_are_the_stated_sums_on_every_instruction_set() {
    for shape in [
        (1, 16, 0),
        (1, 16, 1),
        (3, 48, 5),
        (8, 32, 7),
        (15, 64, 33),
        (64, 16, 256),
    ] {
        for_products_of(shape, |product, want, case| {
            for isa in Isa::available() {
                let mut out = product.out.to_vec();
                product.with_out(&mut out).run_on(isa);
                assert_eq!(bits(&out), bits(want), "{isa:?} {shape:?} {case}");
            }
        });
    }
}

/// By the machine's tiles or emulated ones.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn products_by_tiles_are_the_stated_sums() {
    if !crate::simd::amx::emulator::has_tiles() {
        return;
    }
    for shape in [(32, 16, 32), (18, 48, 45), (64, 32, 64), (128, 64, 256)] {
        let (n_rows, _, n_pairs) = shape;
        let mut planes = vec![[-1; 2]; PairProduct::planes_len(n_rows, n_pairs)];
        for_products_of(shape, |product, want, case| {
            let mut out = product.out.to_vec();
            let mut product = product.with_out(&mut out);
            assert!(!pair_tiles::suit(&product), "there is no memory for tiles");
            product.planes = &mut planes;
            assert!(pair_tiles::suit(&product));
            product.check();
            // SAFETY: there are tiles, which the product suits; operands are long enough.
            unsafe { pair_tiles::run(&mut product) };
            assert_eq!(bits(&out), bits(want), "{shape:?} {case}");
        });
    }
}

/// Products in all ways that operands can lie and sums can start, with what they should give.
fn for_products_of(
    (n_rows, n_lanes, n_pairs): Shape,
    mut body: impl FnMut(&PairProduct<'_>, &[f32], usize),
) {
    let factors = noise(n_rows.max(n_lanes), 4);
    // Magnitudes as in attention: the sums nearly fill 32 bits.
    let a = pairs(n_rows * (n_pairs + 1), 2047.0, 1);
    let b = pairs(n_pairs * n_lanes, 2047.0, 2);
    let (row_scales, lane_scales) = (noise(n_rows, 5), noise(n_lanes, 6));
    let starts = [
        Start::Zero,
        Start::Out,
        Start::Rows(&factors),
        Start::Lanes(&factors),
    ];
    for (case, start) in starts.into_iter().enumerate() {
        let mut out = noise(n_rows * n_lanes, 3);
        let (b_step_block, out_row_block) = if case % 2 == 0 {
            ((LANES, n_pairs * LANES), (LANES, n_rows * LANES))
        } else {
            ((n_lanes, LANES), (n_lanes, LANES))
        };
        let product = PairProduct {
            n_rows,
            n_pairs,
            n_lanes,
            a: &a,
            a_row_step: if case / 2 == 0 {
                (1, n_rows)
            } else {
                (n_pairs + 1, 1)
            },
            b: &b,
            b_step_block,
            row_scales: &row_scales,
            lane_scales: (case != 1).then_some(&lane_scales[..]),
            start,
            out: &mut out,
            out_row_block,
            planes: &mut [],
        };
        body(&product, &as_stated(&product), case);
    }
}

impl PairProduct<'_> {
    /// The same to other memory.
    fn with_out<'a>(&'a self, out: &'a mut [f32]) -> PairProduct<'a> {
        PairProduct {
            out,
            planes: &mut [],
            ..*self
        }
    }
}
