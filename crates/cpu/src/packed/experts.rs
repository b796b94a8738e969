//! Routed experts with packed weights: two parallel loops, each of which sees all experts.

use perigee_quant::packed::{GROUP_ROWS, Layout};
use perigee_topology::DisjointMut;

use super::product::{best_kernel, for_products, groups_per_task};
use crate::experts::{ExpertGroups, Experts};
use crate::{Workers, silu_mul};

impl Experts<'_> {
    /// [`forward`](Experts::forward)'s first half, when gate and up are packed:
    /// `out[pair] = silu(W_gate x) ⊙ W_up x`. A task is some rows of one expert and all its
    /// tokens.
    pub(crate) fn packed_gate_up(
        &self,
        workers: &Workers,
        layouts: [&Layout; 2],
        groups: &ExpertGroups,
        x: &[f32],
        out: &mut [f32],
    ) {
        let (n_in, n_rows) = (self.gate.n_in(), self.gate.n_rows());
        let n_tokens = x.len() / n_in;
        let row = |t: usize| &x[t * n_in..][..n_in];
        let mut rounded = workers.rounded();
        let [gate_form, up_form] = layouts.map(|layout| layout.form());
        let [gate_x, up_x] = if gate_form == up_form {
            let [rows] = rounded.fill(workers, [gate_form], (n_tokens, n_in), &row);
            [rows; 2]
        } else {
            rounded.fill(workers, [gate_form, up_form], (n_tokens, n_in), &row)
        };
        let n_groups = n_rows / GROUP_ROWS;
        let per_task = groups_per_task(
            workers,
            2 * n_in,
            groups.mean_len(),
            (groups.active().len(), n_groups),
        );
        let n_tasks = n_groups.div_ceil(per_task);
        let (gate_kernel, up_kernel) = (best_kernel(&self.gate), best_kernel(&self.up));
        let out = DisjointMut::new(out);
        workers
            .pool()
            .for_each(n_tasks * groups.active().len(), &|task| {
                let expert = groups.active()[task / n_tasks] as usize;
                let first = task % n_tasks * per_task;
                let (gate, up) = (self.gate.item(expert), self.up.item(expert));
                let pairs = groups.pairs(expert);
                let tokens = &groups.tokens()[pairs.clone()];
                for group in first..n_groups.min(first + per_task) {
                    let range = |pair: usize| (pairs.start + pair) * n_rows + group * GROUP_ROWS;
                    let columns = |j: usize| gate_x.row(tokens[j] as usize);
                    let one = group..group + 1;
                    for_products(
                        &gate_kernel,
                        &gate,
                        one.clone(),
                        tokens.len(),
                        &columns,
                        |_, j, sums| {
                            for (j, sums) in (j..).zip(sums) {
                                // SAFETY: a (pair, row) belongs to one task: a pair to one expert, a
                                // row of an expert to one range of groups.
                                unsafe { out.range(range(j), GROUP_ROWS) }.copy_from_slice(sums);
                            }
                        },
                    );
                    let columns = |j: usize| up_x.row(tokens[j] as usize);
                    for_products(
                        &up_kernel,
                        &up,
                        one,
                        tokens.len(),
                        &columns,
                        |_, j, sums| {
                            for (j, sums) in (j..).zip(sums) {
                                // SAFETY: as above.
                                silu_mul(unsafe { out.range(range(j), GROUP_ROWS) }, sums);
                            }
                        },
                    );
                }
            });
    }

    /// The second half, when down is packed: `y[t] += Σ weight · W_down activations`. A task is
    /// some rows of all experts, in order.
    pub(crate) fn packed_down(
        &self,
        workers: &Workers,
        layout: &Layout,
        groups: &ExpertGroups,
        activations: &[f32],
        y: &mut [f32],
    ) {
        let (n_in, hidden) = (self.down.n_in(), self.down.n_rows());
        let n_pairs = groups.n_pairs();
        let row = |pair: usize| &activations[pair * n_in..][..n_in];
        let mut rounded = workers.rounded();
        let [rows] = rounded.fill(workers, [layout.form()], (n_pairs, n_in), &row);
        let n_groups = hidden / GROUP_ROWS;
        let per_task = groups_per_task(workers, n_in, n_pairs, (1, n_groups));
        let kernel = best_kernel(&self.down);
        let y = DisjointMut::new(y);
        workers
            .pool()
            .for_each(n_groups.div_ceil(per_task), &|task| {
                let these = task * per_task..n_groups.min((task + 1) * per_task);
                for &expert in groups.active() {
                    let down = self.down.item(expert as usize);
                    let pairs = groups.pairs(expert as usize);
                    let columns = |j: usize| rows.row(pairs.start + j);
                    for_products(
                        &kernel,
                        &down,
                        these.clone(),
                        pairs.len(),
                        &columns,
                        |group, j, sums| {
                            for (pair, sums) in (pairs.start + j..).zip(sums) {
                                let token = groups.tokens()[pair] as usize;
                                let weight = groups.weights()[pair];
                                // SAFETY: these columns of `y` belong to this task.
                                let y = unsafe {
                                    y.range(token * hidden + group * GROUP_ROWS, GROUP_ROWS)
                                };
                                for (y, sum) in y.iter_mut().zip(sums) {
                                    *y += weight * *sum;
                                }
                            }
                        },
                    );
                }
            });
    }
}
