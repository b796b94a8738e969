//! `perigee bench kernels`: what kernels and attention reach of what the machine has.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use perigee_cpu::{
    Isa, Order, Workers, clock_ghz, decode_attention_speed, dispatch_seconds, kernel_speed,
    packing_speed, peak_macs_per_second, prefill_attention_speed, read_bandwidth, streamed_speed,
};
use perigee_quant::QuantKind;
use perigee_topology::Machine;

use crate::args::KernelsArgs;

/// Bytes of the matrix that is read from memory: far more than the caches hold.
const STREAMED_BYTES: usize = 1 << 30;
/// Passes over the memory when its bandwidth is measured.
const BANDWIDTH_PASSES: usize = 8;
/// Positions that a token attends to.
const DEPTHS: [usize; 3] = [256, 4096, 32768];
/// Tokens of prompts.
const PROMPTS: [usize; 2] = [512, 2048];
/// Types that are measured from memory when none are named: those of the published models.
const STREAMED: [QuantKind; 4] = [
    QuantKind::Iq3K,
    QuantKind::Q4_0,
    QuantKind::Q8_0,
    QuantKind::Iq2Ks,
];

/// Measures and prints three tables.
pub(super) fn run(args: &KernelsArgs) -> Result<()> {
    ensure!(
        args.columns.iter().all(|n| (1..=4096).contains(n)),
        "--columns: numbers from 1 to 4096"
    );
    let named = kinds(&args.types)?;
    let budget = Duration::from_millis(args.time);
    let isas: Vec<Isa> = Isa::ALL
        .into_iter()
        .filter(|isa| *isa != Isa::Scalar && isa.is_supported())
        .collect();
    ensure!(
        !isas.is_empty(),
        "this CPU has none of the instruction sets that kernels are written for: AVX2, AVX-VNNI, AVX-512"
    );
    let out = &mut std::io::stdout();
    cached(out, args, &named, &isas, budget)?;
    let threads = args.threads.unwrap_or_else(Machine::default_threads);
    ensure!(
        (1..=4096).contains(&threads),
        "-t {threads}: expected 1 to 4096 threads"
    );
    streamed(out, args, &named, threads)?;
    attention(out, threads, budget)
}

fn kinds(names: &[String]) -> Result<Vec<QuantKind>> {
    let find = |name: &String| {
        let kind =
            QuantKind::from_name(name).with_context(|| format!("--types: no type {name}"))?;
        ensure!(
            kind.layout().is_some(),
            "--types: {} has no integer kernels",
            kind.name()
        );
        Ok(kind)
    };
    names.iter().map(find).collect()
}

fn order(args: &KernelsArgs) -> Order {
    if args.mapped {
        Order::File
    } else {
        Order::Packed
    }
}

