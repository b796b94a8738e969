use perigee_quant::QuantKind;

use super::*;
use crate::noise::{bits, noise, nrmse};

const SHAPE: LatentShape = LatentShape {
    kv_lora_rank: 40,
    rope_dim: 8,
    kind: QuantKind::Q8_0,
};
/// One whose parts are whole sixteens, as rounding wants them.
const EVEN: LatentShape = LatentShape {
    kv_lora_rank: 64,
    rope_dim: 32,
    kind: QuantKind::F16,
};
/// One whose c̃ ends within a block.
const UNEVEN: LatentShape = LatentShape {
    kv_lora_rank: 48,
    rope_dim: 16,
    kind: QuantKind::Q8_0,
};
const N_HEADS: usize = 18;
const SCALE: f32 = 0.3;

/// A cache of noise: encoded, and decoded per position of a sequence with this table.
fn cache(block_len: usize, table: &[u32]) -> (Vec<u8>, Vec<f32>) {
    let n_blocks = *table.iter().max().unwrap() as usize + 1;
    let mut row = vec![0.0; SHAPE.padded_len()];
    let mut bytes = vec![0; n_blocks * block_len * SHAPE.row_bytes()];
    let values = noise(n_blocks * block_len * 48, 1);
    for (bytes, values) in bytes
        .chunks_exact_mut(SHAPE.row_bytes())
        .zip(values.chunks_exact(48))
    {
        row[..40].copy_from_slice(&values[..40]);
        row[SHAPE.latent_len()..][..8].copy_from_slice(&values[40..]);
        SHAPE.encode_row(&row, bytes);
    }
    let view = LatentCache {
        shape: SHAPE,
        block_len,
        bytes: &bytes,
        block_tables: table,
    };
    let mut decoded = vec![0.0; table.len() * block_len * SHAPE.padded_len()];
    view.decode(Isa::best(), 0, 0..table.len() * block_len, &mut decoded);
    (bytes, decoded)
}

/// Softmax attention of one query, in f64.
fn attend_plainly(q: &[f32], rows: &[f32]) -> Vec<f64> {
    let rows = rows.chunks_exact(SHAPE.padded_len());
    let dot = |row: &[f32]| -> f64 {
        q.iter()
            .zip(row)
            .map(|(q, x)| f64::from(*q) * f64::from(*x))
            .sum()
    };
    let weights: Vec<f64> = rows
        .clone()
        .map(|row| (f64::from(SCALE) * dot(row)).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; SHAPE.kv_lora_rank];
    for (weight, row) in weights.iter().zip(rows) {
        for (out, x) in out.iter_mut().zip(row) {
            *out += weight / sum * f64::from(*x);
        }
    }
    out
}

fn queries(n: usize) -> Vec<f32> {
    let mut q = noise(n * N_HEADS * SHAPE.padded_len(), 2);
    for head in q.chunks_exact_mut(SHAPE.padded_len()) {
        head.iter_mut().for_each(|x| *x *= 2.0);
        head[40..SHAPE.latent_len()].fill(0.0);
        head[SHAPE.latent_len() + 8..].fill(0.0);
    }
    q
}

fn attend(
    n_threads: usize,
    cache: LatentCache<'_>,
    runs: &[Queries],
    n_rows: usize,
    q: &[f32],
) -> Vec<f32> {
    attend_on(Isa::best(), n_threads, cache, runs, n_rows, q)
}

fn attend_on(
    isa: Isa,
    n_threads: usize,
    cache: LatentCache<'_>,
    runs: &[Queries],
    n_rows: usize,
    q: &[f32],
) -> Vec<f32> {
    let workers = Workers::new(n_threads, Absorbed::scratch_len(&SHAPE));
    let mut absorbed = Absorbed::new(SHAPE, N_HEADS, SCALE, n_threads);
    absorbed.isa = isa;
    let mut out = vec![f32::NAN; n_rows * N_HEADS * Absorbed::out_len(&SHAPE)];
    absorbed.attend(&workers, cache, runs, q, &mut out);
    let values = out.chunks_exact(Absorbed::out_len(&SHAPE));
    values.flat_map(|state| state[2..].to_vec()).collect()
}

#[test]
fn attention_is_the_softmax_average_of_the_past() {
    let block_len = 24;
    let table: Vec<u32> = (0..30).rev().collect();
    let (bytes, decoded) = cache(block_len, &table);
    let view = LatentCache {
        shape: SHAPE,
        block_len,
        bytes: &bytes,
        block_tables: &table,
    };
    // Runs that begin and end within, at and across tiles and splits.
    for (start, n_tokens) in [
        (0, 1),
        (0, 7),
        (31, 3),
        (250, 9),
        (255, 1),
        (256, 1),
        (600, 70),
    ] {
        let run = Queries {
            first_row: 0,
            n_tokens,
            start,
            table: 0,
        };
        let q = queries(n_tokens);
        let out = attend(2, view, &[run], n_tokens, &q);
        for t in 0..n_tokens {
            for head in 0..N_HEADS {
                let row = t * N_HEADS + head;
                let q = &q[row * SHAPE.padded_len()..][..SHAPE.padded_len()];
                let rows = &decoded[..(start + t + 1) * SHAPE.padded_len()];
                let got = &out[row * 40..][..40];
                let error = nrmse(got, &attend_plainly(q, rows));
                assert!(error < 3e-6, "position {} head {head}: {error}", start + t);
            }
        }
    }
}

