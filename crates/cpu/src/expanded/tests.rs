use perigee_quant::QuantKind;

use super::*;
use crate::noise::{bits, noise, nrmse};
use crate::{Absorbed, At, matmul_stack, matmul_stack_transposed, scratch_len};

const N_HEADS: usize = 3;
const SCALE: f32 = 0.2;

/// Dimensions of an attention.
#[derive(Clone, Copy, Debug)]
struct Form {
    latent: LatentShape,
    nope: usize,
    value: usize,
}

/// No part is whole sixteens.
const UNEVEN: Form = Form::new(QuantKind::F32, [48, 8, 20, 28]);
/// All are; the latent is longer than what is summed as integers at once.
const EVEN: Form = Form::new(QuantKind::F32, [528, 16, 32, 48]);
/// The same with a cache whose blocks end beyond both parts of a row.
const PADDED: Form = Form::new(QuantKind::Q8_0, [528, 16, 32, 48]);

impl Form {
    const fn new(kind: QuantKind, [kv_lora_rank, rope_dim, nope, value]: [usize; 4]) -> Self {
        let latent = LatentShape {
            kv_lora_rank,
            rope_dim,
            kind,
        };
        Self {
            latent,
            nope,
            value,
        }
    }

    fn key_len(&self) -> usize {
        self.nope + self.latent.rope_dim
    }

    /// Queries of `n_tokens`.
    fn queries(&self, n_tokens: usize) -> Vec<f32> {
        noise(n_tokens * N_HEADS * self.key_len(), 3)
    }
}

/// Rows of noise, with zeroes behind each part.
fn cache(shape: &LatentShape, n_positions: usize) -> Vec<u8> {
    let rows = noise(n_positions * shape.padded_len(), 2);
    let mut bytes = vec![0; n_positions * shape.row_bytes()];
    for (row, out) in rows
        .chunks_exact(shape.padded_len())
        .zip(bytes.chunks_exact_mut(shape.row_bytes()))
    {
        let mut row = row.to_vec();
        row[shape.kv_lora_rank..shape.latent_len()].fill(0.0);
        row[shape.latent_len() + shape.rope_dim..].fill(0.0);
        shape.encode_row(&row, out);
    }
    bytes
}

/// Weights of a layer in both forms, rows of noise in a cache, and queries.
struct Layer {
    form: Form,
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
    fn new(form: Form, n_positions: usize) -> Self {
        let Form {
            latent,
            nope,
            value,
        } = form;
        let rank = latent.kv_lora_rank;
        let joined = noise(N_HEADS * (nope + value) * rank, 1);
        let row = |head: usize, row: usize| &joined[(head * (nope + value) + row) * rank..][..rank];
        let k_b = (0..N_HEADS)
            .flat_map(|head| (0..rank).flat_map(move |l| (0..nope).map(move |d| (head, l, d))))
            .map(|(head, l, d)| row(head, d)[l]);
        let v_b = (0..N_HEADS)
            .flat_map(|head| (nope..nope + value).map(move |e| (head, e)))
            .flat_map(|(head, e)| row(head, e).to_vec());
        Self {
            form,
            k_b: bytes_of(k_b),
            v_b: bytes_of(v_b),
            cache: cache(&latent, n_positions),
            table: (0..n_positions as u32).collect(),
            joined: bytes_of(joined.iter().copied()),
        }
    }

    fn cache(&self) -> LatentCache<'_> {
        LatentCache {
            shape: self.form.latent,
            block_len: 1,
            bytes: &self.cache,
            block_tables: &self.table,
        }
    }

    fn stack<'a>(&self, n_in: usize, n_rows: usize, bytes: &'a [u8]) -> Stack<'a> {
        Stack::new(QuantKind::F32, n_in, n_rows, N_HEADS, bytes)
    }

    fn key_ups(&self) -> [KeyUp<'_>; 2] {
        let (rank, nope) = (self.form.latent.kv_lora_rank, self.form.nope);
        let joined = self.stack(rank, nope + self.form.value, &self.joined);
        [
            KeyUp::ByLatent(self.stack(nope, rank, &self.k_b)),
            KeyUp::ByKey(joined.narrow(0..nope)),
        ]
    }

    fn value_up(&self) -> Stack<'_> {
        self.stack(self.form.latent.kv_lora_rank, self.form.value, &self.v_b)
    }

    /// Attends with `n_tokens` from `start` on.
    fn expanded(
        &self,
        isa: Isa,
        n_threads: usize,
        (key_up, is_rounded): (KeyUp<'_>, bool),
        run: Queries,
        q: &[f32],
    ) -> Vec<f32> {
        let Form {
            latent,
            nope,
            value,
        } = self.form;
        let expanded = Expanded {
            key_up,
            value_up: self.value_up(),
            qk_nope_head_dim: nope,
            scale: SCALE,
            is_rounded,
        };
        let workers = Workers::new(n_threads, Expanded::scratch_len(&latent, nope, value));
        let mut out = vec![f32::NAN; run.n_tokens * N_HEADS * value];
        expanded.attend_on(isa, &workers, self.cache(), &run, q, &mut out);
        out
    }

    /// The same attention in the absorbed form.
    fn absorbed(&self, key_up: KeyUp<'_>, run: Queries, q: &[f32]) -> Vec<f32> {
        let Form { latent, value, .. } = self.form;
        let (rank, row_len, key_len) = (
            latent.kv_lora_rank,
            latent.padded_len(),
            self.form.key_len(),
        );
        let len = scratch_len(rank).max(Absorbed::scratch_len(&latent));
        let workers = Workers::new(2, len);
        let n = run.n_tokens;
        let at = |start, item| At {
            start,
            token: N_HEADS * item,
            item,
        };
        let mut q_absorbed = vec![0.0; n * N_HEADS * row_len];
        let (from, to) = ((q, at(0, key_len)), (&mut q_absorbed[..], at(0, row_len)));
        match key_up {
            KeyUp::ByLatent(k_b) => matmul_stack(&workers, k_b, n, from, to),
            KeyUp::ByKey(k) => matmul_stack_transposed(&workers, k, n, from, to),
        }
        for (out, q) in q_absorbed
            .chunks_exact_mut(row_len)
            .zip(q.chunks_exact(key_len))
        {
            out[latent.latent_len()..][..latent.rope_dim].copy_from_slice(&q[self.form.nope..]);
        }
        let mut states = vec![0.0; n * N_HEADS * (2 + rank)];
        Absorbed::new(latent, N_HEADS, SCALE, 2).attend(
            &workers,
            self.cache(),
            &[run],
            &q_absorbed,
            &mut states,
        );
        let mut out = vec![0.0; n * N_HEADS * value];
        let (from, to) = ((&states[..], at(2, 2 + rank)), (&mut out[..], at(0, value)));
        matmul_stack(&workers, self.value_up(), n, from, to);
        out
    }
}

