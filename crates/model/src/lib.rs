//! One forward pass: weights at their homes, KV storage, the `deepseek2` network.
//!
//! Knows token ids and positions, no text, no requests, no sampling, no tokio.
//! Start at [`Model`], then `deepseek2/forward.rs`.

mod batch;
mod deepseek2;
mod error;
mod kv_cache;
mod linear;
mod load;
mod observer;
mod workspace;

pub use batch::{Batch, BlockId, Outputs, Run};
pub use deepseek2::Deepseek2;
pub use error::{ForwardError, LoadError};
pub use load::{LoadMode, LoadOptions, load, packed_bytes};
pub use observer::Observer;
pub use perigee_cpu::Activations;

/// What the engine needs to know to schedule.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows of the head.
    pub vocab_size: usize,
    /// Trained context.
    pub context_length: usize,
    /// Most tokens of one [`Batch`] (`--ubatch`).
    pub max_batch_tokens: usize,
    /// Most logit rows of one batch.
    pub max_output_rows: usize,
    /// KV blocks that exist.
    pub n_blocks: usize,
    /// Tokens per KV block.
    pub block_len: usize,
}

/// A network that maps token runs to logits, with its own KV storage addressed by block.
pub trait Model: Send {
    /// Fixed facts.
    fn limits(&self) -> Limits;
    /// Called once by the thread that will call [`forward`](Self::forward), which may bind it to
    /// a core of the compute team.
    fn bind_thread(&self) {}
    /// Runs the batch: writes KV rows of every token into the blocks of its run, and
    /// logits `[batch.n_outputs(), vocab_size]` f32 row-major, in the order of the runs.
    fn forward(&mut self, batch: &Batch, logits: &mut [f32]) -> Result<(), ForwardError>;
    /// Copies a whole KV block (all layers): copy-on-write of a shared, partly filled block.
    fn copy_block(&mut self, from: BlockId, to: BlockId);
}

#[cfg(test)]
mod tests;
