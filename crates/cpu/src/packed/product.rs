//! `y = W·x` with packed rows.

use std::ops::Range;

use perigee_quant::packed::{Form, GROUP_ROWS, Layout};
use perigee_topology::DisjointMut;

use super::kernels::{Kernel, MAX_COLUMNS, TileKernel, kernel, tile_kernel};
use super::tiles::Panel;
use crate::matmul::At;
use crate::simd::isa::Isa;
use crate::{Matrix, Order, Stack, Workers};

/// Multiplications that are worth a task: 8 µs of memory at 14 GB/s and 8 bits.
const LEAST_TASK_MACS: usize = 100_000;
/// Enough for memory to stream: longer tasks gain nothing.
const MOST_TASK_MACS: usize = 400_000;
/// Tasks for each thread between those limits, so that nobody waits long for the last one.
const TASKS_PER_THREAD: usize = 8;
/// Groups of a task when there are many tokens, so that activations in the cache meet as many
/// rows as fit beside them.
const MOST_GROUPS: usize = 8;
/// Activations that stay in the second-level cache while they meet the groups of a task.
const TILE_BYTES: usize = 256 << 10;

/// Columns for which rows in the order of the file are packed first: packing costs as much as the
/// faster kernels save with some 25.
const WORTH_PACKING: usize = 32;

/// Columns for which tiles are used: making them of weights costs as much as they save with some ten.
pub(super) const WORTH_TILES: usize = 16;

/// The kernels of a matrix on this machine.
pub(super) struct Kernels {
    own: Kernel,
    /// For rows in the order of the file those of packed ones.
    packed: Option<Kernel>,
    /// For many columns and packed rows.
    tiles: Option<(TileKernel, Form)>,
}

impl Kernels {
    /// For weights that meet integers.
    pub(super) fn of(stack: &Stack<'_>) -> Self {
        Self::on(Isa::best(), stack)
    }

    /// The same for an instruction set, which the CPU must have when they are used.
    pub(super) fn on(isa: Isa, stack: &Stack<'_>) -> Self {
        let kernel = |order| {
            let kernel = kernel(stack.kind(), order, isa);
            kernel.expect("types with a layout have kernels")
        };
        Self {
            own: kernel(stack.order()),
            packed: (stack.order() == Order::File).then(|| kernel(Order::Packed)),
            tiles: (isa == Isa::Amx)
                .then(|| Some((tile_kernel(stack.kind())?, stack.layout()?.form())))
                .flatten(),
        }
    }
}

/// Groups of a task of a loop over `n_items` matrices of `n_groups` each, whose weights meet
/// `n_columns` rows of activations.
pub(super) fn groups_per_task(
    workers: &Workers,
    n_in: usize,
    n_columns: usize,
    (n_items, n_groups): (usize, usize),
) -> usize {
    let group_macs = GROUP_ROWS * n_in * n_columns.max(1);
    let share = n_items * n_groups * group_macs / (workers.n_threads() * TASKS_PER_THREAD);
    let task_macs = share.clamp(LEAST_TASK_MACS, MOST_TASK_MACS);
    let needed = task_macs.div_ceil(group_macs).max(n_columns.div_ceil(8));
    needed.min(MOST_GROUPS).min(n_groups).max(1)
}

/// Rows of activations that are used together before the next ones.
fn columns_per_tile(n_in: usize) -> usize {
    (TILE_BYTES / n_in).next_multiple_of(MAX_COLUMNS)
}

