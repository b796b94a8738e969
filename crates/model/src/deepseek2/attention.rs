//! Multi-head latent attention: absorbed for decode, expanded for long prefill.

use perigee_arch::Config;
use perigee_cpu::{
    Absorbed, At, Expanded, KeyUp, LatentCache, LatentShape, Queries, Workers, apply_rope,
    matmul_stack, matmul_stack_transposed, rms_norm, rms_norm_in_place,
};

use super::weights::{Attention, Query};
use crate::kv_cache::KvCache;
use crate::linear::Linear;
use crate::workspace::{ABSORBED_TOKENS, AttentionBuffers, Step};

/// Fewest tokens of a run for which the expanded form is considered; below it, the absorbed form
/// is never much behind, and it reads no more than the cache.
const MIN_EXPANDED_TOKENS: usize = 128;

/// What attention needs beside its weights and buffers.
pub(super) struct Context<'a> {
    pub(super) config: &'a Config,
    pub(super) workers: &'a Workers,
    /// Shape of the cached rows.
    pub(super) latent: LatentShape,
    /// Absorbed always: the two forms round differently.
    pub(super) deterministic: bool,
    /// The tokens of the batch.
    pub(super) step: &'a Step,
    /// Table of rotations, `[n_tokens, qk_rope_head_dim]`.
    pub(super) rope: &'a [f32],
}

