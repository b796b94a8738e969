//! `perigee bench --synthetic`: random weights of true dimensions instead of a file.

mod estimate;
mod make;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use perigee_arch::{KvLayout, ModelSpec};
use perigee_cpu::{ReadBandwidth, read_bandwidth};
use perigee_topology::{Machine, Pool};

use self::estimate::Estimate;
use super::{Plan, measure};
use crate::args::BenchFormat;
use crate::settings::ModelSettings;
use crate::startup;

/// Beyond every cache that processors have.
const BANDWIDTH_BYTES: u64 = 2 << 30;
const BANDWIDTH_PASSES: usize = 8;
/// What a model needs beside its weights: KV blocks, the workspace of a batch, this program.
const BESIDE_WEIGHTS: u64 = 1 << 30;

/// Measures the described model and those that the estimate of the whole one needs.
pub(super) fn run(
    text: &str,
    settings: &ModelSettings,
    plan: &Plan,
    output: BenchFormat,
) -> Result<()> {
    let spec = parse(text)?;
    let base = text.split(':').next().unwrap_or(text);
    let mut estimate = Estimate::new(text, &spec, base, &parse(base)?);
    let mut shapes = Vec::new();
    for shape in estimate.shapes() {
        check_memory(text, &shape.spec)?;
        // The whole model computes one row of its head for a prompt; what is measured to be
        // subtracted must have all of its last layer.
        let all_logits = shape.spec.config.vocab_size == spec.config.vocab_size;
        shapes.push((make::model(&shape.spec)?, shape.name, all_logits));
    }
    eprintln!("perigee: measuring the read bandwidth of the memory, and again after every model");
    let mut readings = vec![bandwidth(settings.threads)?];
    for (model, name, all_logits) in shapes {
        let opened = startup::check(make::in_memory(&model, &name, settings.threads)?)?;
        let plan = Plan {
            all_logits,
            ..plan.clone()
        };
        let measured = measure(opened, settings, &plan, Some(name))?;
        ensure!(
            measured.finite,
            "--synthetic {text}: the logits are no numbers"
        );
        estimate.models.push(measured);
        readings.push(bandwidth(settings.threads)?);
    }
    // Memory that other machines use too is not always equally fast: a model may have met a better
    // time than one reading.
    let fastest = |a: &ReadBandwidth, b: &ReadBandwidth| a.best.total_cmp(&b.best);
    estimate.bandwidth = readings.into_iter().max_by(fastest);
    write!(io::stdout(), "{}", estimate.render(output))?;
    Ok(())
}

/// Writes the described model to a file.
pub(super) fn write(text: &str, path: &Path, threads: usize) -> Result<()> {
    make::on_disk(&make::model(&parse(text)?)?, path, threads)
}

fn parse(text: &str) -> Result<ModelSpec> {
    text.parse().context("--synthetic")
}

/// Refuses before anything is allocated: a machine that runs out of memory stops programs that
/// have nothing to do with it.
fn check_memory(text: &str, spec: &ModelSpec) -> Result<()> {
    let weights = spec.weight_bytes(KvLayout::Split);
    let needed = weights.and_then(|weights| weights.checked_add(BESIDE_WEIGHTS));
    let needed = needed.context("--synthetic: a model beyond all memory")?;
    if let Some(available) = available_memory() {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        ensure!(
            needed <= available,
            "--synthetic {text} needs {:.1} GiB of memory, but {:.1} GiB are available: \
             name fewer layers (layers=2 is enough for the estimate) or a smaller type",
            gib(needed),
            gib(available),
        );
    }
    Ok(())
}

/// Memory that no one uses now, as far as the system says.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let free = kib.and_then(|kib| kib.checked_mul(1024));
    free.into_iter().chain(Machine::memory_limit()).min()
}

fn bandwidth(threads: usize) -> Result<ReadBandwidth> {
    let affordable = available_memory().map_or(BANDWIDTH_BYTES, |bytes| bytes / 4);
    let n_bytes = usize::try_from(affordable.min(BANDWIDTH_BYTES))?;
    read_bandwidth(&Pool::new(threads), n_bytes, BANDWIDTH_PASSES)
        .map_err(|error| anyhow::anyhow!("no memory of {} bytes to read", error.n_bytes))
}
