//! Groups of rows with all columns: by tiles, by the kernels of packed rows or by those of rows in
//! the order of the file, whichever is fastest for so many columns.

use std::ops::Range;

use perigee_quant::packed::{GROUP_ROWS, Layout};

use super::activations::Rounding;
use super::bf16_tiles::Bf16Panel;
use super::kernels::{
    Bf16Kernel, FEW_COLUMNS, Kernel, MAX_COLUMNS, MAX_GROUPS, Many, TileKernel, bf16_kernel,
    kernel, tile_kernel,
};
use super::tiles::TilePanel;
use crate::simd::aligned;
use crate::simd::isa::Isa;
use crate::{Matrix, Order, Stack, Workers};

/// Columns for which rows in the order of the file are packed first: packing costs as much as the
/// faster kernels save with some 25.
const WORTH_PACKING: usize = 32;
/// Columns for which tiles are used: making them of weights costs as much as they save with some
/// ten.
const WORTH_TILES: usize = 16;
/// Columns for which tiles of bf16 are used, no fewer than [`WORTH_PACKING`]: making them of weights
/// costs, by the count of instructions, as much as they save with some twenty.
const WORTH_BF16: usize = 32;
const _: () = assert!(WORTH_BF16 >= WORTH_PACKING, "tiles are of packed rows");
/// Activations that stay in the second-level cache while they meet the groups of a task.
const CACHED_BYTES: usize = 256 << 10;

/// The kernels of a matrix on a machine.
pub(super) struct Kernels {
    /// For few columns where rows are in the order of the file.
    file: Option<Kernel>,
    packed: PackedKernels,
}

/// Those of packed rows.
#[derive(Clone, Copy)]
struct PackedKernels {
    layout: &'static Layout,
    kernel: Kernel,
    /// For many columns.
    tiles: Option<TileKernel>,
    /// For many columns in bf16.
    bf16: Option<Bf16Kernel>,
}

impl Kernels {
    /// For weights that meet rounded activations, on this CPU.
    pub(super) fn of(workers: &Workers, stack: &Stack<'_>) -> Self {
        if workers.is_deterministic() {
            Self::on(Isa::best(), stack)
        } else {
            Self::fastest(Isa::best(), stack, workers.scratch_len())
        }
    }

    /// For another instruction set, with so much scratch memory.
    pub(super) fn fastest(isa: Isa, stack: &Stack<'_>, scratch_len: usize) -> Self {
        let exact = Self::on(isa, stack);
        if isa.has_bf16_tiles() {
            exact.or_bf16(stack, scratch_len)
        } else {
            exact
        }
    }

    /// For another instruction set, with one arithmetic.
    pub(super) fn on(isa: Isa, stack: &Stack<'_>) -> Self {
        let kernel = |order| {
            let kernel = kernel(stack.kind(), order, isa);
            kernel.expect("types with a layout have kernels")
        };
        let layout = stack.layout().expect("weights that meet integers have one");
        Self {
            file: (stack.order() == Order::File).then(|| kernel(Order::File)),
            packed: PackedKernels {
                layout,
                kernel: kernel(Order::Packed),
                tiles: tile_kernel(stack.kind()).filter(|_| isa == Isa::Amx),
                bf16: None,
            },
        }
    }

    /// With those of bf16 where they are the faster and scratch memory suffices for them; in either order
    /// of rows, whose products are the same.
    pub(super) fn or_bf16(mut self, stack: &Stack<'_>, scratch_len: usize) -> Self {
        let half = scratch_len / 2;
        let has_room = Bf16Panel::most_rows(half) > 0 && half >= stack.item(0).packed_group_len();
        self.packed.bf16 = bf16_kernel(stack.kind()).filter(|_| has_room);
        self
    }

    /// What `n_columns` rows of activations are rounded to for these kernels.
    pub(super) fn rounding(&self, n_columns: usize) -> Rounding {
        if self.packed.bf16.is_some() && n_columns >= WORTH_BF16 {
            Rounding::Bf16
        } else {
            Rounding::Int8(self.packed.layout.form())
        }
    }
}

/// Takes products: see [`for_products`].
type Body<'a> = &'a mut dyn FnMut(usize, usize, &mut [[f32; GROUP_ROWS]]);

/// Rows of activations, rounded as their weights meet them.
struct Columns<'a> {
    n: usize,
    n_in: usize,
    row: &'a dyn Fn(usize) -> *const u8,
}

