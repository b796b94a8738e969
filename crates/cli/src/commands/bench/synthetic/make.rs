//! Making the model: in memory, or on a disk.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
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
const PIECE: usize = 1 << 20;
/// Bytes between two writes to a disk.
const CHUNK: usize = 64 << 20;

/// The model, of which nothing is made yet.
pub(super) fn model(spec: &ModelSpec) -> Result<SyntheticModel> {
    SyntheticModel::new(spec, SEED).context("--synthetic")
}

/// Makes the model in memory with all threads.
pub(super) fn in_memory(model: &SyntheticModel, name: &str, threads: usize) -> Result<Gguf> {
    let started = Instant::now();
    let mut made = InMemory::create(model.entries(), model.tensors())
        .context("--synthetic: no memory for the weights")?;
    let (pool, progress) = (Pool::new(threads), LoadProgress::new("generating"));
    let (done, total) = (AtomicU64::new(0), weight_bytes(model));
    for tensor in 0..model.tensors().len() {
        fill(model, tensor, 0, made.tensor_mut(tensor), &pool, &|n| {
            progress.set(done.fetch_add(n, Ordering::Relaxed) + n, total);
        });
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
    println!("{shown}: {:.2} GB of random weights", total as f64 / 1e9);
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
            fill(model, tensor, row, &mut chunk, &pool, &|_| ());
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

/// Fills `out` with the rows of a tensor from `first_row` on; `progress` takes the bytes of each
/// piece.
fn fill(
    model: &SyntheticModel,
    tensor: usize,
    first_row: u64,
    out: &mut [u8],
    pool: &Pool,
    progress: &(dyn Fn(u64) + Sync),
) {
    let row_bytes = model.row_bytes(tensor);
    let n_rows = (PIECE / row_bytes).max(1);
    pool.for_chunks(out, n_rows * row_bytes, &|i, piece| {
        model.fill(tensor, first_row + (i * n_rows) as u64, piece);
        progress(piece.len() as u64);
    });
}

fn weight_bytes(model: &SyntheticModel) -> u64 {
    let tensors = model.tensors().iter();
    tensors.filter_map(|tensor| tensor.n_bytes()).sum()
}
