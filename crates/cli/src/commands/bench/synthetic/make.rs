//! Making the model: in memory, or on a disk.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use perigee_arch::ModelSpec;
use perigee_gguf::{Gguf, InMemory, Stream};
use perigee_synthetic::SyntheticModel;
use perigee_topology::Pool;

use crate::progress::LoadProgress;

/// Of all weights. The same model is made whether it is measured or written.
const SEED: u64 = 1;
/// Bytes that a thread makes at a time.
const PIECE: usize = 256 << 10;
const NO_MEMORY: &str = "--synthetic: no memory for the weights";
/// Bytes between two writes to a disk.
const CHUNK: usize = 64 << 20;

/// The model, of which nothing is made yet.
pub(super) fn model(spec: &ModelSpec) -> Result<SyntheticModel> {
    SyntheticModel::new(spec, SEED).context("--synthetic")
}

/// Makes the model in memory with all threads.
pub(super) fn in_memory(model: &SyntheticModel, name: &str, threads: usize) -> Result<Gguf> {
    let started = Instant::now();
    let made = InMemory::create(model.entries(), model.tensors()).context(NO_MEMORY)?;
    let (pool, progress) = (Pool::new(threads), LoadProgress::new("generating"));
    let (done, total) = (AtomicU64::new(0), weight_bytes(model));
    // One for each thread, so that what it makes is still in its cache when it is written.
    let buffers: Vec<Mutex<Vec<u8>>> = (0..pool.n_threads()).map(|_| Mutex::default()).collect();
    let failure = OnceLock::new();
    for (tensor, declared) in model.tensors().iter().enumerate() {
        let row_bytes = model.row_bytes(tensor) as u64;
        let n_rows = declared.n_bytes().unwrap_or(0) / row_bytes;
        let rows_at_once = (PIECE as u64 / row_bytes).max(1);
        let n_pieces = usize::try_from(n_rows.div_ceil(rows_at_once))?;
        pool.for_each_worker(n_pieces, &|worker, i| {
            let row = i as u64 * rows_at_once;
            let n_bytes = rows_at_once.min(n_rows - row) * row_bytes;
            // Poisoned only by a panic, which ends the loop.
            let mut buffer = buffers[worker]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            buffer.resize(n_bytes as usize, 0);
            model.fill(tensor, row, &mut buffer);
            if let Err(error) = made.write(tensor, row * row_bytes, &buffer) {
                // The first is the one that matters.
                let _ = failure.set(error);
            }
            progress.set(done.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes, total);
        });
        if failure.get().is_some() {
            break;
        }
    }
    if let Some(error) = failure.into_inner() {
        return Err(anyhow::Error::new(error).context(NO_MEMORY));
    }
    progress.finish();
    let (seconds, gb) = (started.elapsed().as_secs_f64(), total as f64 / 1e9);
    eprintln!("perigee: made {name}, {gb:.2} GB in {seconds:.1} s");
    Ok(made.finish(name)?)
}

/// Writes the model to `path`, which gets its name when the file is whole.
pub(super) fn on_disk(model: &SyntheticModel, path: &Path, threads: usize) -> Result<()> {
    let shown = path.display();
    ensure!(!path.is_dir(), "--write {shown}: this is a folder");
    let total = weight_bytes(model);
    write_tensors(model, path, threads).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => anyhow::anyhow!(
            "--write {shown}: the disk is full; the model has {:.2} GB",
            total as f64 / 1e9
        ),
        _ => anyhow::Error::new(error).context(format!("--write {shown}")),
    })?;
    writeln!(
        io::stdout(),
        "{shown}: {:.2} GB of random weights",
        total as f64 / 1e9
    )?;
    Ok(())
}

fn write_tensors(model: &SyntheticModel, path: &Path, threads: usize) -> io::Result<()> {
    let mut stream = Stream::create(path, model.entries(), model.tensors())?;
    let (pool, progress) = (Pool::new(threads), LoadProgress::new("writing"));
    let (mut done, total) = (0, weight_bytes(model));
    let mut chunk = Vec::new();
    for (tensor, declared) in model.tensors().iter().enumerate() {
        let row_bytes = model.row_bytes(tensor);
        let n_rows = declared.n_bytes().unwrap_or(0) / row_bytes as u64;
        let rows_at_once = (CHUNK / row_bytes).max(1) as u64;
        let mut row = 0;
        while row < n_rows {
            let n = rows_at_once.min(n_rows - row);
            chunk.resize(n as usize * row_bytes, 0);
            let piece_rows = (PIECE / row_bytes).max(1);
            pool.for_chunks(&mut chunk, piece_rows * row_bytes, &|i, piece| {
                model.fill(tensor, row + (i * piece_rows) as u64, piece);
            });
            stream.write(&chunk)?;
            row += n;
            done += chunk.len() as u64;
            progress.set(done, total);
        }
    }
    stream.finish()?;
    progress.finish();
    Ok(())
}

fn weight_bytes(model: &SyntheticModel) -> u64 {
    let tensors = model.tensors().iter();
    tensors.filter_map(|tensor| tensor.n_bytes()).sum()
}
