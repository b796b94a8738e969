use half::bf16;

use super::*;
use crate::noise::noise;
use crate::simd::amx::emulator::has_bf16_tiles;

/// Pairs of two vectors at `to`.
#[target_feature(
    enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi,avx512bf16"
)]
fn pairs(quad: &[i8; 64], d: &[f32; 16], to: &mut [[u16; 32]; 2]) {
    // SAFETY: this function has the instruction set; the arrays are as long as vectors.
    unsafe {
        let quad = _mm512_loadu_si512(quad.as_ptr().cast());
        let scales = Avx512::scales(_mm512_loadu_ps(d.as_ptr()));
        let pairs = [
            Avx512::pair::<0>(quad, &scales),
            Avx512::pair::<1>(quad, &scales),
        ];
        for (pair, to) in pairs.into_iter().zip(to) {
            _mm512_storeu_si512(to.as_mut_ptr().cast(), pair);
        }
    }
}

#[test]
fn weights_are_the_nearest_bf16_of_every_byte_and_scale() {
    if !has_bf16_tiles() {
        return;
    }
    for round in 0..400 {
        // Every byte in every place, with scales that are f16.
        let quad = std::array::from_fn(|i| (i * 37 + round) as i8);
        let values = noise(16, round as u32);
        let d = std::array::from_fn(|r| {
            half::f16::from_f32(values[r] * [1.0, 1e-3, 6e4, 1e-6][round % 4]).to_f32()
        });
        let mut found = [[0; 32]; 2];
        // SAFETY: the CPU has the instructions (checked above).
        unsafe { pairs(&quad, &d, &mut found) };
        for (p, found) in found.iter().enumerate() {
            for (i, found) in found.iter().enumerate() {
                let (row, column) = (i / 2, 2 * p + i % 2);
                let exact = f32::from(quad[4 * row + column]) * d[row];
                let found = bf16::from_bits(*found);
                assert_eq!(found, bf16::from_f32(exact), "{exact}");
            }
        }
    }
}

#[test]
fn products_of_all_numbers_of_groups_are_right() {
    if has_bf16_tiles() {
        assert!(multiplies_right());
    }
}

/// Steps add up, and sums are added to what is there.
#[test]
fn products_add_up_over_steps() {
    const N_STEPS: usize = 5;
    if !has_bf16_tiles() {
        return;
    }
    let rounded = |n, seed| -> Vec<bf16> {
        let values = noise(n, seed);
        values.into_iter().map(bf16::from_f32).collect()
    };
    for n_groups in 1..=4 {
        let a = rounded(N_STEPS * NUMBERS, 1);
        let b = rounded(N_STEPS * n_groups * NUMBERS, 2);
        // The products lie two tiles apart.
        let mut c = noise(n_groups * TILE / 2, 3);
        let before = c.clone();
        // SAFETY: the CPU has tiles or there are emulated ones; the operands have all steps, and a
        // bf16 is its bits.
        unsafe {
            let tiles = Configured::new(ROW_BYTES.into());
            let operands = (a.as_ptr().cast(), b.as_ptr().cast());
            let c = c.as_mut_ptr();
            Avx512::add_products(&tiles, operands, (n_groups, N_STEPS), c, 2 * TILE);
        }
        for (at, (c, before)) in c.iter().zip(before).enumerate() {
            let (g, m, n) = (at / 512, at % 512 / 16, at % 16);
            let product = |k: usize| {
                let (s, k) = (k / 32, k % 32);
                let of_a = a[s * NUMBERS + 32 * m + k];
                let of_b = b[(s * n_groups + g) * NUMBERS + k / 2 * 32 + 2 * n + k % 2];
                f64::from(of_a) * f64::from(of_b)
            };
            let sum: f64 = if m < 16 {
                (0..32 * N_STEPS).map(product).sum()
            } else {
                0.0
            };
            let want = f64::from(before) + sum;
            assert!(
                (f64::from(*c) - want).abs() < 1e-5,
                "group {g} row {m}: {c} for {want}"
            );
        }
    }
}
