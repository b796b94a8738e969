//! Opening files.
use crate::{Error, Metadata};
use perigee_quant::QuantKind;
use std::path::Path;

/// An index into the vocabulary of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub u32);

/// One tensor: where its bytes are and what they mean.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Name as in the file: `blk.0.attn_q_a.weight`.
    pub name: String,
    /// Encoding.
    pub kind: QuantKind,
    /// Dimensions in ggml order: `shape[0]` is contiguous. 1 to 4 entries, each ≥ 1.
    pub shape: Vec<u64>,
    /// Index of the shard that holds the data.
    pub shard: usize,
    /// Byte offset from the start of that shard's file.
    pub offset: u64,
    /// Size of the data.
    pub n_bytes: usize,
}

/// An opened model: all shards mapped, all headers checked.
pub struct Gguf {}
impl Gguf {
    /// Opens a file, the first (or any) shard of a split model, or a folder holding exactly one model.
    pub fn open(_path: &Path) -> Result<Self, Error> { todo!() }
    /// Reads a single-file model from memory. `name` stands for the path in errors.
    pub fn from_bytes(_name: &str, _bytes: &'static [u8]) -> Result<Self, Error> { todo!() }
    /// The metadata of shard 0.
    pub fn metadata(&self) -> &Metadata { todo!() }
    /// All tensors over all shards, in file order.
    pub fn tensors(&self) -> &[Tensor] { todo!() }
    /// The tensor of that name.
    pub fn tensor(&self, _name: &str) -> Option<&Tensor> { todo!() }
    /// The mapped bytes of a tensor.
    pub fn bytes(&self, _tensor: &Tensor) -> &[u8] { todo!() }
    /// Paths of the shards, in order.
    pub fn paths(&self) -> Vec<&Path> { todo!() }
    /// Total bytes of all shards.
    pub fn file_bytes(&self) -> u64 { todo!() }
}
