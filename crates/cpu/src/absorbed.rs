//! MLA attention in the absorbed form: all heads against one latent row per position.
//!
//! `s[h, p] = scale · (q̂[h] · c̃_p + q_pe[h] · k_pe_p)`, `ĉ[h] = Σ_p softmax(s[h])_p · c̃_p`
//! (DeepSeek-V2, arXiv 2405.04434, 2.1.2 with W^UK absorbed into the query).
//!
//! The positions of a sequence are cut into splits of fixed length at fixed places. A task
//! attends with some tokens and heads to a few splits (`absorbed/split.rs`) and leaves a partial
//! result of each; partials are folded into the state of their (token, head) from the first split
//! to the last (`absorbed/states.rs`). Neither the batch nor the number of threads moves a cut or
//! changes the order, so neither changes a bit.

mod float_products;
mod pair_products;
mod split;
mod states;

use perigee_quant::QuantKind;
use perigee_topology::DisjointMut;

use crate::simd::{Isa, LANES, aligned};
use crate::{LatentCache, LatentShape, Queries, Workers};
use split::{Split, TASK_HEADS, TASK_TOKENS};
use states::{Fold, Partial};

/// Positions of a split.
const SPLIT_LEN: usize = 256;
/// Tokens of a task times its splits, where there are enough tasks.
const TASK_SLOTS: usize = 4;

/// The absorbed form with its buffers, allocated once.
pub struct Absorbed {
    shape: LatentShape,
    n_heads: usize,
    scale: f32,
    pub(crate) isa: Isa,
    is_rounded: bool,
    n_threads: usize,
    /// Tasks of the current wave.
    tasks: Vec<Task>,
    /// Results of the tasks, one slot per token.
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
    splits: (usize, usize),
    /// Slot of the first token in the first split; the tokens of a split lie side by side.
    slot: usize,
}

impl Task {
    fn n_tokens(&self) -> usize {
        self.tokens.1 - self.tokens.0
    }

    fn n_slots(&self) -> usize {
        (self.splits.1 - self.splits.0) * self.n_tokens()
    }
}

impl Absorbed {
    /// Attention of `n_heads` heads over rows of `shape` with softmax scale `scale`, with
    /// buffers for `n_threads` threads.
    pub fn new(shape: LatentShape, n_heads: usize, scale: f32, n_threads: usize) -> Self {
        let n_slots = 8 * n_threads;
        Self {
            shape,
            n_heads,
            scale,
            isa: Isa::best(),
            is_rounded: false,
            n_threads,
            tasks: Vec::with_capacity(n_slots),
            partials: vec![0.0; LANES + n_slots * Partial::len(&shape)],
        }
    }

    /// Whether queries, rows and attention weights are rounded to integers of 12 to 14 bits for
    /// their products, which is twice as fast; at first they are not. Only rows of f16 and Q8_0
    /// are, and those of whole sixteens in both parts.
    pub fn round(&mut self, is_rounded: bool) {
        let is_known = matches!(self.shape.kind, QuantKind::F16 | QuantKind::Q8_0);
        self.is_rounded = is_rounded && is_known && self.shape.is_whole_sixteens();
    }

    /// Whether products are those of integers, see [`round`](Self::round).
    pub fn is_rounded(&self) -> bool {
        self.is_rounded
    }

    /// Scratch floats that a worker needs.
    pub fn scratch_len(shape: &LatentShape) -> usize {
        Split::scratch_len(shape)
    }

    /// Floats per (token, head) of `out` in [`attend`](Self::attend).
    pub fn out_len(shape: &LatentShape) -> usize {
        states::state_len(shape)
    }

