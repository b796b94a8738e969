//! Experts: `y[t] = Σ_e weight(t, e) · W_down,e ( silu(W_gate,e x_t) ⊙ W_up,e x_t )`.
//!
//! Tokens are grouped by expert, so that the rows of an expert are decoded once a batch. A
//! token's experts are added in ascending order of their index, whatever the batch. The shared
//! expert and a dense FFN are experts that every token goes to with weight 1.

use std::ops::Range;

use perigee_topology::DisjointMut;

use crate::matmul::{TILE_ROWS, for_dots, task_rows};
use crate::packed::{integer_down, integer_gate_up};
use crate::simd::Columns;
use crate::{Stack, Workers, silu_mul};

/// One expert of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Route {
    /// Index of the expert.
    pub expert: u32,
    /// Factor of its output.
    pub weight: f32,
}

/// Which tokens go to which expert.
pub struct ExpertGroups {
    /// Experts that have tokens, in ascending order.
    active: Vec<u32>,
    /// First pair of each expert; one more than experts.
    starts: Vec<u32>,
    /// Token of each pair; pairs sorted by expert, then by token.
    tokens: Vec<u32>,
    /// Weight of each pair.
    weights: Vec<f32>,
}

impl ExpertGroups {
    /// Room for `max_pairs` (token, expert) pairs.
    pub fn new(n_experts: usize, max_pairs: usize) -> Self {
        Self {
            active: Vec::with_capacity(n_experts),
            starts: vec![0; n_experts + 1],
            tokens: vec![0; max_pairs],
            weights: vec![0.0; max_pairs],
        }
    }

    /// Gives all of `n_tokens` tokens to the only expert, with weight 1.
    ///
    /// # Panics
    /// When there are several experts, or more tokens than room for pairs.
    pub fn give_all(&mut self, n_tokens: usize) {
        assert_eq!(self.starts.len(), 2, "one expert");
        self.starts[1] = n_tokens as u32;
        self.active.clear();
        self.active.push(0);
        for (t, token) in self.tokens[..n_tokens].iter_mut().enumerate() {
            *token = t as u32;
        }
        self.weights[..n_tokens].fill(1.0);
    }

    /// Groups the selections of all tokens, `routes: [n_tokens, top_k]`.
    ///
    /// # Panics
    /// When there are more pairs than room, or an expert does not exist.
    pub fn group(&mut self, routes: &[Route], top_k: usize) {
        // Counting sort: counts become starts; placing a pair moves its start on, until each is
        // the start of the next expert, and one shift puts them back.
        self.starts.fill(0);
        for route in routes {
            self.starts[route.expert as usize + 1] += 1;
        }
        self.active.clear();
        for expert in 0..self.starts.len() - 1 {
            if self.starts[expert + 1] > 0 {
                self.active.push(expert as u32);
            }
            self.starts[expert + 1] += self.starts[expert];
        }
        for (i, route) in routes.iter().enumerate() {
            let pair = &mut self.starts[route.expert as usize];
            self.tokens[*pair as usize] = (i / top_k) as u32;
            self.weights[*pair as usize] = route.weight;
            *pair += 1;
        }
        let n = self.starts.len();
        self.starts.copy_within(0..n - 1, 1);
        self.starts[0] = 0;
    }

    /// Experts that have tokens, each with its range of pairs and the tokens of those.
    pub fn iter(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>, &[u32])> {
        self.active.iter().map(|&expert| {
            let pairs = self.pairs(expert as usize);
            (expert as usize, pairs.clone(), &self.tokens[pairs])
        })
    }

    /// Experts that have tokens, in ascending order.
    pub(crate) fn active(&self) -> &[u32] {
        &self.active
    }

    /// Token of each pair.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Weight of each pair.
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Pairs in all.
    pub(crate) fn n_pairs(&self) -> usize {
        *self.starts.last().expect("one more than experts") as usize
    }

    /// Tokens of an active expert, on average.
    pub(crate) fn mean_len(&self) -> usize {
        self.n_pairs().div_ceil(self.active.len().max(1))
    }

    /// The fewest and the most tokens of an active expert.
    pub(crate) fn least_and_most(&self) -> [usize; 2] {
        let lens = || {
            self.active
                .iter()
                .map(|&expert| self.pairs(expert as usize).len())
        };
        [lens().min().unwrap_or(0), lens().max().unwrap_or(0)]
    }

    /// Pairs of an expert.
    pub(crate) fn pairs(&self, expert: usize) -> std::ops::Range<usize> {
        self.starts[expert] as usize..self.starts[expert + 1] as usize
    }
}

/// The weights of experts of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Experts<'a> {
    /// `[hidden → intermediate]` per expert.
    pub gate: Stack<'a>,
    /// `[hidden → intermediate]` per expert.
    pub up: Stack<'a>,
    /// `[intermediate → hidden]` per expert.
    pub down: Stack<'a>,
}

/// Experts with what they are given.
pub struct ExpertPart<'a> {
    /// The weights.
    pub experts: Experts<'a>,
    /// Who goes where.
    pub groups: &'a ExpertGroups,
    /// `[pairs, intermediate]`, overwritten.
    pub activations: &'a mut [f32],
}

