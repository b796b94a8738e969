use perigee_quant::QuantKind;
use perigee_quant::packed::{GROUP_ROWS, Layout, dot_row};

use super::activations::quantize;
use super::kernels::kernel;
use crate::matrix::Order;
use crate::noise::noise;
use crate::simd::isa::Isa;

fn layouts() -> impl Iterator<Item = (QuantKind, &'static Layout)> {
    QuantKind::ALL
        .iter()
        .filter_map(|kind| Some((*kind, kind.layout()?)))
}

fn supported() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_supported())
}

/// Random bytes: scales of every size, NaN among them.
fn bytes(n: usize, seed: u32) -> Vec<u8> {
    let values = noise(n, seed);
    values.iter().map(|x| (x * 128.0) as i32 as u8).collect()
}

/// A group of random rows of a kind, packed, and the rows.
fn group(kind: QuantKind, n_in: usize, seed: u32) -> (Vec<u8>, Vec<u8>) {
    let layout = kind.layout().unwrap();
    let rows = bytes(GROUP_ROWS * kind.row_bytes(n_in).unwrap(), seed);
    let mut packed = vec![0; layout.group_bytes(n_in).unwrap()];
    layout.pack(kind, &rows, &mut packed);
    (rows, packed)
}

/// Rows of activations in the form of a layout, from ordinary to extreme.
fn activations(layout: &Layout, n_in: usize, n: usize, seed: u32) -> Vec<Vec<u8>> {
    let form = layout.form();
    (0..n)
        .map(|c| {
            let mut x = noise(n_in, seed + c as u32);
            for (i, x) in x.iter_mut().enumerate() {
                match (c + i / 32) % 4 {
                    0 => *x = 1e20,
                    1 => *x = -1.0,
                    _ => {}
                }
            }
            let mut row = vec![0; form.row_bytes(n_in)];
            form.quantize(&x, &mut row);
            row
        })
        .collect()
}

#[test]
fn every_instruction_set_gives_the_canonical_bits() {
    for (kind, layout) in layouts() {
        // One that is no whole number of vectors, where blocks are small.
        for n_in in [layout.block_len, 256, 768, 768 + layout.block_len] {
            let (rows, packed) = group(kind, n_in, kind.id());
            let x = activations(layout, n_in, 15, kind.id());
            let x_rows: Vec<*const u8> = x.iter().map(|x| x.as_ptr()).collect();
            let expected: Vec<Vec<f32>> = (x.iter())
                .map(|x| {
                    let rows = rows.chunks_exact(rows.len() / GROUP_ROWS);
                    rows.map(|row| dot_row(kind, layout, row, n_in, x))
                        .collect()
                })
                .collect();
            for isa in supported() {
                for (order, group) in [(Order::Packed, &packed), (Order::File, &rows)] {
                    let kernel = kernel(kind, order, isa).unwrap();
                    let mut y = vec![[1.0; GROUP_ROWS]; x.len()];
                    // SAFETY: the instruction set is supported, the group and the rows are whole.
                    unsafe { kernel.dot(group.as_ptr(), n_in, &x_rows, &mut y) };
                    for (c, (y, expected)) in y.iter().zip(&expected).enumerate() {
                        for (r, (y, expected)) in y.iter().zip(expected).enumerate() {
                            assert!(
                                y.to_bits() == expected.to_bits()
                                    || (y.is_nan() && expected.is_nan()),
                                "{} {order:?} {} row {r} column {c}: {y} for {expected}",
                                kind.name(),
                                isa.name(),
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn activations_are_rounded_alike_on_every_instruction_set() {
    for (kind, layout) in layouts() {
        let form = layout.form();
        let mut x = noise(1024, kind.id());
        x[3] = f32::INFINITY;
        x[300] = f32::NAN;
        x[512..768].fill(1e-37);
        let mut expected = vec![0; form.row_bytes(x.len())];
        form.quantize(&x, &mut expected);
        for isa in supported() {
            let mut out = vec![1; expected.len()];
            quantize(isa, &form, &x, &mut out);
            assert!(out == expected, "{} {}", kind.name(), isa.name());
        }
    }
}
