//! The `deepseek2` network.
use crate::{Batch, BlockId, ForwardError, Limits, Model};

/// A loaded `deepseek2` model with its KV storage.
pub struct Deepseek2 {}

impl Model for Deepseek2 {
    fn limits(&self) -> Limits { todo!() }
    fn forward(&mut self, _batch: &Batch, _logits: &mut [f32]) -> Result<(), ForwardError> { todo!() }
    fn copy_block(&mut self, _from: BlockId, _to: BlockId) { todo!() }
}
