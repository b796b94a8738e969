use perigee_quant::QuantKind;
use perigee_quant::packed::{GROUP_ROWS, Layout, Scale, dot_row};

use super::activations::quantize;
use super::groups::{Kernels, for_products};
use super::kernels::{Kernel, kernel, tile_kernel};
use super::tiles::TilePanel;
use crate::matrix::Order;
use crate::noise::noise;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::simd::amx::emulator::has_tiles;
use crate::simd::isa::Isa;
use crate::{Activations, Stack};

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

/// Rows of activations in the form of a layout, from ordinary to extreme: block by block noise,
/// integers that are all 127, all −127, or of either sign.
fn activations(layout: &Layout, n_in: usize, n: usize, seed: u32) -> Vec<Vec<u8>> {
    (0..n)
        .map(|c| {
            let mut x = noise(n_in, seed + c as u32);
            for (i, x) in x.iter_mut().enumerate() {
                match (c + i / layout.block_len) % 4 {
                    0 => *x = 1e20,
                    1 => *x = -1.0,
                    2 => *x = x.signum(),
                    _ => {}
                }
            }
            quantized(layout, &x)
        })
        .collect()
}

fn quantized(layout: &Layout, x: &[f32]) -> Vec<u8> {
    let form = layout.form();
    let mut row = vec![0; form.row_bytes(x.len())];
    form.quantize(x, &mut row);
    row
}

#[test]
fn every_instruction_set_gives_the_canonical_bits() {
    /// No less than any kernel is worth.
    const MOST_COLUMNS: usize = 67;
    for (kind, layout) in layouts() {
        // One that is no whole number of vectors, where blocks are small.
        for n_in in [layout.block_len, 256, 768, 768 + layout.block_len] {
            let groups = [0, 100, 200].map(|seed| group(kind, n_in, seed + kind.id()));
            let x = activations(layout, n_in, MOST_COLUMNS, kind.id());
            let x_rows: Vec<*const u8> = x.iter().map(|x| x.as_ptr()).collect();
            let expected = groups.each_ref().map(|(rows, _)| {
                let dots = |x: &Vec<u8>| {
                    let rows = rows.chunks_exact(rows.len() / GROUP_ROWS);
                    rows.map(|row| dot_row(kind, layout, row, n_in, x))
                        .collect::<Vec<f32>>()
                };
                x.iter().map(dots).collect::<Vec<_>>()
            });
            let file = groups.each_ref().map(|(rows, _)| rows.as_ptr());
            let packed = groups.each_ref().map(|(_, packed)| packed.as_ptr());
            for isa in supported() {
                for (order, groups) in [(Order::Packed, packed), (Order::File, file)] {
                    let kernel = kernel(kind, order, isa).unwrap();
                    // So many numbers of columns that every kernel has its turn.
                    for n in (1..=13).chain([33, 36, MOST_COLUMNS]) {
                        let check = |g: usize, c: usize, y: &[f32; GROUP_ROWS]| {
                            for (r, (y, expected)) in y.iter().zip(&expected[g][c]).enumerate() {
                                assert!(
                                    y.to_bits() == expected.to_bits()
                                        || (y.is_nan() && expected.is_nan()),
                                    "{} {order:?} {} group {g} row {r} column {c} of {n}: {y} for \
                                     {expected}",
                                    kind.name(),
                                    isa.name(),
                                );
                            }
                        };
                        // SAFETY: the instruction set is supported, the groups and the rows are
                        // whole.
                        unsafe { for_all_ways(&kernel, &groups, n_in, &x_rows[..n], check) };
                    }
                }
            }
        }
    }
}

/// Calls `check(group, column, y)` with the products of one group, some columns at a time, and where
/// there is a kernel for so many columns with those of as many groups as that takes, one and more.
///
/// # Safety
/// As those of [`Kernel::few`], for all groups.
unsafe fn for_all_ways(
    kernel: &Kernel,
    groups: &[*const u8],
    n_in: usize,
    x: &[*const u8],
    check: impl Fn(usize, usize, &[f32; GROUP_ROWS]),
) {
    let mut y = vec![[1.0; GROUP_ROWS]; x.len()];
    // SAFETY: promised by the caller.
    unsafe { kernel.few(groups[0], n_in, x, &mut y) };
    y.iter().enumerate().for_each(|(c, y)| check(0, c, y));
    let Some(many) = kernel
        .many(x.len())
        .filter(|many| x.len() <= many.most_columns)
    else {
        return;
    };
    for n_groups in 1..=groups.len().min(many.most_groups) {
        let mut y = vec![[1.0; GROUP_ROWS]; n_groups * x.len()];
        // SAFETY: promised by the caller.
        unsafe { many.dot(&groups[..n_groups], n_in, x, &mut y) };
        for (i, y) in y.iter().enumerate() {
            check(i / x.len(), i % x.len(), y);
        }
    }
}

