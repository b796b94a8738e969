//! Groups of rows with all columns: by tiles, by the kernels of packed rows or by those of rows in
//! the order of the file, whichever is fastest for so many columns.

use std::ops::Range;

use perigee_quant::packed::{Form, GROUP_ROWS};

use super::kernels::{
    FEW_COLUMNS, Kernel, MAX_COLUMNS, MAX_GROUPS, Many, TileKernel, kernel, tile_kernel,
};
use super::tiles::TilePanel;
use crate::simd::aligned;
use crate::simd::isa::Isa;
use crate::{Matrix, Order, Stack};

/// Columns for which rows in the order of the file are packed first: packing costs as much as the
/// faster kernels save with some 25.
const WORTH_PACKING: usize = 32;
/// Columns for which tiles are used: making them of weights costs as much as they save with some
/// ten.
const WORTH_TILES: usize = 16;
/// Activations that stay in the second-level cache while they meet the groups of a task.
const CACHED_BYTES: usize = 256 << 10;

/// The kernels of a matrix on a machine.
pub(super) struct Kernels {
    own: Kernel,
    /// For rows in the order of the file those of packed ones.
    packed: Option<Kernel>,
    /// For many columns and packed rows.
    tiles: Option<(TileKernel, Form)>,
}

impl Kernels {
    /// For weights that meet integers, on this CPU.
    pub(super) fn of(stack: &Stack<'_>) -> Self {
        Self::on(Isa::best(), stack)
    }

    /// The same for another instruction set.
    pub(super) fn on(isa: Isa, stack: &Stack<'_>) -> Self {
        let kernel = |order| {
            let kernel = kernel(stack.kind(), order, isa);
            kernel.expect("types with a layout have kernels")
        };
        let tiles = || Some((tile_kernel(stack.kind())?, stack.layout()?.form()));
        Self {
            own: kernel(stack.order()),
            packed: (stack.order() == Order::File).then(|| kernel(Order::Packed)),
            tiles: if isa == Isa::Amx { tiles() } else { None },
        }
    }
}

/// Takes products: see [`for_products`].
type Body<'a> = &'a mut dyn FnMut(usize, usize, &mut [[f32; GROUP_ROWS]]);

/// Rows of activations, in the form that their weights meet.
struct Columns<'a> {
    n: usize,
    n_in: usize,
    row: &'a dyn Fn(usize) -> *const u8,
}

/// Calls `body(group, first, y)` with the dot products `y[j][r]` of row r of the group and
/// column `first + j`, for all the groups and columns, some columns at a time.
///
/// `column(i)` is a row of `n_in` activations. Rows in the order of the file are packed in `scratch`
/// if that is worth it and there is room.
///
/// # Safety
/// The kernels are those of the matrix's type and order, on instructions that the CPU has; for
/// every `i < n_columns` `column(i)` points to a whole row in the form of the type's layout.
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
    if let Some(packed) = &kernels.packed {
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
                let kernels = (packed, kernels.tiles.as_ref());
                // SAFETY: promised by the caller; the groups are packed.
                unsafe { products(kernels, (&weights, these), &columns, rest, &mut body) };
            }
            return;
        }
    }
    let tiles = kernels.tiles.as_ref().filter(|_| kernels.packed.is_none());
    let weights = |group| matrix.group(group).as_ptr();
    // SAFETY: promised by the caller.
    unsafe {
        products(
            (&kernels.own, tiles),
            (&weights, groups),
            &columns,
            scratch,
            &mut body,
        )
    };
}

/// The same with groups in the order of the kernels.
///
/// # Safety
/// As [`for_products`]; `weights(i)` points to a whole group, a packed one if there are tiles.
unsafe fn products(
    (kernel, tiles): (&Kernel, Option<&(TileKernel, Form)>),
    (weights, groups): (&dyn Fn(usize) -> *const u8, Range<usize>),
    columns: &Columns<'_>,
    scratch: &mut [f32],
    body: Body<'_>,
) {
    let Columns { n, n_in, row } = *columns;
    if let Some((tiles, form)) = tiles.filter(|_| n >= WORTH_TILES) {
        let most = TilePanel::most_rows(form, n_in, scratch.len());
        if most > 0 {
            for first in (0..n).step_by(most) {
                let these = |i| row(first + i);
                let rows: (_, &dyn Fn(usize) -> _) = (most.min(n - first), &these);
                // SAFETY: the rows are whole and of the form, promised by the caller.
                let (panel, sums) = unsafe { TilePanel::gather(form, n_in, rows, scratch) };
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
    if let Some(many) = kernel.many(n) {
        // SAFETY: promised by the caller.
        if unsafe { many_products(many, (weights, groups.clone()), columns, scratch, body) } {
            return;
        }
    }
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