/// Calls `body(group, first, y)` with the dot products `y[j][r]` of row r of the group and
/// column `first + j`, for all the groups and columns, some columns at a time.
///
/// `column(i)` is a row of `n_in` activations in the form of the matrix. Rows in the order of the
/// file are packed in `scratch` if that is worth it and there is room.
pub(super) fn for_products(
    kernels: &Kernels,
    (matrix, groups): (&Matrix<'_>, Range<usize>),
    n_columns: usize,
    column: &dyn Fn(usize) -> *const u8,
    scratch: &mut [f32],
    mut body: impl FnMut(usize, usize, &mut [[f32; GROUP_ROWS]]),
) {
    let n_in = matrix.n_in();
    let (room, scratch) = match &kernels.packed {
        Some(packed) if n_columns >= WORTH_PACKING => match matrix.room_to_pack(scratch) {
            Some((room, rest)) => (Some((packed, room)), rest),
            None => (None, &mut [][..]),
        },
        _ => (None, scratch),
    };
    if let Some((tiles, form)) = &kernels.tiles
        && n_columns >= WORTH_TILES
        && (room.is_some() || kernels.packed.is_none())
    {
        let most = Panel::most_rows(form, n_in, scratch.len());
        if most > 0 {
            let mut room = room;
            for first in (0..n_columns).step_by(most) {
                let n = most.min(n_columns - first);
                // SAFETY: the columns are whole rows of activations in the form of the layout.
                let (panel, sums) =
                    unsafe { Panel::gather(form, n_in, (n, &|i| column(first + i)), scratch) };
                for group in groups.clone() {
                    let weights = match &mut room {
                        Some((_, room)) => {
                            matrix.pack_group(group, room);
                            room.as_ptr()
                        }
                        None => matrix.group(group).as_ptr(),
                    };
                    // SAFETY: `Kernels::of` found tiles here; the group is whole and packed.
                    unsafe { tiles.dot(weights, n_in, &panel, sums) };
                    body(group, first, sums);
                }
            }
            return;
        }
    }
    let mut run = |kernel: &Kernel, weights: *const u8, group: usize, columns: Range<usize>| {
        for first in columns.clone().step_by(MAX_COLUMNS) {
            let n = MAX_COLUMNS.min(columns.end - first);
            let mut x = [std::ptr::null(); MAX_COLUMNS];
            for (j, x) in x[..n].iter_mut().enumerate() {
                *x = column(first + j);
            }
            let mut y = [[0.0; GROUP_ROWS]; MAX_COLUMNS];
            // SAFETY: the kernel is one of this CPU (`Kernels::of`); the weights are a whole
            // group of `n_in` columns in its order, and the columns are whole rows of
            // activations in the form of the layout (`Rounded::fill` with that form and length).
            unsafe { kernel.dot(weights, n_in, &x[..n], &mut y[..n]) };
            body(group, first, &mut y[..n]);
        }
    };
    if let Some((packed, room)) = room {
        for group in groups {
            matrix.pack_group(group, room);
            run(packed, room.as_ptr(), group, 0..n_columns);
        }
        return;
    }
    let tile = columns_per_tile(n_in);
    for start in (0..n_columns).step_by(tile) {
        let columns = start..n_columns.min(start + tile);
        for group in groups.clone() {
            let weights = matrix.group(group).as_ptr();
            run(&kernels.own, weights, group, columns.clone());
        }
    }
}

/// `y[t, h, o] = Σ_i w[h][o, i] · x[t, h, i]` with matrices that meet integers; see
/// [`matmul_stack`](crate::matmul_stack).
pub(crate) fn product(
    workers: &Workers,
    (w, layout): (Stack<'_>, &Layout),
    n_tokens: usize,
    (x, x_at): (&[f32], At),
    (y, y_at): (&mut [f32], At),
) {
    let (n_in, n_items) = (w.n_in(), w.n_items());
    let mut rounded = workers.rounded();
    let row = |i: usize| &x[x_at.row(i / n_items, i % n_items)..][..n_in];
    let shape = (n_tokens * n_items, n_in);
    let [[rows]] = rounded.fill_forms(workers, [[layout.form()]], shape, &row);
    let per_task = groups_per_task(workers, n_in, n_tokens, (n_items, w.n_groups()));
    let n_tasks = w.n_groups().div_ceil(per_task);
    let job = Job {
        kernels: Kernels::of(&w),
        n_tokens,
        y: DisjointMut::new(y),
        y_at,
    };
    workers.for_each(n_tasks * n_items, &|task, scratch| {
        let (item, first) = (task / n_tasks, task % n_tasks * per_task);
        let groups = first..w.n_groups().min(first + per_task);
        let column = |t: usize| rows.row(t * n_items + item);
        // SAFETY: each index is one range of groups of one item, and `y_at` keeps items and tokens
        // apart (asserted by the caller).
        unsafe { job.run((&w.item(item), groups), item, &column, scratch) };
    });
}

/// `y[t, o] = Σ_i w[o, i] · x[t, i]` with several such matrices, as one list of tasks; see
/// [`matmul_all`](crate::matmul_all).
pub(crate) fn product_all<const N: usize>(
    workers: &Workers,
    x: &[f32],
    products: [(Matrix<'_>, &Layout, &mut [f32]); N],
) {
    let n_in = products[0].0.n_in();
    let n_tokens = x.len() / n_in;
    let forms = products.each_ref().map(|(_, layout, _)| [layout.form()]);
    let mut rounded = workers.rounded();
    let row = |t: usize| &x[t * n_in..][..n_in];
    let rows = rounded.fill_forms(workers, forms, (n_tokens, n_in), &row);
    let n_groups: usize = products.iter().map(|(w, ..)| w.n_groups()).sum();
    let per_task = groups_per_task(workers, n_in, n_tokens, (1, n_groups));
    let mut n_tasks = 0;
    let jobs = products.map(|(w, _, y)| {
        let first_task = n_tasks;
        n_tasks += w.n_groups().div_ceil(per_task);
        let y_at = At {
            start: 0,
            token: w.n_rows(),
            item: 0,
        };
        let job = Job {
            kernels: Kernels::of(&w.into()),
            n_tokens,
            y: DisjointMut::new(y),
            y_at,
        };
        (first_task, w, job)
    });
    workers.for_each(n_tasks, &|task, scratch| {
        let is_after = |(first_task, ..): &(usize, _, _)| *first_task <= task;
        let i = jobs.iter().rposition(is_after).expect("the first is 0");
        let (first_task, w, job) = &jobs[i];
        let first = (task - first_task) * per_task;
        let groups = first..w.n_groups().min(first + per_task);
        // SAFETY: each index is one range of groups of one matrix, whose tokens are whole rows.
        unsafe { job.run((w, groups), 0, &|t| rows[i][0].row(t), scratch) };
    });
}

/// What the tasks of a product share.
struct Job<'a> {
    kernels: Kernels,
    n_tokens: usize,
    y: DisjointMut<'a, f32>,
    y_at: At,
}

impl Job<'_> {
    /// Some groups of matrix `item` and all tokens.
    ///
    /// # Safety
    /// While one task runs, no other has the same groups of the same item; `y_at` keeps items and
    /// tokens apart.
    unsafe fn run(
        &self,
        weights: (&Matrix<'_>, Range<usize>),
        item: usize,
        column: &dyn Fn(usize) -> *const u8,
        scratch: &mut [f32],
    ) {
        let store = |group: usize, t: usize, sums: &mut [[f32; GROUP_ROWS]]| {
            for (t, sums) in (t..).zip(sums) {
                let start = self.y_at.row(t, item) + group * GROUP_ROWS;
                // SAFETY: promised by the caller.
                unsafe { self.y.range(start, GROUP_ROWS) }.copy_from_slice(sums);
            }
        };
        for_products(
            &self.kernels,
            weights,
            self.n_tokens,
            column,
            scratch,
            store,
        );
    }
}
