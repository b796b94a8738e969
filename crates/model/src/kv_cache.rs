//! Latent KV rows in blocks, per layer.

use perigee_arch::{Config, KvKind};
use perigee_cpu::{LatentCache, LatentShape};
use perigee_quant::QuantKind;
use perigee_topology::{HugeBytes, Machine};

use crate::{BlockId, LoadError};

/// The cache of all layers: `[n_layers, n_blocks, block_len]` encoded rows in memory that is
/// committed when first written, a huge page at a time: attention reads all of a layer for every
/// token.
pub(crate) struct KvCache {
    shape: LatentShape,
    n_blocks: usize,
    block_len: usize,
    /// Bytes of the blocks of one layer.
    layer_bytes: usize,
    bytes: HugeBytes,
}

/// Encoding and dimensions of the rows.
pub(crate) fn latent_shape(config: &Config, kind: KvKind) -> LatentShape {
    LatentShape {
        kv_lora_rank: config.kv_lora_rank,
        rope_dim: config.qk_rope_head_dim,
        kind: match kind {
            KvKind::F16 => QuantKind::F16,
            KvKind::Q8_0 => QuantKind::Q8_0,
        },
    }
}

impl KvCache {
    /// A zeroed cache.
    pub(crate) fn new(
        shape: LatentShape,
        n_layers: usize,
        n_blocks: usize,
        block_len: usize,
    ) -> Result<Self, LoadError> {
        let out_of_memory = |n_bytes| LoadError::OutOfMemory {
            what: "KV cache",
            n_bytes,
            limit: Machine::memory_limit().unwrap_or(0),
        };
        let layer_bytes = shape
            .row_bytes()
            .checked_mul(block_len)
            .and_then(|block| block.checked_mul(n_blocks));
        let n_bytes = layer_bytes.and_then(|layer| layer.checked_mul(n_layers));
        let (Some(layer_bytes), Some(n_bytes)) = (layer_bytes, n_bytes) else {
            return Err(out_of_memory(u64::MAX));
        };
        // The system promises memory that it does not have; the limit is the honest answer.
        if Machine::memory_limit().is_some_and(|limit| n_bytes as u64 > limit) {
            return Err(out_of_memory(n_bytes as u64));
        }
        let bytes = HugeBytes::new(n_bytes).map_err(|_| out_of_memory(n_bytes as u64))?;
        Ok(Self {
            shape,
            n_blocks,
            block_len,
            layer_bytes,
            bytes,
        })
    }

    /// Blocks of a layer.
    pub(crate) fn n_blocks(&self) -> usize {
        self.n_blocks
    }

    /// Positions in a block.
    pub(crate) fn block_len(&self) -> usize {
        self.block_len
    }

    /// The rows of a layer, addressed through block tables.
    pub(crate) fn layer<'a>(&'a self, layer: usize, block_tables: &'a [u32]) -> LatentCache<'a> {
        LatentCache {
            shape: self.shape,
            block_len: self.block_len,
            bytes: &self.bytes[layer * self.layer_bytes..][..self.layer_bytes],
            block_tables,
        }
    }

    /// Encodes one row, `[c̃ | 0… | k_pe | 0…]` as padded by its shape.
    pub(crate) fn write(&mut self, layer: usize, block: u32, offset: usize, row: &[f32]) {
        let row_bytes = self.shape.row_bytes();
        let index = block as usize * self.block_len + offset;
        let start = layer * self.layer_bytes + index * row_bytes;
        self.shape
            .encode_row(row, &mut self.bytes[start..start + row_bytes]);
    }

    /// Copies a block in all layers.
    ///
    /// # Panics
    /// When a block does not exist.
    pub(crate) fn copy_block(&mut self, from: BlockId, to: BlockId) {
        let (from, to) = (from.0 as usize, to.0 as usize);
        assert!(
            from.max(to) < self.n_blocks,
            "blocks {from} and {to} of {}",
            self.n_blocks
        );
        let block_bytes = self.shape.row_bytes() * self.block_len;
        for layer in self.bytes.chunks_exact_mut(self.layer_bytes) {
            layer.copy_within(
                from * block_bytes..(from + 1) * block_bytes,
                to * block_bytes,
            );
        }
    }
}