impl Context<'_> {
    /// What queries and latents start from: `q_latent` (or `q` itself) and `kv`, of
    /// `x: [n_tokens, hidden]`.
    pub(super) fn project_down(&self, w: &Attention, buffers: &mut AttentionBuffers, x: &[f32]) {
        let n_tokens = self.step.positions.len();
        let kv = &mut buffers.kv[..n_tokens * self.config.latent_dim()];
        let (first, out) = match &w.query {
            Query::Lora { q_a, q_a_norm, .. } => {
                (q_a, &mut buffers.q_latent[..n_tokens * q_a_norm.len()])
            }
            Query::Direct(direct) => (direct, &mut buffers.q[..n_tokens * self.q_len()]),
        };
        Linear::forward_all(self.workers, x, [(first, out), (&w.kv_a, kv)]);
    }

    /// [`project_down`](Self::project_down) where nobody needs queries.
    pub(super) fn project_latents(&self, w: &Attention, buffers: &mut AttentionBuffers, x: &[f32]) {
        let n_tokens = self.step.positions.len();
        let kv = &mut buffers.kv[..n_tokens * self.config.latent_dim()];
        w.kv_a.forward(self.workers, x, kv);
    }

    /// Queries, rotated: `q: [n_tokens, n_heads, qk_head_dim]`.
    pub(super) fn finish_queries(&self, w: &Attention, buffers: &mut AttentionBuffers) {
        let config = self.config;
        let n_tokens = self.step.positions.len();
        let q = &mut buffers.q[..n_tokens * self.q_len()];
        if let Query::Lora { q_a_norm, q_b, .. } = &w.query {
            let latent = &mut buffers.q_latent[..n_tokens * q_a_norm.len()];
            let norm = |_, row: &mut [f32]| rms_norm_in_place(row, q_a_norm, config.rms_eps);
            self.workers
                .pool()
                .for_chunks(latent, q_a_norm.len(), &norm);
            q_b.forward(self.workers, latent, q);
        }
        let rope_dim = config.qk_rope_head_dim;
        self.workers.pool().for_chunks(q, self.q_len(), &|t, q| {
            let table = &self.rope[t * rope_dim..][..rope_dim];
            for head in q.chunks_exact_mut(config.qk_head_dim()) {
                apply_rope(&mut head[config.qk_nope_head_dim..], table);
            }
        });
    }

    /// Queries of a token.
    fn q_len(&self) -> usize {
        self.config.n_heads * self.config.qk_head_dim()
    }

    /// Latent rows `[norm(c) | rotated k_pe]` of the tokens, from `kv`, into the cache of a layer.
    pub(super) fn store_latents(
        &self,
        w: &Attention,
        buffers: &mut AttentionBuffers,
        (kv_cache, layer): (&mut KvCache, usize),
    ) {
        let config = self.config;
        let n_tokens = self.step.positions.len();
        let (rank, rope_dim, kv_len) = (
            config.kv_lora_rank,
            config.qk_rope_head_dim,
            config.latent_dim(),
        );
        let kv = &buffers.kv[..n_tokens * kv_len];
        let padded_len = self.latent.padded_len();
        let rows = &mut buffers.latent[..n_tokens * padded_len];
        self.workers.pool().for_chunks(rows, padded_len, &|t, row| {
            let (c, k_pe) = kv[t * kv_len..][..kv_len].split_at(rank);
            let (latent, rotated) = row.split_at_mut(self.latent.latent_len());
            rms_norm(c, &w.kv_a_norm, config.rms_eps, &mut latent[..rank]);
            rotated[..rope_dim].copy_from_slice(k_pe);
            apply_rope(
                &mut rotated[..rope_dim],
                &self.rope[t * rope_dim..][..rope_dim],
            );
        });
        let block_len = kv_cache.block_len();
        for run in &self.step.runs {
            for t in 0..run.n_tokens {
                let position = run.start + t;
                let block = self.step.block_tables[run.table + position / block_len];
                let row = &rows[(run.first_row + t) * padded_len..][..padded_len];
                kv_cache.write(layer, block, position % block_len, row);
            }
        }
    }

    /// Attends with all runs: `buffers.out: [n_tokens, n_heads, v_head_dim]`.
    pub(super) fn attend(
        &self,
        w: &Attention,
        buffers: &mut AttentionBuffers,
        cache: LatentCache<'_>,
    ) {
        buffers.pieces.clear();
        for run in &self.step.runs {
            if self.prefers_expanded(run) {
                self.attend_absorbed(w, buffers, cache);
                let expanded = Expanded {
                    key_up: w.key_up(),
                    value_up: w.value_up(),
                    qk_nope_head_dim: self.config.qk_nope_head_dim,
                    scale: self.config.kq_scale(),
                    is_rounded: buffers.absorbed.is_rounded(),
                };
                let (q, out) = (&buffers.q, &mut buffers.out);
                expanded.attend(self.workers, cache, run, q, out);
                continue;
            }
            let mut done = 0;
            while done < run.n_tokens {
                let pending: usize = buffers.pieces.iter().map(|piece| piece.n_tokens).sum();
                let n_tokens = (ABSORBED_TOKENS - pending).min(run.n_tokens - done);
                buffers.pieces.push(Queries {
                    first_row: run.first_row + done,
                    n_tokens,
                    start: run.start + done,
                    table: run.table,
                });
                done += n_tokens;
                if pending + n_tokens == ABSORBED_TOKENS {
                    self.attend_absorbed(w, buffers, cache);
                }
            }
        }
        self.attend_absorbed(w, buffers, cache);
    }

    /// Whether the expanded form is cheaper and allowed.
    fn prefers_expanded(&self, run: &Queries) -> bool {
        if self.deterministic || run.n_tokens < MIN_EXPANDED_TOKENS {
            return false;
        }
        let config = self.config;
        let (n, n_positions) = (run.n_tokens as f64, (run.start + run.n_tokens) as f64);
        let rank = config.kv_lora_rank as f64;
        let up = (config.qk_nope_head_dim + config.v_head_dim) as f64 * rank;
        let absorbed = n * (n_positions * (config.latent_dim() as f64 + rank) + up);
        let (key_len, v_head_dim) = (config.qk_head_dim(), config.v_head_dim);
        Expanded::macs_per_head(&self.latent, key_len, v_head_dim, run) < absorbed
    }

    /// Attends with the pending pieces, whose rows are consecutive, and clears them.
    fn attend_absorbed(
        &self,
        w: &Attention,
        buffers: &mut AttentionBuffers,
        cache: LatentCache<'_>,
    ) {
        let Some(first_row) = buffers.pieces.first().map(|piece| piece.first_row) else {
            return;
        };
        let config = self.config;
        let (n_heads, head_dim) = (config.n_heads, config.qk_head_dim());
        let mut n_tokens = 0;
        for piece in &mut buffers.pieces {
            piece.first_row -= first_row;
            n_tokens += piece.n_tokens;
        }
        let q = &buffers.q[first_row * n_heads * head_dim..][..n_tokens * n_heads * head_dim];
        let padded_len = self.latent.padded_len();
        let q_absorbed = &mut buffers.q_absorbed[..n_tokens * n_heads * padded_len];
        self.absorb_queries(w, n_tokens, q, q_absorbed);

        let state_len = Absorbed::out_len(&self.latent);
        let attended = &mut buffers.attended[..n_tokens * n_heads * state_len];
        buffers
            .absorbed
            .attend(self.workers, cache, &buffers.pieces, q_absorbed, attended);

        // o[h] = W_V[h] · ĉ[h]; ĉ starts at the third float of its state.
        let from = At {
            start: 2,
            token: n_heads * state_len,
            item: state_len,
        };
        let to = At {
            start: first_row * n_heads * config.v_head_dim,
            token: n_heads * config.v_head_dim,
            item: config.v_head_dim,
        };
        let out = (&mut buffers.out[..], to);
        matmul_stack(self.workers, w.value_up(), n_tokens, (attended, from), out);
        buffers.pieces.clear();
    }

    /// `[W_K[h]ᵀ · q_nope[h] | 0… | q_pe[h] | 0…]` per head.
    fn absorb_queries(&self, w: &Attention, n_tokens: usize, q: &[f32], out: &mut [f32]) {
        let config = self.config;
        let (n_heads, head_dim) = (config.n_heads, config.qk_head_dim());
        let padded_len = self.latent.padded_len();
        let from = At {
            start: 0,
            token: n_heads * head_dim,
            item: head_dim,
        };
        let to = At {
            start: 0,
            token: n_heads * padded_len,
            item: padded_len,
        };
        match w.key_up() {
            KeyUp::ByLatent(k_b) => {
                matmul_stack(self.workers, k_b, n_tokens, (q, from), (out, to));
            }
            KeyUp::ByKey(k) => {
                matmul_stack_transposed(self.workers, k, n_tokens, (q, from), (out, to));
            }
        }
        let (nope, rope_dim) = (config.qk_nope_head_dim, config.qk_rope_head_dim);
        self.workers.pool().for_chunks(out, padded_len, &|i, out| {
            out[self.latent.latent_len()..][..rope_dim]
                .copy_from_slice(&q[i * head_dim + nope..][..rope_dim]);
        });
    }
}