/// Calls `body(group, first, y)` with the dot products `y[j][r]` of row r of the group and
/// column `first + j`, for all the groups and columns, some columns at a time.
///
/// `column(i)` is a row of `n_in` activations, rounded as [`Kernels::rounding`] says for as many. Rows
/// in the order of the file are packed in `scratch` if that is worth it and there is room.
///
/// # Safety
/// The kernels are those of the matrix's type and order, on instructions that the CPU has; for
/// every `i < n_columns` `column(i)` points to a whole row, rounded that way.
///
/// # Panics
/// When kernels of bf16 have less scratch memory than they were chosen for.
pub(super) unsafe fn for_products(
    kernels: &Kernels,
    (matrix, groups): (&Matrix<'_>, Range<usize>),
    n_columns: usize,
    column: &dyn Fn(usize) -> *const u8,
    scratch: &mut [f32],
    mut body: impl FnMut(usize, usize, &mut [[f32; GROUP_ROWS]]),
) {
    let columns = Columns {
        n: n_columns,
        n_in: matrix.n_in(),
        row: column,
    };
    if let Some(file) = kernels.file {
        // Half of the memory is for a panel.
        let group_len = matrix.packed_group_len();
        let at_once = scratch.len() / 2 / group_len;
        if n_columns >= WORTH_PACKING && at_once > 0 {
            let (room, rest) = scratch.split_at_mut(at_once * group_len);
            for first in groups.clone().step_by(at_once) {
                let these = first..groups.end.min(first + at_once);
                for (group, room) in these.clone().zip(room.chunks_exact_mut(group_len)) {
                    matrix.pack_group(group, room);
                }
                let weights = |group| room[(group - first) * group_len..].as_ptr().cast();
                let packed = &kernels.packed;
                // SAFETY: promised by the caller; the groups are packed.
                unsafe { products(packed, (&weights, these), &columns, rest, &mut body) };
            }
        } else {
            let weights = |group| matrix.group(group).as_ptr();
            // SAFETY: promised by the caller; rows of bf16 would have been packed.
            unsafe { few_products(&file, (&weights, groups), &columns, &mut body) };
        }
        return;
    }
    let weights = |group| matrix.group(group).as_ptr();
    let packed = &kernels.packed;
    // SAFETY: promised by the caller.
    unsafe { products(packed, (&weights, groups), &columns, scratch, &mut body) };
}

/// The same with packed groups.
///
/// # Safety
/// As [`for_products`]; `weights(i)` points to a whole packed group.
unsafe fn products(
    kernels: &PackedKernels,
    (weights, groups): (&dyn Fn(usize) -> *const u8, Range<usize>),
    columns: &Columns<'_>,
    scratch: &mut [f32],
    body: Body<'_>,
) {
    let Columns { n, n_in, row } = *columns;
    if let Some(bf16) = kernels.bf16.filter(|_| n >= WORTH_BF16) {
        // SAFETY: promised by the caller.
        unsafe { bf16_products(bf16, (weights, groups), columns, scratch, body) };
        return;
    }
    if let Some(tiles) = kernels.tiles.filter(|_| n >= WORTH_TILES) {
        let layout = kernels.layout;
        let most = TilePanel::most_rows(layout, n_in, scratch.len());
        if most > 0 {
            for first in (0..n).step_by(most) {
                let these = |i| row(first + i);
                let rows: (_, &dyn Fn(usize) -> _) = (most.min(n - first), &these);
                // SAFETY: the rows are whole and of the form, promised by the caller.
                let (panel, sums) = unsafe { TilePanel::gather(layout, n_in, rows, scratch) };
                for group in groups.clone() {
                    // SAFETY: the CPU has tiles and the group is packed, promised by the caller;
                    // there are as many sums as rows were gathered.
                    unsafe { tiles.dot(weights(group), &panel, sums) };
                    body(group, first, sums);
                }
            }
            return;
        }
    }
    let kernel = &kernels.kernel;
    if let Some(many) = kernel.many(n) {
        // SAFETY: promised by the caller.
        if unsafe { many_products(many, (weights, groups.clone()), columns, scratch, body) } {
            return;
        }
    }
    // SAFETY: promised by the caller.
    unsafe { few_products(kernel, (weights, groups), columns, body) };
}

/// The same by tiles of bf16.
///
/// # Safety
/// As [`products`], and columns are rounded to bf16.
unsafe fn bf16_products(
    kernel: Bf16Kernel,
    (weights, groups): (&dyn Fn(usize) -> *const u8, Range<usize>),
    columns: &Columns<'_>,
    scratch: &mut [f32],
    body: Body<'_>,
) {
    let Columns { n, n_in, row } = *columns;
    let most = Bf16Panel::most_rows(scratch.len());
    assert!(most > 0, "memory for a panel");
    // As many each as possible: weights are unpacked for each again.
    let mut start = 0;
    for turn in (1..=n.div_ceil(most)).rev() {
        let n = (n - start).div_ceil(turn);
        let these = |i| row(start + i);
        // SAFETY: the rows are whole, promised by the caller.
        let mut panel = unsafe { Bf16Panel::new(n_in, (n, &these), scratch) };
        for first in groups.clone().step_by(MAX_GROUPS) {
            let these = first..groups.end.min(first + MAX_GROUPS);
            let mut pointers = [std::ptr::null(); MAX_GROUPS];
            let pointers = &mut pointers[..these.len()];
            for (group, pointer) in these.clone().zip(&mut *pointers) {
                *pointer = weights(group);
            }
            // SAFETY: the CPU has the tiles, and the groups are packed, promised by the caller.
            unsafe { kernel.dot(pointers, &mut panel) };
            for (g, group) in these.enumerate() {
                body(group, start, panel.sums(g));
            }
        }
        start += n;
    }
}

/// The same by a kernel for a few columns, with groups in its order.
///
/// # Safety
/// As [`for_products`], and columns are rounded to integers.
unsafe fn few_products(
    kernel: &Kernel,
    (weights, groups): (&dyn Fn(usize) -> *const u8, Range<usize>),
    columns: &Columns<'_>,
    body: Body<'_>,
) {
    let Columns { n, n_in, row } = *columns;
    let at_once = (CACHED_BYTES / n_in).max(1).next_multiple_of(FEW_COLUMNS);
    let mut x = [std::ptr::null(); FEW_COLUMNS];
    let mut y = [[0.0; GROUP_ROWS]; FEW_COLUMNS];
    for start in (0..n).step_by(at_once) {
        let end = n.min(start + at_once);
        for group in groups.clone() {
            for first in (start..end).step_by(FEW_COLUMNS) {
                let n = FEW_COLUMNS.min(end - first);
                for (j, x) in x[..n].iter_mut().enumerate() {
                    *x = row(first + j);
                }
                // SAFETY: the group and the rows are whole and for this kernel, promised by the
                // caller.
                unsafe { kernel.few(weights(group), n_in, &x[..n], &mut y[..n]) };
                body(group, first, &mut y[..n]);
            }
        }
    }
}

/// The same by a kernel for many columns; `false` if there is no room for their sums.
///
/// # Safety
/// As [`products`].
unsafe fn many_products(
    many: &Many,
    (weights, groups): (&dyn Fn(usize) -> *const u8, Range<usize>),
    columns: &Columns<'_>,
    scratch: &mut [f32],
    body: Body<'_>,
) -> bool {
    let Columns { n, n_in, row } = *columns;
    // As many each as possible: the most would leave a few for the end.
    let n_turns = n.div_ceil(many.most_columns);
    let (sums, _) = aligned(scratch).as_chunks_mut::<GROUP_ROWS>();
    let groups_at_once = (many.most_groups).min(sums.len() / n.div_ceil(n_turns));
    if groups_at_once == 0 {
        return false;
    }
    let mut x = [std::ptr::null(); MAX_COLUMNS];
    let mut pointers = [std::ptr::null(); MAX_GROUPS];
    let mut start = 0;
    for turn in (1..=n_turns).rev() {
        let n = (n - start).div_ceil(turn);
        let x = &mut x[..n];
        for (j, x) in x.iter_mut().enumerate() {
            *x = row(start + j);
        }
        for first in groups.clone().step_by(groups_at_once) {
            let these = first..groups.end.min(first + groups_at_once);
            let pointers = &mut pointers[..these.len()];
            for (group, pointer) in these.clone().zip(&mut *pointers) {
                *pointer = weights(group);
            }
            let sums = &mut sums[..these.len() * n];
            // SAFETY: the groups and the rows are whole and for this kernel, promised by the caller.
            unsafe { many.dot(pointers, n_in, x, sums) };
            for (group, sums) in these.zip(sums.chunks_exact_mut(n)) {
                body(group, start, sums);
            }
        }
        start += n;
    }
    true
}