/// Tokens of the only sequence.
fn run(start: usize, n_tokens: usize) -> Queries {
    Queries {
        first_row: 0,
        n_tokens,
        start,
        table: 0,
    }
}

#[test]
fn both_forms_of_attention_agree_in_both_layouts() {
    for form in [UNEVEN, EVEN, PADDED] {
        for (start, n_tokens) in [(0, 1), (0, 70), (63, 2), (100, 37), (10, 300)] {
            let layer = Layer::new(form, start + n_tokens);
            let (q, run) = (form.queries(n_tokens), run(start, n_tokens));
            let mut first: Option<Vec<f64>> = None;
            for key_up in layer.key_ups() {
                let out = layer.expanded(Isa::best(), 3, (key_up, false), run, &q);
                for got in [out, layer.absorbed(key_up, run, &q)] {
                    let Some(want) = &first else {
                        first = Some(got.into_iter().map(f64::from).collect());
                        continue;
                    };
                    let error = nrmse(&got, want);
                    assert!(
                        error < 3e-6,
                        "{form:?}: {n_tokens} tokens from {start}: {error}"
                    );
                }
            }
        }
    }
}

#[test]
fn rounding_costs_little_where_all_is_whole_sixteens_and_happens_only_there() {
    for (start, n_tokens) in [(0, 1), (0, 70), (63, 2), (100, 37), (10, 300)] {
        let run = run(start, n_tokens);
        let error = |form: Form| {
            let layer = Layer::new(form, start + n_tokens);
            let q = form.queries(n_tokens);
            let [exact, rounded] = [false, true].map(|is_rounded| {
                let how = (layer.key_ups()[0], is_rounded);
                layer.expanded(Isa::best(), 3, how, run, &q)
            });
            let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
            nrmse(&rounded, &exact)
        };
        for form in [EVEN, PADDED] {
            let error = error(form);
            assert!(
                0.0 < error && error < 1e-3,
                "{form:?}: {n_tokens} tokens from {start}: {error}"
            );
        }
        assert_eq!(error(UNEVEN), 0.0, "{n_tokens} tokens from {start}");
    }
}

#[test]
fn neither_threads_nor_instruction_sets_change_a_bit() {
    let (start, n_tokens) = (37, 210);
    for (form, is_rounded) in [(UNEVEN, false), (EVEN, false), (EVEN, true), (PADDED, true)] {
        let layer = Layer::new(form, start + n_tokens);
        let q = form.queries(n_tokens);
        let attend = |isa, n_threads| {
            let how = (layer.key_ups()[0], is_rounded);
            bits(&layer.expanded(isa, n_threads, how, run(start, n_tokens), &q))
        };
        let plain = attend(Isa::Scalar, 1);
        assert!(part_len(n_tokens, N_HEADS, 9) < part_len(n_tokens, N_HEADS, 1));
        for isa in Isa::available() {
            for n_threads in [2, 9] {
                let what = format!("{form:?} {is_rounded} {isa:?} {n_threads} threads");
                assert_eq!(attend(isa, n_threads), plain, "{what}");
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_none_for_all_who_see_it() {
    let (form, bad) = (EVEN, 70);
    let mut layer = Layer::new(form, 140);
    let at = bad * form.latent.padded_len() * 4;
    layer.cache[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let q = form.queries(140);
    for is_rounded in [false, true] {
        let how = (layer.key_ups()[0], is_rounded);
        let out = layer.expanded(Isa::best(), 2, how, run(0, 140), &q);
        let mut tokens = out.chunks_exact(N_HEADS * form.value);
        assert!(tokens.by_ref().take(64).flatten().all(|x| x.is_finite()));
        // Who shares a group with those that see it may suffer too.
        let mut seeing = tokens.skip(bad - 64).flatten();
        assert!(seeing.all(|x| x.is_nan()), "rounded: {is_rounded}");
    }
}
