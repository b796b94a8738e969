//! MLA attention in the absorbed form: all heads against one latent row per position.
//!
//! `s[h, p] = scale · (q̂[h] · c̃_p + q_pe[h] · k_pe_p)`, `ĉ[h] = Σ_p softmax(s[h])_p · c̃_p`
//! (DeepSeek-V2, arXiv 2405.04434, 2.1.2 with W^UK absorbed into the query).
//!
//! The positions of a sequence are cut into splits of fixed length at fixed places. A task
//! attends with a few tokens and heads to one split and leaves a partial result; partials are
//! folded into the state of their (token, head) from the first split to the last. Neither the
//! batch nor the number of threads moves a cut or changes the order, so neither changes a bit.

use std::ops::Range;

use perigee_topology::DisjointMut;

use crate::simd::{BLOCK, Panel, accumulate_rows, dot_rows};
use crate::{LatentCache, LatentShape, Queries, Workers};

/// Positions of a split.
const SPLIT_LEN: usize = 256;
/// Positions decoded at a time; divides [`SPLIT_LEN`].
const TILE_LEN: usize = 32;
/// Tokens of one run that share the decoded rows of a task.
const TASK_TOKENS: usize = 4;
/// Heads of a task: a long sequence alone has parallelism in its splits, a short one in these.
const TASK_HEADS: usize = 16;

/// The absorbed form with its buffers, allocated once.
pub struct Absorbed {
    shape: LatentShape,
    n_heads: usize,
    scale: f32,
    /// Tasks of the current wave; the capacity bounds `partials`.
    tasks: Vec<Task>,
    /// Results of the tasks: `[tasks, TASK_TOKENS, TASK_HEADS]` states.
    partials: Vec<f32>,
}

/// What a wave computes in one place.
#[derive(Clone, Copy)]
struct Task {
    /// Index in the runs.
    run: usize,
    /// Tokens, relative to the run.
    tokens: (usize, usize),
    heads: (usize, usize),
    split: usize,
}

impl Absorbed {
    /// Attention of `n_heads` heads over rows of `shape` with softmax scale `scale`, with
    /// buffers for `n_threads` threads.
    pub fn new(shape: LatentShape, n_heads: usize, scale: f32, n_threads: usize) -> Self {
        let n_tasks = (4 * n_threads).max(16);
        let slot = Self::slot_len(&shape);
        Self {
            shape,
            n_heads,
            scale,
            tasks: Vec::with_capacity(n_tasks),
            partials: vec![0.0; n_tasks * slot],
        }
    }

    /// Scratch floats that a worker needs.
    pub fn scratch_len(shape: &LatentShape) -> usize {
        TILE_LEN * shape.padded_len() + BLOCK * TILE_LEN
    }

    /// Floats of one softmax state per (token, head): `[max, sum, Σ p·c̃]`.
    fn state_len(shape: &LatentShape) -> usize {
        2 + shape.kv_lora_rank
    }

    fn slot_len(shape: &LatentShape) -> usize {
        TASK_TOKENS * TASK_HEADS * Self::state_len(shape)
    }

    /// Floats per (token, head) of `out` in [`attend`](Self::attend).
    pub fn out_len(shape: &LatentShape) -> usize {
        Self::state_len(shape)
    }

