//! Experts whose weights meet integers: two parallel loops, each of which sees all experts.

use std::ops::Range;

use perigee_quant::packed::GROUP_ROWS;
use perigee_topology::DisjointMut;

use super::activations::{Rows, Wanted};
use super::groups::{Kernels, for_products};
use super::product::groups_per_task;
use crate::experts::{ExpertGroups, ExpertPart, Experts};
use crate::{Workers, silu_mul};

/// Half of [`feed_experts`](crate::feed_experts), when gate and up meet integers:
/// `activations[pair] = silu(W_gate x) ⊙ W_up x`. A task is some rows of one expert and all its
/// tokens.
pub(crate) fn integer_gate_up<const N: usize>(
    workers: &Workers,
    parts: &mut [ExpertPart<'_>; N],
    x: &[f32],
) {
    let n_in = parts[0].experts.gate.n_in();
    let row = |t: usize| &x[t * n_in..][..n_in];
    let kernels = parts
        .each_ref()
        .map(|part| [part.experts.gate, part.experts.up].map(|stack| Kernels::of(workers, &stack)));
    let mut kernels_of = kernels.iter();
    let roundings = parts.each_ref().map(|part| {
        let [gate, up] = kernels_of.next().expect("kernels for each part");
        let [least, most] = part.groups.least_and_most();
        [
            gate.rounding(least),
            gate.rounding(most),
            up.rounding(least),
            up.rounding(most),
        ]
    });
    let mut rounded = workers.rounded();
    let rows = rounded.fill_alike(workers, roundings, (x.len() / n_in, n_in), &row);
    let mut with_rows = kernels.into_iter().zip(rows);
    let mut n_tasks = 0;
    let jobs = parts.each_mut().map(|part| {
        let (experts, groups) = (part.experts, part.groups);
        let shape = (groups.active().len(), experts.gate.n_groups());
        let per_task = groups_per_task(workers, 2 * n_in, groups.mean_len(), shape);
        let tasks_per_expert = shape.1.div_ceil(per_task);
        let first_task = n_tasks;
        n_tasks += tasks_per_expert * shape.0;
        let (kernels, x) = with_rows.next().expect("kernels for each part");
        let job = GateUp {
            experts,
            groups,
            kernels,
            x,
            out: DisjointMut::new(part.activations),
        };
        (first_task, tasks_per_expert, per_task, job)
    });
    workers.for_each(n_tasks, &|task, scratch| {
        let is_after = |(first_task, ..): &(usize, _, _, _)| *first_task <= task;
        let i = jobs.iter().rposition(is_after).expect("the first is 0");
        let (first_task, tasks_per_expert, per_task, job) = &jobs[i];
        let task = task - first_task;
        let expert = job.groups.active()[task / tasks_per_expert] as usize;
        let first = task % tasks_per_expert * per_task;
        let end = job.experts.gate.n_groups().min(first + per_task);
        // SAFETY: each index is one range of groups of one expert of one part.
        unsafe { job.run(expert, first..end, scratch) };
    });
}

/// Of the rows that were rounded for experts with few tokens and with many those for `n_tokens`.
fn rows_for<'a>(kernels: &Kernels, n_tokens: usize, rows: &[Rows<'a>]) -> Rows<'a> {
    let rounding = kernels.rounding(n_tokens);
    let fitting = rows.iter().find(|rows| rows.rounding == rounding);
    *fitting.expect("rows for the fewest tokens and for the most")
}

/// What the tasks of one part share.
struct GateUp<'a> {
    experts: Experts<'a>,
    groups: &'a ExpertGroups,
    kernels: [Kernels; 2],
    /// For gate and up, each for the experts with the fewest tokens and with the most.
    x: [Rows<'a>; 4],
    out: DisjointMut<'a, f32>,
}

