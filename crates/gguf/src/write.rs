//! Writing files.
use crate::Value;
use perigee_quant::QuantKind;
use std::path::Path;

/// Collects metadata and tensors, then writes one file or shards.
#[derive(Default)]
pub struct Writer {}
impl Writer {
    /// An empty file.
    pub fn new() -> Self { todo!() }
    /// Adds a metadata entry.
    pub fn metadata(&mut self, _key: &str, _value: Value) -> &mut Self { todo!() }
    /// Adds a tensor with its encoded bytes; `shape` in ggml order.
    pub fn tensor(&mut self, _name: &str, _kind: QuantKind, _shape: &[u64], _bytes: Vec<u8>) -> &mut Self { todo!() }
    /// The complete single file.
    pub fn to_bytes(&self) -> Vec<u8> { todo!() }
    /// Writes one file atomically (temporary name, then rename).
    pub fn write(&self, _path: &Path) -> std::io::Result<()> { todo!() }
    /// Writes `PREFIX-00001-of-NNNNN.gguf` …, about `tensors_per_shard` tensors each; returns the first path.
    pub fn write_shards(&self, _dir: &Path, _prefix: &str, _tensors_per_shard: usize) -> std::io::Result<std::path::PathBuf> { todo!() }
}
