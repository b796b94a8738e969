//! From a file and a plan to a model that is ready to run.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perigee_arch::{Config, Inventory, KvKind};
use perigee_cpu::{Activations, Stack};
use perigee_gguf::{Gguf, Tensor};
use perigee_placement::{Home, Plan};
use perigee_topology::{Machine, Pool};

use crate::kv_cache::latent_shape;
use crate::{Deepseek2, LoadError, Observer};

/// Where the bytes of the weights stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadMode {
    /// In the mapped file, in file order, shared with the page cache, and met by these.
    Map(Activations),
    /// In memory of the process, their rows interleaved for the fastest kernels, and met by
    /// integers; types without a packed layout stay mapped.
    Pack,
}

/// Decisions made before loading.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Threads of the forward pass, the calling one included (at least 1).
    pub n_threads: usize,
    /// Element type of the KV cache.
    pub kv: KvKind,
    /// KV blocks to make.
    pub n_blocks: usize,
    /// Tokens in a KV block.
    pub block_len: usize,
    /// Most tokens of one batch.
    pub ubatch: usize,
    /// Most logit rows of one batch.
    pub max_output_rows: usize,
    /// Bit-identical results whatever the batch, chunking and thread count.
    pub deterministic: bool,
    /// Where weights stay.
    pub load: LoadMode,
    /// Who is shown the inputs of weights, which takes time and memory.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Bytes touched between two reports of progress.
const TOUCH_BYTES: usize = 8 << 20;
/// Smallest page that systems use; a read of one byte makes the whole page resident.
const PAGE_BYTES: usize = 4096;

/// Loads the model as planned. `progress(done, total)` counts bytes of weights made resident;
/// it is called from several threads.
///
/// # Errors
/// When the file is not a model of the family, the plan is not one for this file, or the
/// buffers do not fit the memory.
pub fn load(
    gguf: Arc<Gguf>,
    plan: &Plan,
    options: &LoadOptions,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Deepseek2, LoadError> {
    check_options(options)?;
    let config = Config::from_metadata(gguf.metadata())?;
    let inventory = perigee_arch::inventory(&gguf, &config)?;
    check_plan(plan, &inventory)?;
    let latent = latent_shape(&config, options.kv);
    let mut model = Deepseek2::new(&gguf, config, &inventory, latent, options)?;
    match options.load {
        LoadMode::Map(activations) => {
            model.meet(activations);
            touch_pages(&gguf, &inventory, model.workers().pool(), progress);
        }
        LoadMode::Pack => model.pack(progress)?,
    }
    Ok(model)
}

/// Bytes of memory that [`LoadMode::Pack`] takes at most for a file.
pub fn packed_bytes(gguf: &Gguf) -> u64 {
    let packed = |tensor: &Tensor| {
        let (n_in, rows) = tensor.shape.split_first()?;
        let n_rows = rows.iter().product::<u64>();
        Stack::packed_bytes(tensor.kind, *n_in as usize, n_rows as usize, 1)
    };
    let sizes = gguf.tensors().iter().filter_map(packed);
    sizes.map(|size| size as u64).sum()
}

fn check_options(options: &LoadOptions) -> Result<(), LoadError> {
    let counts = [
        ("n_blocks", options.n_blocks),
        ("block_len", options.block_len),
        ("ubatch", options.ubatch),
        ("max_output_rows", options.max_output_rows),
    ];
    match counts.into_iter().find(|(_, count)| *count == 0) {
        Some((option, _)) => Err(LoadError::ZeroOption { option }),
        None => Ok(()),
    }
}

/// A plan has a home for every tensor; this build has one.
fn check_plan(plan: &Plan, inventory: &Inventory) -> Result<(), LoadError> {
    if plan.homes.len() != inventory.tensors.len() {
        return Err(LoadError::PlanLength {
            found: plan.homes.len(),
            expected: inventory.tensors.len(),
        });
    }
    for (home, tensor) in plan.homes.iter().zip(&inventory.tensors) {
        match home {
            Home::Cpu { node: 0 } => (),
            Home::Cpu { node } => {
                return Err(LoadError::NoSuchNode {
                    tensor: tensor.name.clone(),
                    node: *node,
                });
            }
        }
    }
    Ok(())
}

/// Reads a byte of every page of the weights on all threads, so that the first step does not
/// wait for the disk page by page. A file larger than the memory is left to be read when needed.
fn touch_pages(
    gguf: &Gguf,
    inventory: &Inventory,
    pool: &Pool,
    progress: &(dyn Fn(u64, u64) + Sync),
) {
    let tensors: Vec<&[u8]> = inventory
        .tensors
        .iter()
        .filter_map(|expected| gguf.tensor(&expected.name))
        .map(|tensor| gguf.bytes(tensor))
        .collect();
    let total: u64 = tensors.iter().map(|bytes| bytes.len() as u64).sum();
    progress(0, total);
    if Machine::memory_limit().is_some_and(|limit| total > limit) {
        tracing::warn!(total, "the weights are larger than the memory");
        progress(total, total);
        return;
    }
    let pieces: Vec<&[u8]> = tensors
        .iter()
        .flat_map(|bytes| bytes.chunks(TOUCH_BYTES))
        .collect();
    let done = AtomicU64::new(0);
    pool.for_each(pieces.len(), &|i| {
        for byte in pieces[i].iter().step_by(PAGE_BYTES) {
            hint::black_box(*byte);
        }
        let n = pieces[i].len() as u64;
        progress(done.fetch_add(n, Ordering::Relaxed) + n, total);
    });
}