/// The sum over all experts of all parts, in this order: `x, y: [n_tokens, hidden]`. Where all
/// weights meet integers that is two parallel loops, whatever the number of parts.
///
/// # Panics
/// When a buffer is too short.
pub fn feed_experts<const N: usize>(
    workers: &Workers,
    mut parts: [ExpertPart<'_>; N],
    x: &[f32],
    y: &mut [f32],
) {
    let meets_integers = |stack: &Stack<'_>| stack.layout().is_some();
    let mut experts = parts.iter().map(|part| part.experts);
    if experts.all(|experts| meets_integers(&experts.gate) && meets_integers(&experts.up)) {
        integer_gate_up(workers, &mut parts, x);
    } else {
        for ExpertPart {
            experts,
            groups,
            activations,
        } in &mut parts
        {
            experts.gate_up(workers, groups, x, activations);
        }
    }
    if parts.iter().all(|part| meets_integers(&part.experts.down)) {
        integer_down(workers, &parts, y);
    } else {
        y.fill(0.0);
        for part in &parts {
            part.experts.down(workers, part.groups, part.activations, y);
        }
    }
}

impl Experts<'_> {
    /// Scratch floats that a worker needs.
    pub fn scratch_len(hidden: usize, intermediate: usize) -> usize {
        TILE_ROWS * hidden.max(intermediate)
    }

    /// `activations[pair] = silu(W_gate x) ⊙ W_up x`; a task is some rows of one expert.
    fn gate_up(&self, workers: &Workers, groups: &ExpertGroups, x: &[f32], out: &mut [f32]) {
        let (hidden, n_rows) = (self.gate.n_in(), self.gate.n_rows());
        let shape = (groups.active.len(), n_rows);
        let mut task_rows = task_rows(workers, 2 * hidden, groups.mean_len(), shape);
        if self.gate.layout().or(self.up.layout()).is_some() {
            task_rows = task_rows.next_multiple_of(TILE_ROWS);
        }
        let n_tasks = n_rows.div_ceil(task_rows);
        let out = DisjointMut::new(out);
        workers.for_each(n_tasks * groups.active.len(), &|task, scratch| {
            let expert = groups.active[task / n_tasks] as usize;
            let (gate, up) = (self.gate.item(expert), self.up.item(expert));
            let first = task % n_tasks * task_rows;
            let rows = first..n_rows.min(first + task_rows);
            let pairs = groups.pairs(expert);
            let tokens = &groups.tokens[pairs.clone()];
            let row = |j: usize| &x[tokens[j] as usize * hidden..][..hidden];
            let columns: Columns<'_, '_> = (tokens.len(), &row);
            let start = |j: usize, rows: &Range<usize>| (pairs.start + j) * n_rows + rows.start;
            for_dots(
                &gate,
                rows.clone(),
                columns,
                scratch,
                &mut |rows, j, sums| {
                    for (j, sums) in (j..).zip(sums.chunks_exact(rows.len())) {
                        // SAFETY: a (pair, row) belongs to one task: a pair to one expert, a row of an
                        // expert to one range of rows.
                        unsafe { out.range(start(j, &rows), rows.len()) }.copy_from_slice(sums);
                    }
                },
            );
            for_dots(&up, rows, columns, scratch, &mut |rows, j, sums| {
                for (j, sums) in (j..).zip(sums.chunks_exact(rows.len())) {
                    // SAFETY: as above.
                    silu_mul(unsafe { out.range(start(j, &rows), rows.len()) }, sums);
                }
            });
        });
    }

    /// `y[t] += Σ weight · W_down activations`; a task is some rows of all experts, in order.
    fn down(&self, workers: &Workers, groups: &ExpertGroups, activations: &[f32], y: &mut [f32]) {
        let (n_in, hidden) = (self.down.n_in(), self.down.n_rows());
        let shape = (1, hidden);
        let mut task_rows = task_rows(workers, n_in, groups.n_pairs(), shape);
        if self.down.layout().is_some() {
            task_rows = task_rows.next_multiple_of(TILE_ROWS);
        }
        let y = DisjointMut::new(y);
        workers.for_each(hidden.div_ceil(task_rows), &|task, scratch| {
            let rows = task * task_rows..hidden.min((task + 1) * task_rows);
            for expert in &groups.active {
                let down = self.down.item(*expert as usize);
                let pairs = groups.pairs(*expert as usize);
                let row = |j: usize| &activations[(pairs.start + j) * n_in..][..n_in];
                let columns: Columns<'_, '_> = (pairs.len(), &row);
                for_dots(
                    &down,
                    rows.clone(),
                    columns,
                    scratch,
                    &mut |rows, j, sums| {
                        for (pair, sums) in (pairs.start + j..).zip(sums.chunks_exact(rows.len())) {
                            let start = groups.tokens[pair] as usize * hidden + rows.start;
                            // SAFETY: these columns of `y` belong to this task.
                            let y = unsafe { y.range(start, rows.len()) };
                            for (y, sum) in y.iter_mut().zip(sums) {
                                *y += groups.weights[pair] * sum;
                            }
                        }
                    },
                );
            }
        });
    }
}

#[cfg(test)]
mod tests;
