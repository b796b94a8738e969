//! From a file and a plan to a model that is ready to run.

use std::sync::Arc;

use perigee_arch::KvKind;
use perigee_gguf::Gguf;
use perigee_placement::Plan;

use crate::{Deepseek2, LoadError};

/// Where the bytes of the weights stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadMode {
    /// In the mapped file, in file order, shared with the page cache.
    Map,
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
}

/// Loads the model as planned. `progress(done, total)` counts bytes of weights made resident;
/// it is called from several threads.
pub fn load(
    _gguf: Arc<Gguf>,
    _plan: &Plan,
    _options: &LoadOptions,
    _progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Deepseek2, LoadError> {
    todo!()
}