/// A group of 256 columns all of whose codes, scales and minima are made of the same byte; the float
/// scales are ordinary numbers, so that a wrong sum is seen.
fn constant_group(kind: QuantKind, byte: u8) -> (Vec<u8>, Vec<u8>) {
    const N_IN: usize = 256;
    let layout = kind.layout().unwrap();
    let mut rows = vec![byte; GROUP_ROWS * kind.row_bytes(N_IN).unwrap()];
    let mut packed = vec![0; layout.group_bytes(N_IN).unwrap()];
    layout.pack(kind, &rows, &mut packed);
    let fill = |at: &mut [u8], scale: &[u8]| {
        for to in at.chunks_exact_mut(scale.len()).take(GROUP_ROWS) {
            to.copy_from_slice(scale);
        }
    };
    let f16 = 0x2C00_u16.to_le_bytes();
    let (meta, blocks) = packed.split_at_mut(layout.group_meta_bytes());
    for block in blocks.chunks_exact_mut(layout.block_bytes()) {
        match layout.scale {
            Scale::F16 => fill(block, &f16),
            Scale::Exponent => fill(block, &[124]),
            Scale::RowF16 => fill(meta, &f16),
            Scale::RowF32 => fill(meta, &0.0625_f32.to_le_bytes()),
        }
        if layout.has_mins() {
            fill(&mut block[layout.dmin_offset()..], &f16);
        }
    }
    layout.unpack(kind, &packed, &mut rows);
    (rows, packed)
}

#[test]
fn extreme_sums_are_exact() {
    for (kind, layout) in layouts() {
        let signs: [fn(usize) -> bool; 4] =
            [|_| false, |_| true, |i| i / 16 % 2 == 1, |i| i % 2 == 1];
        let x = signs.map(|is_negative| {
            let x: Vec<f32> = (0..256)
                .map(|i| if is_negative(i) { -1.0 } else { 1.0 })
                .collect();
            quantized(layout, &x)
        });
        for byte in (0..=255).step_by(3) {
            let (rows, packed) = constant_group(kind, byte);
            let row = &rows[..rows.len() / GROUP_ROWS];
            let expected = x.each_ref().map(|x| dot_row(kind, layout, row, 256, x));
            assert!(expected.iter().all(|y| !y.is_nan()), "{}", kind.name());
            for isa in supported() {
                let kernel = kernel(kind, Order::Packed, isa).unwrap();
                // A few at a time, and many.
                for n in [1, 2, 4, 8, 64] {
                    let columns: Vec<_> = (0..n).map(|c| x[c % 4].as_ptr()).collect();
                    let check = |_, c: usize, y: &[f32; GROUP_ROWS]| {
                        let right = y.iter().all(|y| y.to_bits() == expected[c % 4].to_bits());
                        let (kind, isa) = (kind.name(), isa.name());
                        assert!(
                            right,
                            "{kind} {isa} {byte} {c} of {n}: {y:?} for {expected:?}"
                        );
                    };
                    // SAFETY: the instruction set is supported, the group and the rows are whole.
                    unsafe { for_all_ways(&kernel, &[packed.as_ptr(); 3], 256, &columns, check) };
                }
            }
        }
    }
}

/// The products of a group with rows of activations, row after row.
///
/// # Safety
/// The CPU has the instruction set; each of `x` is a whole row in the form of the stack's layout.
unsafe fn products(isa: Isa, stack: &Stack<'_>, x: &[Vec<u8>], scratch_len: usize) -> Vec<f32> {
    let mut all = vec![[0.0; GROUP_ROWS]; x.len()];
    let mut scratch = vec![0.0; scratch_len];
    let store = |_, first, sums: &mut [[f32; GROUP_ROWS]]| {
        all[first..first + sums.len()].copy_from_slice(sums);
    };
    let (kernels, weights) = (Kernels::on(isa, stack), (&stack.item(0), 0..1));
    let column = |t: usize| x[t].as_ptr();
    // SAFETY: the kernels are those of the matrix; the rest is promised by the caller.
    unsafe { for_products(&kernels, weights, x.len(), &column, &mut scratch, store) };
    all.into_flattened()
}

