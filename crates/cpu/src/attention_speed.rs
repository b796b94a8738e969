//! How fast attention of Kimi's shape is on this machine.

use std::time::Duration;

use perigee_quant::QuantKind;

use crate::packed::fastest;
use crate::{Absorbed, Expanded, KeyUp, LatentCache, LatentShape, Queries, Stack, Workers};

const N_HEADS: usize = 64;
const RANK: usize = 512;
const ROPE: usize = 64;
const HEAD: usize = 128;
/// Positions of a block of the cache.
const BLOCK_LEN: usize = 64;
/// Softmax scale: any of this size will do.
const SCALE: f32 = 0.07;

/// Seconds that the attention of one layer takes for a token at `depth` positions, the last of
/// them, with a cache of `kind`. With `is_rounded` products are those of integers, as beside
/// quantised weights.
pub fn decode_attention_speed(
    n_threads: usize,
    kind: QuantKind,
    depth: usize,
    is_rounded: bool,
    budget: Duration,
) -> f64 {
    let cache = Cache::new(kind, depth);
    let shape = cache.shape;
    let run = Queries {
        first_row: 0,
        n_tokens: 1,
        start: depth.saturating_sub(1),
        table: 0,
    };
    let q = values(N_HEADS * shape.padded_len());
    let workers = Workers::new(n_threads, Absorbed::scratch_len(&shape));
    let mut absorbed = Absorbed::new(shape, N_HEADS, SCALE, workers.n_threads());
    absorbed.round(is_rounded);
    let mut out = vec![0.0; N_HEADS * Absorbed::out_len(&shape)];
    fastest(budget, || {
        absorbed.attend(&workers, cache.view(), &[run], &q, &mut out)
    })
}

/// Seconds that the attention of one layer takes for a prompt of `n_tokens`, with a cache of f16 and
/// Q8_0 weights; `is_rounded` as in [`decode_attention_speed`].
pub fn prefill_attention_speed(
    n_threads: usize,
    n_tokens: usize,
    is_rounded: bool,
    budget: Duration,
) -> f64 {
    let cache = Cache::new(QuantKind::F16, n_tokens);
    let run = Queries {
        first_row: 0,
        n_tokens,
        start: 0,
        table: 0,
    };
    let kind = QuantKind::Q8_0;
    let weights = |n_in, n_rows| {
        // Small scales are ordinary numbers.
        let n_bytes = kind.row_bytes(n_in).map(|row| row * n_rows * N_HEADS);
        vec![0x11; n_bytes.unwrap_or_default()]
    };
    let (k_b, v_b) = (weights(HEAD, RANK), weights(RANK, HEAD));
    let expanded = Expanded {
        key_up: KeyUp::ByLatent(Stack::new(kind, HEAD, RANK, N_HEADS, &k_b)),
        value_up: Stack::new(kind, RANK, HEAD, N_HEADS, &v_b),
        qk_nope_head_dim: HEAD,
        scale: SCALE,
        is_rounded,
    };
    let q = values(n_tokens * N_HEADS * (HEAD + ROPE));
    let scratch_len = Expanded::scratch_len(&cache.shape, HEAD, HEAD);
    let workers = Workers::new(n_threads, scratch_len);
    let mut out = vec![0.0; n_tokens * N_HEADS * HEAD];
    fastest(budget, || {
        expanded.attend(&workers, cache.view(), &run, &q, &mut out)
    })
}

/// Latent rows: blocks of equal content at places of their own.
struct Cache {
    shape: LatentShape,
    bytes: Vec<u8>,
    table: Vec<u32>,
}

impl Cache {
    fn new(kind: QuantKind, n_positions: usize) -> Self {
        let shape = LatentShape {
            kv_lora_rank: RANK,
            rope_dim: ROPE,
            kind,
        };
        let mut block = vec![0; BLOCK_LEN * shape.row_bytes()];
        let rows = values(BLOCK_LEN * shape.padded_len());
        for (bytes, row) in block
            .chunks_exact_mut(shape.row_bytes())
            .zip(rows.chunks_exact(shape.padded_len()))
        {
            shape.encode_row(row, bytes);
        }
        let n_blocks = n_positions.div_ceil(BLOCK_LEN);
        Self {
            shape,
            bytes: block.repeat(n_blocks),
            table: (0..n_blocks as u32).collect(),
        }
    }

    fn view(&self) -> LatentCache<'_> {
        LatentCache {
            shape: self.shape,
            block_len: BLOCK_LEN,
            bytes: &self.bytes,
            block_tables: &self.table,
        }
    }
}

/// Numbers in −1..1.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 37 % 101) as f32 / 50.5 - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_can_be_measured() {
        for kind in [QuantKind::F16, QuantKind::Q8_0] {
            for is_rounded in [false, true] {
                let seconds = decode_attention_speed(2, kind, 100, is_rounded, Duration::ZERO);
                assert!(seconds > 0.0);
            }
        }
        for is_rounded in [false, true] {
            assert!(prefill_attention_speed(1, 20, is_rounded, Duration::ZERO) > 0.0);
        }
    }
}