/// One core, weights in its second-level cache.
fn cached(
    out: &mut impl Write,
    args: &KernelsArgs,
    named: &[QuantKind],
    isas: &[Isa],
    budget: Duration,
) -> Result<()> {
    let clock = clock_ghz(budget);
    writeln!(
        out,
        "One core, weights in its second-level cache, clock {clock:.2} GHz."
    )?;
    for &isa in isas {
        let peak = peak_macs_per_second(isa, budget).context("a supported instruction set")?;
        writeln!(
            out,
            "{} multiplies {:.0} Gmac/s, {:.1} a cycle: at best {:.1} cycles for 256 weights and a column.",
            isa.name(),
            peak / 1e9,
            peak / clock / 1e9,
            256.0 * clock * 1e9 / peak,
        )?;
    }
    writeln!(
        out,
        "\nCycles for 256 weights and one column, by columns that share the weights:\n"
    )?;
    write!(out, "| type | instructions | GB/s, 1 column |")?;
    for n in &args.columns {
        write!(out, " {n} |")?;
    }
    writeln!(
        out,
        "\n| --- | --- | ---: |{}",
        " ---: |".repeat(args.columns.len())
    )?;
    let all = match named {
        [] => QuantKind::ALL,
        named => named,
    };
    let order = order(args);
    for &kind in all {
        for &isa in isas {
            let Some(one) = kernel_speed((kind, order), isa, 1, budget) else {
                continue;
            };
            write!(
                out,
                "| {} | {} | {:.1} |",
                kind.name(),
                isa.name(),
                one.gb_s()
            )?;
            for &n in &args.columns {
                let speed =
                    kernel_speed((kind, order), isa, n, budget).context("measured a moment ago")?;
                write!(out, " {:.1} |", speed.cycles_per_256(clock) / n as f64)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// All threads, weights in memory.
fn streamed(
    out: &mut impl Write,
    args: &KernelsArgs,
    named: &[QuantKind],
    threads: usize,
) -> Result<()> {
    let workers = Workers::new(threads, 0);
    workers.pool().pin_caller();
    let read = || {
        read_bandwidth(workers.pool(), STREAMED_BYTES, BANDWIDTH_PASSES)
            .map_err(|error| anyhow::anyhow!("no memory of {} bytes to read", error.n_bytes))
    };
    let mut before = read()?;
    let dispatch = dispatch_seconds(&workers, Duration::from_millis(args.time));
    writeln!(
        out,
        "\n{} threads, a matrix of 1 GiB times a vector; reading alone: {:.1} GB/s (median {:.1}). \
         A parallel loop costs {:.2} µs beyond its work.\n",
        workers.n_threads(),
        before.best / 1e9,
        before.median / 1e9,
        dispatch * 1e6,
    )?;
    writeln!(
        out,
        "| type | GB/s | reading alone | share | packing a file, GB/s |\n| --- | ---: | ---: | ---: | ---: |"
    )?;
    let kinds = match named {
        [] => &STREAMED,
        named => named,
    };
    for &kind in kinds {
        let budget = Duration::from_secs(1);
        let speed = streamed_speed(&workers, (kind, order(args)), STREAMED_BYTES, budget)
            .with_context(|| format!("no memory for 1 GiB of {}", kind.name()))?;
        let packing = packing_speed(&workers, kind, budget / 10)
            .with_context(|| format!("no memory to pack {}", kind.name()))?;
        // Memory shared with others changes its speed: what counts is what it gave before and after.
        let after = read()?;
        let alone = before.best.max(after.best) / 1e9;
        let share = 100.0 * speed.gb_s() / alone;
        before = after;
        writeln!(
            out,
            "| {} | {:.1} | {alone:.1} | {share:.0} % | {packing:.1} |",
            kind.name(),
            speed.gb_s()
        )?;
    }
    Ok(())
}

/// All threads, one layer.
fn attention(out: &mut impl Write, threads: usize, budget: Duration) -> Result<()> {
    writeln!(
        out,
        "\nAttention of a layer of 64 heads, milliseconds a token; beside quantised weights products are \
         those of integers.\n\n\
         | positions | f16 cache | q8_0 cache | f16 cache, floats |\n| ---: | ---: | ---: | ---: |"
    )?;
    let speed = |kind, depth, is_rounded| {
        1e3 * decode_attention_speed(threads, kind, depth, is_rounded, budget)
    };
    for depth in DEPTHS {
        writeln!(
            out,
            "| {depth} | {:.3} | {:.3} | {:.3} |",
            speed(QuantKind::F16, depth, true),
            speed(QuantKind::Q8_0, depth, true),
            speed(QuantKind::F16, depth, false),
        )?;
    }
    for n_tokens in PROMPTS {
        let [rounded, floats] = [true, false].map(|is_rounded| {
            let seconds = prefill_attention_speed(threads, n_tokens, is_rounded, budget);
            1e3 * seconds / n_tokens as f64
        });
        writeln!(
            out,
            "\nA prompt of {n_tokens} tokens: {rounded:.3} ms a token, with floats {floats:.3}."
        )?;
    }
    Ok(())
}
