use perigee_quant::QuantKind;

use super::*;
use crate::noise::{bits, noise, nrmse};
use crate::{Absorbed, At, matmul_stack, matmul_stack_transposed, scratch_len};

const SHAPE: LatentShape = LatentShape {
    kv_lora_rank: 48,
    rope_dim: 8,
    kind: QuantKind::F32,
};
const N_HEADS: usize = 3;
const NOPE: usize = 20;
const V: usize = 28;
const SCALE: f32 = 0.2;

/// Weights of a layer in both forms, rows of noise in a cache, and queries.
struct Layer {
    joined: Vec<u8>,
    k_b: Vec<u8>,
    v_b: Vec<u8>,
    cache: Vec<u8>,
    table: Vec<u32>,
}

fn bytes_of(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

impl Layer {
    fn new(n_positions: usize) -> Self {
        let rank = SHAPE.kv_lora_rank;
        let joined = noise(N_HEADS * (NOPE + V) * rank, 1);
        let row = |head: usize, row: usize| &joined[(head * (NOPE + V) + row) * rank..][..rank];
        let k_b = (0..N_HEADS)
            .flat_map(|head| (0..rank).flat_map(move |l| (0..NOPE).map(move |d| (head, l, d))))
            .map(|(head, l, d)| row(head, d)[l]);
        let v_b = (0..N_HEADS)
            .flat_map(|head| (NOPE..NOPE + V).map(move |e| (head, e)))
            .flat_map(|(head, e)| row(head, e).to_vec());
        Self {
            k_b: bytes_of(k_b),
            v_b: bytes_of(v_b),
            cache: bytes_of(noise(n_positions * 56, 2).into_iter()),
            table: (0..n_positions as u32).collect(),
            joined: bytes_of(joined.iter().copied()),
        }
    }

    fn cache(&self) -> LatentCache<'_> {
        LatentCache {
            shape: SHAPE,
            block_len: 1,
            bytes: &self.cache,
            block_tables: &self.table,
        }
    }

    fn stack<'a>(&self, n_in: usize, n_rows: usize, bytes: &'a [u8]) -> Stack<'a> {
        Stack::new(QuantKind::F32, n_in, n_rows, N_HEADS, bytes)
    }

    fn key_ups(&self) -> [KeyUp<'_>; 2] {
        let joined = self.stack(48, NOPE + V, &self.joined);
        [
            KeyUp::ByLatent(self.stack(NOPE, 48, &self.k_b)),
            KeyUp::ByKey(joined.narrow(0..NOPE)),
        ]
    }

    fn value_up(&self) -> Stack<'_> {
        self.stack(48, V, &self.v_b)
    }

    /// The same attention in the absorbed form.
    fn absorbed(&self, key_up: KeyUp<'_>, run: Queries, q: &[f32]) -> Vec<f32> {
        let len = scratch_len(64).max(Absorbed::scratch_len(&SHAPE));
        let workers = Workers::new(2, len);
        let n = run.n_tokens;
        let at = |start, item| At {
            start,
            token: N_HEADS * item,
            item,
        };
        let mut q_absorbed = vec![0.0; n * N_HEADS * 56];
        let (from, to) = ((q, at(0, NOPE + 8)), (&mut q_absorbed[..], at(0, 56)));
        match key_up {
            KeyUp::ByLatent(k_b) => matmul_stack(&workers, k_b, n, from, to),
            KeyUp::ByKey(k) => matmul_stack_transposed(&workers, k, n, from, to),
        }
        for (out, q) in q_absorbed.chunks_exact_mut(56).zip(q.chunks_exact(28)) {
            out[48..].copy_from_slice(&q[NOPE..]);
        }
        let mut states = vec![0.0; n * N_HEADS * 50];
        Absorbed::new(SHAPE, N_HEADS, SCALE, 2).attend(
            &workers,
            self.cache(),
            &[run],
            &q_absorbed,
            &mut states,
        );
        let mut out = vec![0.0; n * N_HEADS * V];
        let (from, to) = ((&states[..], at(2, 50)), (&mut out[..], at(0, V)));
        matmul_stack(&workers, self.value_up(), n, from, to);
        out
    }
}

#[test]
fn both_forms_of_attention_agree_in_both_layouts() {
    for (start, n_tokens) in [(0, 1), (0, 70), (63, 2), (100, 37), (10, 300)] {
        let layer = Layer::new(start + n_tokens);
        let q = noise(n_tokens * N_HEADS * (NOPE + 8), 3);
        let run = Queries {
            first_row: 0,
            n_tokens,
            start,
            table: 0,
        };
        let mut first: Option<Vec<f64>> = None;
        for key_up in layer.key_ups() {
            let expanded = Expanded {
                key_up,
                value_up: layer.value_up(),
                qk_nope_head_dim: NOPE,
                scale: SCALE,
            };
            let workers = Workers::new(3, Expanded::scratch_len(&SHAPE, NOPE, V));
            let mut out = vec![f32::NAN; n_tokens * N_HEADS * V];
            expanded.attend(&workers, layer.cache(), &run, &q, &mut out);
            for got in [out, layer.absorbed(key_up, run, &q)] {
                let Some(want) = &first else {
                    first = Some(got.into_iter().map(f64::from).collect());
                    continue;
                };
                let error = nrmse(&got, want);
                assert!(error < 3e-6, "{n_tokens} tokens from {start}: {error}");
            }
        }
    }
}

#[test]
fn neither_threads_nor_instruction_sets_change_a_bit() {
    let (start, n_tokens) = (37, 210);
    let layer = Layer::new(start + n_tokens);
    let q = noise(n_tokens * N_HEADS * (NOPE + 8), 3);
    let run = Queries {
        first_row: 0,
        n_tokens,
        start,
        table: 0,
    };
    let expanded = Expanded {
        key_up: layer.key_ups()[0],
        value_up: layer.value_up(),
        qk_nope_head_dim: NOPE,
        scale: SCALE,
    };
    let attend = |isa, n_threads| {
        let workers = Workers::new(n_threads, Expanded::scratch_len(&SHAPE, NOPE, V));
        let mut out = vec![f32::NAN; n_tokens * N_HEADS * V];
        expanded.attend_on(isa, &workers, layer.cache(), &run, &q, &mut out);
        bits(&out)
    };
    let plain = attend(Isa::Scalar, 1);
    assert!(part_len(n_tokens, N_HEADS, 9) < part_len(n_tokens, N_HEADS, 1));
    for isa in Isa::available() {
        for n_threads in [2, 9] {
            assert_eq!(attend(isa, n_threads), plain, "{isa:?} {n_threads} threads");
        }
    }
}