    /// Attends with all runs.
    ///
    /// `q: [n_rows, n_heads, padded_len]` holds `[q̂ | 0… | q_pe | 0…]`. `out: [n_rows, n_heads,
    /// 2 + kv_lora_rank]` receives ĉ from its third element on; the first two are its own. Rows
    /// of no run stay as they are.
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
        let size = self.task_size(runs);
        let partials = aligned(&mut self.partials);
        let capacity = partials.len() / Partial::len(&self.shape);
        let wave = Wave {
            isa: self.isa,
            is_rounded: self.is_rounded,
            workers,
            cache,
            runs,
            q,
            n_heads: self.n_heads,
            scale: self.scale,
        };
        let mut n_slots = 0;
        self.tasks.clear();
        for (run, queries) in runs.iter().enumerate() {
            for_tasks(run, queries, self.n_heads, size, |mut task| {
                if n_slots + task.n_slots() > capacity {
                    wave.compute(&self.tasks, partials, out);
                    self.tasks.clear();
                    n_slots = 0;
                }
                task.slot = n_slots;
                n_slots += task.n_slots();
                self.tasks.push(task);
            });
        }
        wave.compute(&self.tasks, partials, out);
    }

    /// Size of the tasks: splits share the rounded queries, and heads the decoded rows, unless that
    /// leaves too few tasks.
    fn task_size(&self, runs: &[Queries]) -> TaskSize {
        let mut size = TaskSize {
            slots: TASK_SLOTS,
            heads: TASK_HEADS,
        };
        loop {
            let mut n_tasks = 0;
            for (run, queries) in runs.iter().enumerate() {
                for_tasks(run, queries, self.n_heads, size, |_| n_tasks += 1);
            }
            let is_enough = self.n_threads == 1 || n_tasks >= 3 * self.n_threads;
            match size {
                _ if is_enough => return size,
                TaskSize { slots: 2.., .. } => size.slots /= 2,
                TaskSize { heads, .. } if heads > LANES => size.heads /= 2,
                _ => return size,
            }
        }
    }
}

/// How much a task has, at most.
#[derive(Clone, Copy)]
struct TaskSize {
    /// Tokens times splits, unless a single split has more tokens.
    slots: usize,
    heads: usize,
}

/// The tokens of a run, a few at a time.
fn token_groups(queries: &Queries) -> impl Iterator<Item = (usize, usize)> {
    let n_tokens = queries.n_tokens;
    let firsts = (0..n_tokens).step_by(TASK_TOKENS);
    firsts.map(move |first| (first, n_tokens.min(first + TASK_TOKENS)))
}

/// The tasks of a run: for each few tokens, some splits after others.
fn for_tasks(
    run: usize,
    queries: &Queries,
    n_heads: usize,
    size: TaskSize,
    mut body: impl FnMut(Task),
) {
    for tokens in token_groups(queries) {
        let n_splits = (queries.start + tokens.1).div_ceil(SPLIT_LEN);
        let step = (size.slots / (tokens.1 - tokens.0)).max(1);
        for split in (0..n_splits).step_by(step) {
            for head in (0..n_heads).step_by(size.heads) {
                body(Task {
                    run,
                    tokens,
                    heads: (head, n_heads.min(head + size.heads)),
                    splits: (split, n_splits.min(split + step)),
                    slot: 0,
                });
            }
        }
    }
}

/// What the tasks of a call share.
struct Wave<'a> {
    isa: Isa,
    is_rounded: bool,
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
        let shape = &self.cache.shape;
        let slot_len = Partial::len(shape);
        let slots = DisjointMut::new(partials);
        self.workers.for_each(tasks.len(), &|i, scratch| {
            let task = &tasks[i];
            // SAFETY: the slots of task `i` belong to index `i`, which runs once.
            let slots = unsafe { slots.range(task.slot * slot_len, task.n_slots() * slot_len) };
            Split::new(self, task).attend(scratch, slots);
        });
        let states = DisjointMut::new(out);
        let state_len = states::state_len(shape);
        let partials: &[f32] = partials;
        self.workers.pool().for_each(self.n_heads, &|head| {
            for task in tasks {
                if head < task.heads.0 || head >= task.heads.1 {
                    continue;
                }
                let queries = &self.runs[task.run];
                let splits = (task.splits.0..task.splits.1).flat_map(|split| {
                    (task.tokens.0..task.tokens.1).map(move |token| (split, token))
                });
                for ((split, token), slot) in splits.zip(task.slot..) {
                    let last_split = (queries.start + token) / SPLIT_LEN;
                    if split > last_split {
                        continue;
                    }
                    let row = (queries.first_row + token) * self.n_heads + head;
                    // SAFETY: index `head` touches the states of that head only.
                    let state = unsafe { states.range(row * state_len, state_len) };
                    let slot = &partials[slot * slot_len..][..slot_len];
                    self.isa.run(Fold {
                        partial: Partial::of_head(shape, slot, head - task.heads.0),
                        state,
                        is_first: split == 0,
                        is_last: split == last_split,
                    });
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
