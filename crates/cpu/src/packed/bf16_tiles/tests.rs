use perigee_quant::QuantKind;

use super::super::activations::{Rounding, round};
use super::super::groups::{Kernels, for_products};
use super::super::kernels::bf16_kernel;
use super::*;
use crate::noise::{noise, nrmse, quantized_noise};
use crate::simd::amx::emulator::has_bf16_tiles;
use crate::simd::isa::Isa;
use crate::{Activations, Stack};

/// Rows of a matrix in both orders, and what they decode to.
struct Weights {
    kind: QuantKind,
    n_in: usize,
    n_groups: usize,
    file: Vec<u8>,
    packed: Vec<u8>,
    values: Vec<f32>,
}

/// Rows of a type that has no encoder, and what they decode to.
fn random_mxfp4(n_in: usize, n_rows: usize) -> (Vec<u8>, Vec<f32>) {
    let kind = QuantKind::Mxfp4;
    let row_bytes = kind.row_bytes(n_in).unwrap();
    let codes = noise(n_rows * row_bytes, 8);
    let mut file: Vec<u8> = codes.iter().map(|x| (x * 128.0) as i32 as u8).collect();
    for (i, block) in file.chunks_exact_mut(17).enumerate() {
        block[0] = 120 + (i % 8) as u8;
    }
    let mut values = vec![0.0; n_rows * n_in];
    let rows = values.chunks_exact_mut(n_in);
    for (bytes, values) in file.chunks_exact(row_bytes).zip(rows) {
        kind.dequantize_row(bytes, values);
    }
    (file, values)
}

impl Weights {
    fn new(kind: QuantKind, n_in: usize, n_groups: usize) -> Self {
        let layout = kind.layout().unwrap();
        let n_rows = n_groups * GROUP_ROWS;
        let (file, values) = match kind {
            QuantKind::Mxfp4 => random_mxfp4(n_in, n_rows),
            _ => quantized_noise(kind, n_in, n_rows, kind.id()),
        };
        let group_bytes = layout.group_bytes(n_in).unwrap();
        let mut packed = vec![0; n_groups * group_bytes];
        let groups = packed.chunks_exact_mut(group_bytes);
        for (rows, group) in file.chunks_exact(file.len() / n_groups).zip(groups) {
            layout.pack(kind, rows, group);
        }
        Self {
            kind,
            n_in,
            n_groups,
            file,
            packed,
            values,
        }
    }

    fn stacks(&self) -> [Stack<'_>; 2] {
        let n_rows = self.n_groups * GROUP_ROWS;
        let file = Stack::new(self.kind, self.n_in, n_rows, 1, &self.file);
        [
            Stack::packed(self.kind, self.n_in, n_rows, 1, &self.packed).unwrap(),
            file.meeting(Activations::Int8),
        ]
    }

    /// `[rows of x, rows]`
    fn exact_products(&self, x: &[f32]) -> Vec<f64> {
        let dot = |w: &[f32], x: &[f32]| -> f64 {
            let products = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
            products.sum()
        };
        let rows = || self.values.chunks_exact(self.n_in);
        x.chunks_exact(self.n_in)
            .flat_map(|x| rows().map(|w| dot(w, x)).collect::<Vec<_>>())
            .collect()
    }
}

/// The products of all rows with those of `x`, rounded as the kernels want them: `[rows of x, rows]`.
fn products(kernels: &Kernels, stack: &Stack<'_>, x: &[f32], scratch_len: usize) -> Vec<f32> {
    let (n_in, n_rows) = (stack.n_in(), stack.n_rows());
    let n = x.len() / n_in;
    let rounding = kernels.rounding(n);
    let rows: Vec<Vec<u8>> = x
        .chunks_exact(n_in)
        .map(|x| {
            let mut row = vec![0; rounding.row_bytes(n_in)];
            round(Isa::Avx512, &rounding, x, &mut row);
            row
        })
        .collect();
    let mut all = vec![f32::NAN; n * n_rows];
    let mut scratch = vec![f32::NAN; scratch_len];
    let store = |group, first, sums: &mut [Sums]| {
        for (t, sums) in (first..).zip(sums) {
            all[t * n_rows + group * GROUP_ROWS..][..GROUP_ROWS].copy_from_slice(sums);
        }
    };
    let weights = (&stack.item(0), 0..n_rows / GROUP_ROWS);
    let column = |t: usize| rows[t].as_ptr();
    // SAFETY: the CPU has AVX-512 and there are tiles, if only emulated ones; the kernels are those
    // of the matrix and the rows rounded for them.
    unsafe { for_products(kernels, weights, n, &column, &mut scratch, store) };
    all
}