#[test]
fn neither_batch_nor_threads_change_a_bit() {
    let block_len = 64;
    let table: Vec<u32> = (0..12).chain((3..15).rev()).collect();
    let (bytes, _) = cache(block_len, &table);
    let view = LatentCache {
        shape: SHAPE,
        block_len,
        bytes: &bytes,
        block_tables: &table,
    };
    let runs = [(0, 20, 700, 0), (20, 1, 511, 12), (21, 5, 0, 12)];
    let runs = runs.map(|(first_row, n_tokens, start, table)| Queries {
        first_row,
        n_tokens,
        start,
        table,
    });
    let q = queries(26);
    let together = attend(3, view, &runs, 26, &q);
    for run in runs {
        for t in 0..run.n_tokens {
            let alone = Queries {
                first_row: 0,
                n_tokens: 1,
                start: run.start + t,
                table: run.table,
            };
            let row = run.first_row + t;
            let len = N_HEADS * SHAPE.padded_len();
            let out = attend(1, view, &[alone], 1, &q[row * len..][..len]);
            let len = N_HEADS * 40;
            assert_eq!(bits(&out), bits(&together[row * len..][..len]), "row {row}");
        }
    }
}

/// 262,144 positions that cycle through one block: the average over the cycle, exactly what a
/// sequence of one block gives. Errors must not grow with the length.
#[test]
fn long_sequences_stay_accurate() {
    let block_len = 64;
    let n_blocks = 4096;
    let table = vec![0; n_blocks];
    let (bytes, decoded) = cache(block_len, &table[..1]);
    let view = LatentCache {
        shape: SHAPE,
        block_len,
        bytes: &bytes,
        block_tables: &table,
    };
    let q = queries(1);
    let run = Queries {
        first_row: 0,
        n_tokens: 1,
        start: n_blocks * block_len - 1,
        table: 0,
    };
    let out = attend(2, view, &[run], 1, &q);
    for head in 0..N_HEADS {
        let q = &q[head * SHAPE.padded_len()..][..SHAPE.padded_len()];
        let error = nrmse(&out[head * 40..][..40], &attend_plainly(q, &decoded));
        // All 1024 partials are equal, so that their roundings all go the same way.
        assert!(error < 3e-5, "head {head}: {error}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let table: Vec<u32> = (0..13).collect();
    let (bytes, _) = cache(24, &table);
    let view = LatentCache {
        shape: SHAPE,
        block_len: 24,
        bytes: &bytes,
        block_tables: &table,
    };
    let run = Queries {
        first_row: 0,
        n_tokens: 7,
        start: 301,
        table: 0,
    };
    let q = queries(7);
    let plain = attend_on(Isa::Scalar, 1, view, &[run], 7, &q);
    for isa in Isa::available() {
        let out = attend_on(isa, 2, view, &[run], 7, &q);
        assert_eq!(bits(&out), bits(&plain), "{isa:?}");
    }
}

/// Attention with rounding of noise over `n_positions`, and without.
fn rounded(
    shape: LatentShape,
    isa: Isa,
    n_threads: usize,
    tokens: (usize, usize),
    q: &[f32],
) -> [Vec<f32>; 2] {
    let block_len = 64;
    let table: Vec<u32> = (0..12).rev().collect();
    let n_rows = table.len() * block_len;
    let rows = noise(n_rows * shape.padded_len(), 5);
    let mut bytes = vec![0; n_rows * shape.row_bytes()];
    let encoded = bytes.chunks_exact_mut(shape.row_bytes());
    for (row, out) in rows.chunks_exact(shape.padded_len()).zip(encoded) {
        shape.encode_row(row, out);
    }
    let view = LatentCache {
        shape,
        block_len,
        bytes: &bytes,
        block_tables: &table,
    };
    let run = Queries {
        first_row: 0,
        n_tokens: tokens.1,
        start: tokens.0,
        table: 0,
    };
    let workers = Workers::new(n_threads, Absorbed::scratch_len(&shape));
    [true, false].map(|is_rounded| {
        let mut absorbed = Absorbed::new(shape, N_HEADS, SCALE, n_threads);
        absorbed.isa = isa;
        absorbed.round(is_rounded);
        assert_eq!(absorbed.is_rounded, is_rounded);
        let mut out = vec![f32::NAN; tokens.1 * N_HEADS * Absorbed::out_len(&shape)];
        absorbed.attend(&workers, view, &[run], q, &mut out);
        let values = out.chunks_exact(Absorbed::out_len(&shape));
        values.flat_map(|state| state[2..].to_vec()).collect()
    })
}

#[test]
fn rounding_costs_little_and_is_the_same_everywhere() {
    for shape in [EVEN, UNEVEN] {
        let token_len = N_HEADS * shape.padded_len();
        for (start, n_tokens) in [(0, 1), (0, 7), (63, 2), (255, 3), (600, 70)] {
            let q = noise(n_tokens * token_len, 6);
            let [got, exact] = rounded(shape, Isa::best(), 2, (start, n_tokens), &q);
            let exact: Vec<f64> = exact.into_iter().map(f64::from).collect();
            let error = nrmse(&got, &exact);
            assert!(error < 1e-3, "{n_tokens} from {start}: {error}");
            for isa in Isa::available() {
                let [other, _] = rounded(shape, isa, 1, (start, n_tokens), &q);
                assert_eq!(bits(&other), bits(&got), "{isa:?}");
            }
            for t in [0, n_tokens - 1] {
                let q = &q[t * token_len..][..token_len];
                let [alone, _] = rounded(shape, Isa::best(), 1, (start + t, 1), q);
                let len = N_HEADS * shape.kv_lora_rank;
                assert_eq!(bits(&alone), bits(&got[t * len..][..len]), "token {t}");
            }
        }
    }
}