/// Rows in the file are packed first, and tokens are cut into as many as a kernel takes.
#[test]
fn many_tokens_give_the_same_bits_on_every_instruction_set() {
    let (n_in, n_tokens) = (1280, 300);
    for kind in [
        QuantKind::Iq3K,
        QuantKind::Q8_0,
        QuantKind::Q4K,
        QuantKind::Iq4K,
    ] {
        let layout = kind.layout().unwrap();
        let (rows, packed) = group(kind, n_in, 6);
        let x = activations(layout, n_in, n_tokens, 8);
        let packed = Stack::packed(kind, n_in, GROUP_ROWS, 1, &packed).unwrap();
        let mapped = Stack::new(kind, n_in, GROUP_ROWS, 1, &rows).meeting(Activations::Int8);
        let mut first: Option<Vec<u32>> = None;
        for stack in [packed, mapped] {
            for isa in supported() {
                // SAFETY: the instruction set is supported, and the rows are whole and of the form.
                let all =
                    unsafe { products(isa, &stack, &x, 4 * packed.item(0).packed_group_len()) };
                let bits: Vec<u32> = (all.iter())
                    .map(|y| if y.is_nan() { f32::NAN } else { *y }.to_bits())
                    .collect();
                let first = first.get_or_insert_with(|| bits.clone());
                assert!(*first == bits, "{} {}", kind.name(), isa.name());
            }
        }
    }
}

/// Floats of scratch memory that suffice for a panel of as many rows, and for no more tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn panel_len(layout: &Layout, n_in: usize, n_rows: usize) -> usize {
    let suffices = |len: &usize| TilePanel::most_rows(layout, n_in, *len) >= n_rows;
    (0..).find(suffices).unwrap()
}

/// By the machine's tiles or emulated ones.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn tiles_give_the_canonical_bits() {
    if !has_tiles() {
        return;
    }
    for (kind, layout) in layouts() {
        let kernel = tile_kernel(kind).unwrap();
        // Fewer and more tiles than blocks have steps; last ones for 16 rows and for 32.
        for (n_in, n_rows) in [(layout.block_len, 1), (768, 37), (512, 90), (512, 170)] {
            let (rows, packed) = group(kind, n_in, kind.id() + 1);
            let x = activations(layout, n_in, n_rows, kind.id());
            let mut scratch = vec![7.0; panel_len(layout, n_in, n_rows)];
            // SAFETY: whole rows of activations; the CPU has AVX-512 and emulated tiles; the group
            // is whole and the panel of its form.
            let sums = unsafe {
                let row = |i: usize| x[i].as_ptr();
                let (panel, sums) = TilePanel::gather(layout, n_in, (n_rows, &row), &mut scratch);
                kernel.dot(packed.as_ptr(), &panel, sums);
                sums
            };
            for (t, (x, sums)) in x.iter().zip(sums).enumerate() {
                for (r, row) in rows.chunks_exact(rows.len() / GROUP_ROWS).enumerate() {
                    let expected = dot_row(kind, layout, row, n_in, x);
                    assert!(
                        sums[r].to_bits() == expected.to_bits()
                            || (sums[r].is_nan() && expected.is_nan()),
                        "{} row {r} token {t}: {} for {expected}",
                        kind.name(),
                        sums[r]
                    );
                }
            }
        }
    }
}

/// Rows in the file are packed first, and a short memory cuts the tokens into several panels.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn tiles_serve_rows_in_both_orders() {
    if !has_tiles() {
        return;
    }
    let (n_in, n_tokens) = (512, 70);
    for kind in [QuantKind::Iq3K, QuantKind::Q8_0, QuantKind::Q4K] {
        let layout = kind.layout().unwrap();
        let (rows, packed) = group(kind, n_in, 5);
        let x = activations(layout, n_in, n_tokens, 9);
        let packed = Stack::packed(kind, n_in, GROUP_ROWS, 1, &packed).unwrap();
        let mapped = Stack::new(kind, n_in, GROUP_ROWS, 1, &rows).meeting(Activations::Int8);
        let panel = panel_len(layout, n_in, 32);
        let room = packed.item(0).packed_group_len();
        for (stack, scratch_len) in [(packed, panel), (mapped, 2 * panel.max(room)), (mapped, 10)] {
            let mut sums = [Isa::Avx512, Isa::Amx].map(|isa| {
                // SAFETY: the CPU has AVX-512 and emulated tiles; the rows are whole and of the form.
                let all = unsafe { products(isa, &stack, &x, scratch_len) };
                all.into_iter().map(f32::to_bits)
            });
            let [avx512, amx] = &mut sums;
            assert!(avx512.eq(amx), "{} {scratch_len}", kind.name());
        }
    }
}

#[test]
fn activations_are_rounded_alike_on_every_instruction_set() {
    for (kind, layout) in layouts() {
        let form = layout.form();
        for n in [256, 1024, 19 * layout.block_len] {
            let mut x = noise(n, kind.id());
            x[3] = f32::INFINITY;
            x[32] = -0.0;
            x[n / 2] = f32::NAN;
            x[n - 1] *= -1e20;
            x[64..128].fill(1e-37);
            let mut expected = vec![0; form.row_bytes(n)];
            form.quantize(&x, &mut expected);
            for isa in supported() {
                let mut out = vec![1; expected.len()];
                quantize(isa, &form, &x, &mut out);
                assert!(out == expected, "{} {} {n}", kind.name(), isa.name());
            }
        }
    }
}