    /// Attends with all runs.
    ///
    /// `q: [n_rows, n_heads, padded_len]` holds `[q̂ | 0… | q_pe | 0…]`. `out: [n_rows, n_heads,
    /// 2 + kv_lora_rank]` receives ĉ from its third element on; the first two are its own.
    ///
    /// # Panics
    /// When a buffer is too short, or a block table does not cover its run.
    pub fn attend(
        &mut self,
        workers: &Workers,
        cache: LatentCache<'_>,
        runs: &[Queries],
        q: &[f32],
        out: &mut [f32],
    ) {
        assert_eq!(cache.shape, self.shape);
        let state_len = Self::state_len(&self.shape);
        for state in out.chunks_exact_mut(state_len) {
            reset(state);
        }
        let wave = Wave {
            workers,
            cache,
            runs,
            q,
            n_heads: self.n_heads,
            scale: self.scale,
        };
        let capacity = self.tasks.capacity();
        self.tasks.clear();
        for (run, queries) in runs.iter().enumerate() {
            for_tasks(run, queries, self.n_heads, |task| {
                self.tasks.push(task);
                if self.tasks.len() == capacity {
                    wave.compute(&self.tasks, &mut self.partials, out);
                    self.tasks.clear();
                }
            });
        }
        wave.compute(&self.tasks, &mut self.partials, out);
        workers.pool().for_chunks(out, state_len, &|_, state| {
            let ([_, sum], values) = split_state(state);
            values.iter_mut().for_each(|value| *value /= *sum);
        });
    }
}

/// The tasks of a run: for each few tokens, split by split.
fn for_tasks(run: usize, queries: &Queries, n_heads: usize, mut body: impl FnMut(Task)) {
    for first in (0..queries.n_tokens).step_by(TASK_TOKENS) {
        let end = queries.n_tokens.min(first + TASK_TOKENS);
        for split in 0..(queries.start + end).div_ceil(SPLIT_LEN) {
            for head in (0..n_heads).step_by(TASK_HEADS) {
                body(Task {
                    run,
                    tokens: (first, end),
                    heads: (head, n_heads.min(head + TASK_HEADS)),
                    split,
                });
            }
        }
    }
}

/// What the tasks of a call share.
struct Wave<'a> {
    workers: &'a Workers,
    cache: LatentCache<'a>,
    runs: &'a [Queries],
    q: &'a [f32],
    n_heads: usize,
    scale: f32,
}

impl Wave<'_> {
    /// Runs the tasks, then folds their partials into the states of `out`.
    fn compute(&self, tasks: &[Task], partials: &mut [f32], out: &mut [f32]) {
        let slot_len = Absorbed::slot_len(&self.cache.shape);
        let slots = DisjointMut::new(partials);
        self.workers.for_each(tasks.len(), &|i, scratch| {
            // SAFETY: the slot of task `i` belongs to index `i`, which runs once.
            let slot = unsafe { slots.range(i * slot_len, slot_len) };
            self.attend_split(&tasks[i], scratch, slot);
        });
        let states = DisjointMut::new(out);
        let state_len = Absorbed::state_len(&self.cache.shape);
        self.workers.pool().for_each(self.n_heads, &|head| {
            for (task, slot) in tasks.iter().zip(partials.chunks_exact(slot_len)) {
                if head < task.heads.0 || head >= task.heads.1 {
                    continue;
                }
                let first_row = self.runs[task.run].first_row;
                for (t, token) in (task.tokens.0..task.tokens.1).enumerate() {
                    let row = (first_row + token) * self.n_heads + head;
                    // SAFETY: index `head` touches the states of that head only.
                    let state = unsafe { states.range(row * state_len, state_len) };
                    let partial = t * TASK_HEADS + head - task.heads.0;
                    fold(state, &slot[partial * state_len..][..state_len]);
                }
            }
        });
    }

    /// Leaves the softmax states of the task's tokens and heads over its split in `slot`.
    fn attend_split(&self, task: &Task, scratch: &mut [f32], slot: &mut [f32]) {
        let shape = &self.cache.shape;
        let state_len = Absorbed::state_len(shape);
        let queries = &self.runs[task.run];
        slot.chunks_exact_mut(state_len).for_each(reset);
        let (tile, scores) = scratch.split_at_mut(TILE_LEN * shape.padded_len());
        let start = task.split * SPLIT_LEN;
        let end = (queries.start + task.tokens.1).min(start + SPLIT_LEN);
        for first in (start..end).step_by(TILE_LEN) {
            let positions = first..end.min(first + TILE_LEN);
            let tile = &mut tile[..positions.len() * shape.padded_len()];
            self.cache.decode(queries.table, positions.clone(), tile);
            for (t, token) in (task.tokens.0..task.tokens.1).enumerate() {
                let n_visible = (queries.start + token + 1).saturating_sub(first);
                let rows = Panel {
                    values: tile,
                    n_rows: n_visible.min(positions.len()),
                    stride: shape.padded_len(),
                };
                if rows.n_rows > 0 {
                    let states = &mut slot[t * TASK_HEADS * state_len..];
                    let row = queries.first_row + token;
                    self.attend_tile(row, task.heads.0..task.heads.1, rows, scores, states);
                }
            }
        }
    }

    /// Adds some latent rows to the states of one token's heads.
    fn attend_tile(
        &self,
        row: usize,
        heads: Range<usize>,
        rows: Panel<'_>,
        scores: &mut [f32],
        states: &mut [f32],
    ) {
        let shape = &self.cache.shape;
        let (padded_len, state_len) = (shape.padded_len(), Absorbed::state_len(shape));
        for head in heads.clone().step_by(BLOCK) {
            let n = BLOCK.min(heads.end - head);
            let mut q = [[].as_slice(); BLOCK];
            for (j, q) in q[..n].iter_mut().enumerate() {
                *q = &self.q[(row * self.n_heads + head + j) * padded_len..][..padded_len];
            }
            let scores = &mut scores[..n * rows.n_rows];
            dot_rows(rows, &q[..n], scores);
            let states = &mut states[(head - heads.start) * state_len..][..n * state_len];
            let mut p = [[].as_slice(); BLOCK];
            let each = scores.chunks_exact_mut(rows.n_rows);
            for ((scores, p), state) in each.zip(&mut p).zip(states.chunks_exact_mut(state_len)) {
                let ([max, sum], values) = split_state(state);
                let shrink = soften(scores, self.scale, max, sum);
                rescale(values, shrink);
                *p = scores;
            }
            accumulate_rows(
                &p[..n],
                rows,
                shape.kv_lora_rank,
                &mut states[2..],
                state_len,
            );
        }
    }
}

