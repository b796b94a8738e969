//! The forward pass, one operation a line.

use perigee_cpu::{add, rms_norm, rope_table};

use super::Deepseek2;
use super::attention::Context;
use super::moe::feed_forward;
use crate::workspace::Workspace;
use crate::{Batch, ForwardError, Limits};

impl Deepseek2 {
    /// Runs a checked batch; see [`Model::forward`](crate::Model::forward).
    pub(super) fn run(&mut self, batch: &Batch, logits: &mut [f32]) -> Result<(), ForwardError> {
        let Self {
            config,
            frequencies,
            weights,
            workers,
            kv_cache,
            workspace,
            latent,
            deterministic,
            limits: _,
        } = self;
        let Workspace {
            x,
            normed,
            delta,
            rope,
            attention: buffers,
            ffn,
            step,
        } = workspace;
        step.set(batch);
        let (hidden, rope_dim, eps) = (config.hidden, config.qk_rope_head_dim, config.rms_eps);
        let pool = workers.pool();
        let mut n = step.positions.len();

        let embedding = weights.token_embd.matrix();
        pool.for_chunks(&mut x[..n * hidden], hidden, &|t, x| {
            embedding.dequantize_row(batch.tokens[t].0 as usize, x);
        });
        pool.for_chunks(&mut rope[..n * rope_dim], rope_dim, &|t, table| {
            rope_table(step.positions[t], frequencies, table);
        });
        let context = Context {
            config,
            workers,
            latent: *latent,
            deterministic: *deterministic,
            step,
            rope,
        };
        let norm = |x: &[f32], w: &[f32], out: &mut [f32]| {
            pool.for_chunks(out, hidden, &|t, out| {
                rms_norm(&x[t * hidden..][..hidden], w, eps, out);
            });
        };

        for (i, layer) in weights.layers.iter().enumerate() {
            let is_last = i + 1 == weights.layers.len();
            norm(
                &x[..n * hidden],
                &layer.attention.norm,
                &mut normed[..n * hidden],
            );
            let (normed_rows, kv) = (&normed[..n * hidden], (&mut *kv_cache, i));
            if is_last && step.outputs.is_empty() {
                context.project_latents(&layer.attention, buffers, normed_rows);
                context.store_latents(&layer.attention, buffers, kv);
                return Ok(());
            }
            context.project_down(&layer.attention, buffers, normed_rows);
            context.store_latents(&layer.attention, buffers, kv);
            context.finish_queries(&layer.attention, buffers);
            let cache = kv_cache.layer(i, &step.block_tables);
            context.attend(&layer.attention, buffers, cache);
            if is_last {
                // Nothing after this looks at other rows.
                keep_rows(x, hidden, &step.outputs);
                keep_rows(
                    &mut buffers.out,
                    config.n_heads * config.v_head_dim,
                    &step.outputs,
                );
                n = step.outputs.len();
            }
            let attended = &buffers.out[..n * config.n_heads * config.v_head_dim];
            let (x, normed) = (&mut x[..n * hidden], &mut normed[..n * hidden]);
            let delta = &mut delta[..n * hidden];
            layer.attention.output.forward(workers, attended, delta);
            add(x, delta);
            norm(x, &layer.ffn_norm, normed);
            feed_forward(config, workers, &layer.ffn, ffn, (normed, delta));
            add(x, delta);
        }

        let (x, normed) = (&x[..n * hidden], &mut normed[..n * hidden]);
        norm(x, &weights.output_norm, normed);
        weights.head().forward(workers, normed, logits);
        check_finite(logits, config.vocab_size)
    }
}

/// Moves rows `rows` (ascending) to the front.
fn keep_rows(values: &mut [f32], row_len: usize, rows: &[usize]) {
    for (to, from) in rows.iter().enumerate() {
        values.copy_within(from * row_len..(from + 1) * row_len, to * row_len);
    }
}

fn check_finite(logits: &[f32], vocab_size: usize) -> Result<(), ForwardError> {
    for (row, logits) in logits.chunks_exact(vocab_size).enumerate() {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(ForwardError::NotFinite { row });
        }
    }
    Ok(())
}

/// Refuses a batch that would read or write outside of anything.
pub(super) fn check(batch: &Batch, logits: &[f32], limits: &Limits) -> Result<(), ForwardError> {
    let (n_tokens, n_outputs) = (batch.tokens.len(), batch.n_outputs());
    if n_tokens > limits.max_batch_tokens {
        return Err(ForwardError::TooManyTokens {
            found: n_tokens,
            limit: limits.max_batch_tokens,
        });
    }
    if n_outputs > limits.max_output_rows {
        return Err(ForwardError::TooManyOutputs {
            found: n_outputs,
            limit: limits.max_output_rows,
        });
    }
    if logits.len() != n_outputs * limits.vocab_size {
        return Err(ForwardError::LogitsLength {
            found: logits.len(),
            expected: n_outputs * limits.vocab_size,
        });
    }
    let mut tokens = batch.tokens.iter().map(|token| token.0);
    if let Some(token) = tokens.find(|token| *token as usize >= limits.vocab_size) {
        return Err(ForwardError::TokenOutOfRange {
            token,
            vocab_size: limits.vocab_size,
        });
    }
    check_runs(batch, limits)
}

fn check_runs(batch: &Batch, limits: &Limits) -> Result<(), ForwardError> {
    let mut n_seen = 0;
    for (run, range) in batch.runs.iter().enumerate() {
        let end = range.tokens.end;
        let follows = range.tokens.start == n_seen && end > n_seen && end <= batch.tokens.len();
        n_seen = end;
        let blocks = batch.block_table.get(range.blocks.clone());
        let (true, Some(blocks)) = (follows, blocks) else {
            return Err(ForwardError::BadRun { run });
        };
        let n_positions = range.start.saturating_add(range.tokens.len());
        let expected = n_positions.div_ceil(limits.block_len);
        if blocks.len() < expected {
            return Err(ForwardError::BlockTableTooShort {
                run,
                found: blocks.len(),
                expected,
            });
        }
        let outside = |block: &&crate::BlockId| block.0 as usize >= limits.n_blocks;
        if let Some(block) = blocks.iter().find(outside) {
            return Err(ForwardError::BlockOutOfRange {
                run,
                block: block.0,
                n_blocks: limits.n_blocks,
            });
        }
    }
    if n_seen != batch.tokens.len() {
        return Err(ForwardError::BadRun {
            run: batch.runs.len(),
        });
    }
    Ok(())
}