impl GateUp<'_> {
    /// Some groups of rows of an expert, with all its tokens.
    ///
    /// # Safety
    /// While one task runs, no other has the same groups of the same expert.
    unsafe fn run(&self, expert: usize, row_groups: Range<usize>, scratch: &mut [f32]) {
        let n_rows = self.experts.gate.n_rows();
        let (gate, up) = (self.experts.gate.item(expert), self.experts.up.item(expert));
        let pairs = self.groups.pairs(expert);
        let tokens = &self.groups.tokens()[pairs.clone()];
        let (gate_x, up_x) = self.x.split_at(2);
        let gate_x = rows_for(&self.kernels[0], tokens.len(), gate_x);
        let up_x = rows_for(&self.kernels[1], tokens.len(), up_x);
        let start = |pair: usize, group: usize| (pairs.start + pair) * n_rows + group * GROUP_ROWS;
        let columns = |j: usize| gate_x.row(tokens[j] as usize);
        let store = |group: usize, j, sums: &mut [[f32; GROUP_ROWS]]| {
            for (j, sums) in (j..).zip(sums) {
                // SAFETY: a (pair, row) belongs to one task: a pair to one expert, a row of an
                // expert to one range of groups (promised by the caller).
                unsafe { self.out.range(start(j, group), GROUP_ROWS) }.copy_from_slice(sums);
            }
        };
        let weights = (&gate, row_groups.clone());
        // SAFETY: here and below the kernels are those of the matrix on this CPU, and the columns
        // rows that `Rounded` has filled as they want them.
        unsafe {
            for_products(
                &self.kernels[0],
                weights,
                tokens.len(),
                &columns,
                scratch,
                store,
            )
        };
        let columns = |j: usize| up_x.row(tokens[j] as usize);
        let multiply = |group: usize, j, sums: &mut [[f32; GROUP_ROWS]]| {
            for (j, sums) in (j..).zip(sums) {
                // SAFETY: as above.
                silu_mul(unsafe { self.out.range(start(j, group), GROUP_ROWS) }, sums);
            }
        };
        let weights = (&up, row_groups);
        // SAFETY: as above.
        unsafe {
            for_products(
                &self.kernels[1],
                weights,
                tokens.len(),
                &columns,
                scratch,
                multiply,
            )
        };
    }
}

/// The other half, when down does: `y[t] = Σ weight · W_down activations`. A task is some
/// rows of all experts, in order.
pub(crate) fn integer_down<const N: usize>(
    workers: &Workers,
    parts: &[ExpertPart<'_>; N],
    y: &mut [f32],
) {
    let hidden = parts[0].experts.down.n_rows();
    let n_groups = parts[0].experts.down.n_groups();
    let n_tokens = y.len() / hidden;
    let inputs = parts.each_ref().map(|part| {
        let n_in = part.experts.down.n_in();
        move |pair: usize| &part.activations[pair * n_in..][..n_in]
    });
    let kernels = (parts.each_ref()).map(|part| Kernels::of(workers, &part.experts.down));
    let mut kernels_of = kernels.iter().zip(&inputs);
    let wanted = parts.each_ref().map(|part| {
        let (kernels, row) = kernels_of.next().expect("kernels for each part");
        let [least, most] = (part.groups.least_and_most()).map(|n| kernels.rounding(n));
        let n_pairs = part.groups.n_pairs();
        [
            (least, n_pairs),
            (most, if most == least { 0 } else { n_pairs }),
        ]
        .map(|(rounding, n_rows)| Wanted {
            rounding,
            n_rows,
            n_in: part.experts.down.n_in(),
            row,
        })
    });
    let n_macs: usize = (parts.iter())
        .map(|part| part.groups.n_pairs() * part.experts.down.n_in())
        .sum();
    let mut rounded = workers.rounded();
    let rows = rounded.fill(workers, wanted);
    let n_pairs: usize = parts.iter().map(|part| part.groups.n_pairs()).sum();
    let mean_in = n_macs / n_pairs.max(1);
    let per_task = groups_per_task(workers, mean_in, n_pairs, (1, n_groups));
    let y = DisjointMut::new(y);
    let body = |task: usize, scratch: &mut [f32]| {
        let these = task * per_task..n_groups.min((task + 1) * per_task);
        let columns = (these.start * GROUP_ROWS, these.len() * GROUP_ROWS);
        for token in 0..n_tokens {
            // SAFETY: these columns of `y` belong to this task.
            unsafe { y.range(token * hidden + columns.0, columns.1) }.fill(0.0);
        }
        for ((part, kernels), rows) in parts.iter().zip(&kernels).zip(&rows) {
            let groups = part.groups;
            for &expert in groups.active() {
                let down = part.experts.down.item(expert as usize);
                let pairs = groups.pairs(expert as usize);
                let add = |group: usize, j, sums: &mut [[f32; GROUP_ROWS]]| {
                    for (pair, sums) in (pairs.start + j..).zip(sums) {
                        let token = groups.tokens()[pair] as usize;
                        let weight = groups.weights()[pair];
                        let start = token * hidden + group * GROUP_ROWS;
                        // SAFETY: as above.
                        let y = unsafe { y.range(start, GROUP_ROWS) };
                        for (y, sum) in y.iter_mut().zip(sums) {
                            *y += weight * *sum;
                        }
                    }
                };
                let rows = rows_for(kernels, pairs.len(), rows);
                let column = |j: usize| rows.row(pairs.start + j);
                let weights = (&down, these.clone());
                // SAFETY: as in `GateUp::run`.
                unsafe { for_products(kernels, weights, pairs.len(), &column, scratch, add) };
            }
        }
    };
    workers.for_each(n_groups.div_ceil(per_task), &body);
}