/// A state as `[max, sum]` and `Σ p·value`.
pub(crate) fn split_state(state: &mut [f32]) -> (&mut [f32; 2], &mut [f32]) {
    state
        .split_first_chunk_mut()
        .expect("a state begins with two numbers")
}

/// Sets a state to that of no positions.
fn reset(state: &mut [f32]) {
    state.fill(0.0);
    state[0] = f32::NEG_INFINITY;
}

/// Adds the positions of `partial` to `state`.
fn fold(state: &mut [f32], partial: &[f32]) {
    let (max, partial_max) = (state[0], partial[0]);
    if partial_max == f32::NEG_INFINITY && partial[1] == 0.0 {
        return;
    }
    let new_max = max.max(partial_max);
    let (ours, theirs) = ((max - new_max).exp(), (partial_max - new_max).exp());
    state[0] = new_max;
    for (state, partial) in state[1..].iter_mut().zip(&partial[1..]) {
        *state = *state * ours + partial * theirs;
    }
}

/// Turns raw scores into weights `exp(scale · score − max)` relative to the running maximum,
/// adds them to the running sum, and returns the factor by which older terms shrink.
pub(crate) fn soften(scores: &mut [f32], scale: f32, max: &mut f32, sum: &mut f32) -> f32 {
    let mut new_max = *max;
    for score in scores.iter_mut() {
        *score *= scale;
        new_max = new_max.max(*score);
    }
    let shrink = (*max - new_max).exp();
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - new_max).exp();
        total += *score;
    }
    *max = new_max;
    *sum = *sum * shrink + total;
    shrink
}

/// Multiplies older terms; by 1 most of the time, which changes nothing.
pub(crate) fn rescale(values: &mut [f32], shrink: f32) {
    if shrink != 1.0 {
        values.iter_mut().for_each(|value| *value *= shrink);
    }
}

#[cfg(test)]
mod tests;
