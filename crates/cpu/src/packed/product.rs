//! `y = W·x` with weights that meet integers.

use std::ops::Range;

use perigee_quant::packed::GROUP_ROWS;
use perigee_topology::DisjointMut;

use super::groups::{Kernels, for_products};
use super::kernels::MAX_GROUPS;
use crate::matmul::At;
use crate::{Matrix, Stack, Workers};

/// Multiplications that are worth a task: 8 µs of memory at 14 GB/s and 8 bits.
const LEAST_TASK_MACS: usize = 100_000;
/// Enough for memory to stream: longer tasks gain nothing.
const MOST_TASK_MACS: usize = 400_000;
/// Tasks for each thread between those limits, so that nobody waits long for the last one.
const TASKS_PER_THREAD: usize = 8;
/// The same where there are few groups: so many that threads share the work at all.
const LEAST_TASKS_PER_THREAD: usize = 2;

/// Groups of a task of a loop over `n_items` matrices of `n_groups` each, whose weights meet
/// `n_columns` rows of activations: with many of those as many as kernels take, so that activations in
/// the cache meet them all.
pub(super) fn groups_per_task(
    workers: &Workers,
    n_in: usize,
    n_columns: usize,
    (n_items, n_groups): (usize, usize),
) -> usize {
    let group_macs = GROUP_ROWS * n_in * n_columns.max(1);
    let share = n_items * n_groups * group_macs / (workers.n_threads() * TASKS_PER_THREAD);
    let task_macs = share.clamp(LEAST_TASK_MACS, MOST_TASK_MACS);
    let mut needed = task_macs.div_ceil(group_macs).max(n_columns.div_ceil(8));
    if n_columns > 8 {
        // Kernels take them in pairs.
        needed = needed.next_multiple_of(2);
    }
    let fair = n_items * n_groups / (workers.n_threads() * LEAST_TASKS_PER_THREAD);
    let most = MAX_GROUPS.min(n_groups).min(fair.max(1));
    needed.min(most).max(1)
}

/// `y[t, h, o] = Σ_i w[h][o, i] · x[t, h, i]` with matrices that meet integers; see
/// [`matmul_stack`](crate::matmul_stack).
pub(crate) fn product(
    workers: &Workers,
    w: Stack<'_>,
    n_tokens: usize,
    (x, x_at): (&[f32], At),
    (y, y_at): (&mut [f32], At),
) {
    let (n_in, n_items) = (w.n_in(), w.n_items());
    let mut rounded = workers.rounded();
    let row = |i: usize| &x[x_at.row(i / n_items, i % n_items)..][..n_in];
    let shape = (n_tokens * n_items, n_in);
    let kernels = Kernels::of(workers, &w);
    let [[rows]] = rounded.fill_alike(workers, [[kernels.rounding(n_tokens)]], shape, &row);
    let per_task = groups_per_task(workers, n_in, n_tokens, (n_items, w.n_groups()));
    let n_tasks = w.n_groups().div_ceil(per_task);
    let job = Job {
        kernels,
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
    products: [(Matrix<'_>, &mut [f32]); N],
) {
    let n_in = products[0].0.n_in();
    let n_tokens = x.len() / n_in;
    let products = products.map(|(w, y)| (w, Kernels::of(workers, &w.into()), y));
    let roundings = products
        .each_ref()
        .map(|(_, kernels, _)| [kernels.rounding(n_tokens)]);
    let mut rounded = workers.rounded();
    let row = |t: usize| &x[t * n_in..][..n_in];
    let rows = rounded.fill_alike(workers, roundings, (n_tokens, n_in), &row);
    let n_groups: usize = products.iter().map(|(w, ..)| w.n_groups()).sum();
    let per_task = groups_per_task(workers, n_in, n_tokens, (1, n_groups));
    let mut n_tasks = 0;
    let jobs = products.map(|(w, kernels, y)| {
        let first_task = n_tasks;
        n_tasks += w.n_groups().div_ceil(per_task);
        let y_at = At {
            start: 0,
            token: w.n_rows(),
            item: 0,
        };
        let job = Job {
            kernels,
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
        // SAFETY: the kernels are those of the matrix on this CPU, and the columns rows that
        // `Rounded` has filled as they want them.
        unsafe {
            for_products(
                &self.kernels,
                weights,
                self.n_tokens,
                column,
                scratch,
                store,
            )
        };
    }
}