fn kinds() -> impl Iterator<Item = QuantKind> {
    let kinds = QuantKind::ALL.iter().copied();
    kinds.filter(|kind| kind.layout().is_some() && bf16_kernel(*kind).is_some())
}

#[test]
fn products_are_closer_than_those_of_integers() {
    if !has_bf16_tiles() {
        return;
    }
    assert!(kinds().count() >= 3);
    for kind in kinds() {
        // Spans that are whole and one that is not; groups for whole tiles of sums and others.
        for (n_in, n_groups, n_tokens) in [(32, 1, 32), (800, 3, 37), (512, 10, 70)] {
            let weights = Weights::new(kind, n_in, n_groups);
            let [packed, _] = weights.stacks();
            let x = noise(n_tokens * n_in, 9);
            let want = weights.exact_products(&x);
            let exact = Kernels::on(Isa::Amx, &packed);
            let integers = nrmse(&products(&exact, &packed, &x, 1 << 16), &want);
            let bf16 = Kernels::on(Isa::Amx, &packed).or_bf16(&packed, 1 << 16);
            assert_eq!(bf16.rounding(n_tokens), Rounding::Bf16);
            let error = nrmse(&products(&bf16, &packed, &x, 1 << 16), &want);
            let what = format!("{} {n_in}: {error}, of integers {integers}", kind.name());
            assert!(error < 0.7 * integers && error < 4e-3, "{what}");
        }
    }
}

/// Rows in the file are packed first; a short memory cuts the tokens into several panels and the rows into
/// several batches.
#[test]
fn products_do_not_depend_on_order_and_memory() {
    if !has_bf16_tiles() {
        return;
    }
    let n_in = 288;
    let least = 2 * (TILED * ROW_LEN + LANES);
    for kind in kinds() {
        let weights = Weights::new(kind, n_in, 5);
        let x = noise(70 * n_in, 3);
        let mut first = None;
        for stack in weights.stacks() {
            for scratch_len in [least, 1 << 16] {
                let kernels = Kernels::on(Isa::Amx, &stack).or_bf16(&stack, scratch_len);
                let sums = products(&kernels, &stack, &x, scratch_len);
                let first = first.get_or_insert_with(|| sums.clone());
                assert!(*first == sums, "{} {scratch_len}", kind.name());
            }
        }
    }
}

#[test]
fn integers_are_multiplied_where_there_are_few_columns_or_no_room() {
    let weights = Weights::new(QuantKind::Q8_0, 288, 1);
    for stack in weights.stacks() {
        let int8 = Rounding::Int8(QuantKind::Q8_0.layout().unwrap().form());
        let kernels = |scratch_len| Kernels::on(Isa::Amx, &stack).or_bf16(&stack, scratch_len);
        assert_eq!(kernels(1 << 16).rounding(31), int8);
        assert_eq!(kernels(1 << 16).rounding(32), Rounding::Bf16);
        assert_eq!(kernels(TILED * ROW_LEN + LANES).rounding(32), int8);
        assert_eq!(Kernels::on(Isa::Amx, &stack).rounding(32), int8);
    }
}

#[test]
fn activations_are_the_nearest_bf16() {
    let mut x = noise(1024, 5);
    let extreme = [f32::NAN, f32::INFINITY, f32::MIN, f32::MAX, -0.0, 1e-40];
    x[..6].copy_from_slice(&extreme);
    // Halves between two neighbours, down and up.
    x[6] = f32::from_bits(0x3F80_8000);
    x[7] = f32::from_bits(0x3F81_8000);
    for isa in Isa::available() {
        let mut out = vec![0; 2 * x.len()];
        round(isa, &Rounding::Bf16, &x, &mut out);
        for (x, out) in x.iter().zip(out.as_chunks::<2>().0) {
            let want = half::bf16::from_f32(*x);
            assert_eq!(u16::from_le_bytes(*out), want.to_bits(), "{x}");
        }
    }
}
