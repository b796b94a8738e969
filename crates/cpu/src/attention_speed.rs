//! Speed of attention, against the arithmetic units of the machine. Run with
//! `cargo test --release -p perigee-cpu -- --ignored attention_speed --nocapture`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use perigee_quant::QuantKind;

use crate::noise::{noise, quantized_noise};
use crate::simd::Isa;
use crate::{Absorbed, Expanded, KeyUp, LatentCache, LatentShape, Queries, Stack, Workers};

const N_HEADS: usize = 64;
const RANK: usize = 512;
const ROPE: usize = 64;
const HEAD: usize = 128;
const BLOCK_LEN: usize = 64;
/// Multiply-adds per cycle of one 512-bit unit.
const MACS_PER_CYCLE: f64 = 16.0;

/// Time that the threads of this process had a processor; on a busy machine, that is not the
/// time that passed.
fn processor_time() -> Option<Duration> {
    // The kernel brings the number of a thread up to date when it gives way.
    std::thread::yield_now();
    let mut nanos = 0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanos += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

/// Seconds of each thread in the fastest of `n` repetitions: processor time where the system
/// tells it, else wall time.
fn fastest(n_threads: usize, n: usize, mut body: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..n {
        let (wall, before) = (Instant::now(), processor_time());
        body();
        let passed = match (before, processor_time()) {
            (Some(before), Some(after)) => (after - before) / n_threads as u32,
            _ => wall.elapsed(),
        };
        best = best.min(passed.as_secs_f64());
    }
    best
}

/// Cycles per second, from a chain of multiplications (3 cycles) and exclusive ors (1 cycle).
fn clock() -> f64 {
    const N: u64 = 4_000_000;
    let seconds = fastest(1, 5, || {
        let factor = black_box(0x9E37_79B9_7F4A_7C15u64);
        let mut x = 1u64;
        for i in 0..N {
            x = x.wrapping_mul(factor) ^ i;
        }
        black_box(x);
    });
    4.0 * N as f64 / seconds
}

fn report(what: &str, n_threads: usize, clock: f64, seconds: f64, n_tokens: usize, macs: f64) {
    let rate = macs / seconds / n_threads as f64;
    eprintln!(
        "{what:44} {n_threads} threads {:9.3} ms/token {:7.2} GMAC/s/core {:5.1} % of {:.2} GHz",
        seconds * 1e3 / n_tokens as f64,
        rate / 1e9,
        100.0 * rate / (MACS_PER_CYCLE * clock),
        clock / 1e9,
    );
}

/// A cache of `n_positions`: blocks of equal content at places of their own.
fn cache_bytes(shape: LatentShape, n_positions: usize) -> (Vec<u8>, Vec<u32>) {
    let mut block = vec![0; BLOCK_LEN * shape.row_bytes()];
    let rows = noise(BLOCK_LEN * shape.padded_len(), 1);
    for (bytes, row) in block
        .chunks_exact_mut(shape.row_bytes())
        .zip(rows.chunks_exact(shape.padded_len()))
    {
        shape.encode_row(row, bytes);
    }
    let n_blocks = n_positions.div_ceil(BLOCK_LEN);
    (block.repeat(n_blocks), (0..n_blocks as u32).collect())
}

fn absorbed_speed(
    isa: Isa,
    kind: QuantKind,
    (depth, n_tokens): (usize, usize),
    n_threads: usize,
    n: usize,
) {
    let shape = LatentShape {
        kv_lora_rank: RANK,
        rope_dim: ROPE,
        kind,
    };
    let (bytes, table) = cache_bytes(shape, depth);
    let cache = LatentCache {
        shape,
        block_len: BLOCK_LEN,
        bytes: &bytes,
        block_tables: &table,
    };
    let run = Queries {
        first_row: 0,
        n_tokens,
        start: depth - n_tokens,
        table: 0,
    };
    let q = noise(n_tokens * N_HEADS * shape.padded_len(), 2);
    let workers = Workers::new(n_threads, Absorbed::scratch_len(&shape));
    let mut absorbed = Absorbed::new(shape, N_HEADS, 0.07, n_threads);
    absorbed.isa = isa;
    let mut out = vec![0.0; n_tokens * N_HEADS * Absorbed::out_len(&shape)];
    let clock = clock();
    for is_rounded in [false, true] {
        absorbed.round(is_rounded);
        let seconds = fastest(n_threads, n, || {
            absorbed.attend(&workers, cache, &[run], &q, &mut out);
        });
        let macs = n_tokens as f64 * (depth * N_HEADS * (RANK + ROPE + RANK)) as f64;
        let how = if is_rounded { "rounded" } else { "floats" };
        let what = format!("absorbed {isa:?} {kind:?} {depth} x{n_tokens} {how}");
        report(&what, n_threads, clock, seconds, n_tokens, macs);
    }
}

fn expanded_speed(n_tokens: usize, n_threads: usize, n: usize) {
    let shape = LatentShape {
        kv_lora_rank: RANK,
        rope_dim: ROPE,
        kind: QuantKind::F16,
    };
    let (bytes, table) = cache_bytes(shape, n_tokens);
    let cache = LatentCache {
        shape,
        block_len: BLOCK_LEN,
        bytes: &bytes,
        block_tables: &table,
    };
    let run = Queries {
        first_row: 0,
        n_tokens,
        start: 0,
        table: 0,
    };
    let kind = QuantKind::Q8_0;
    let (k_b, _) = quantized_noise(kind, HEAD, N_HEADS * RANK, 3);
    let (v_b, _) = quantized_noise(kind, RANK, N_HEADS * HEAD, 4);
    let expanded = Expanded {
        key_up: KeyUp::ByLatent(Stack::new(kind, HEAD, RANK, N_HEADS, &k_b)),
        value_up: Stack::new(kind, RANK, HEAD, N_HEADS, &v_b),
        qk_nope_head_dim: HEAD,
        scale: 0.07,
    };
    let q = noise(n_tokens * N_HEADS * (HEAD + ROPE), 5);
    let workers = Workers::new(n_threads, Expanded::scratch_len(&shape, HEAD, HEAD));
    let mut out = vec![0.0; n_tokens * N_HEADS * HEAD];
    let clock = clock();
    let seconds = fastest(n_threads, n, || {
        expanded.attend(&workers, cache, &run, &q, &mut out);
    });
    // What has to be done: each position expanded once, each pair once.
    let expand = (n_tokens * 2 * HEAD * RANK) as f64;
    let pairs = (n_tokens * (n_tokens + 1) / 2) as f64;
    let macs = N_HEADS as f64 * (expand + pairs * (2 * HEAD + ROPE) as f64);
    let what = format!("expanded {n_tokens}");
    report(&what, n_threads, clock, seconds, n_tokens, macs);
}

#[test]
#[ignore = "a measurement"]
fn attention_speed() {
    let best = Isa::best();
    for kind in [QuantKind::F16, QuantKind::Q8_0] {
        for n_threads in [1, 2] {
            absorbed_speed(best, kind, (4096, 1), n_threads, 30);
            absorbed_speed(best, kind, (32768, 1), n_threads, 5);
        }
    }
    for isa in Isa::available().skip(1) {
        absorbed_speed(isa, QuantKind::F16, (4096, 4), 1, 8);
        absorbed_speed(isa, QuantKind::F16, (256, 1), 1, 50);
    }
    for n_threads in [1, 2] {
        expanded_speed(512, n_threads, 3);
        expanded_speed(2048, n_threads, 1);
    }
}
