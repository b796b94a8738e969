//! What can be wrong with a file.

use std::io;
use std::path::PathBuf;

/// A file that is not what it claims to be, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: no GGUF file in this folder", folder.display())]
    NoModel { folder: PathBuf },
    #[error("{}: holds several models ({found}); name one of their files", folder.display())]
    SeveralModels { folder: PathBuf, found: String },

    #[error("{file}: {len} bytes are too few for a GGUF header")]
    TooShort { file: String, len: usize },
    #[error("{file}: not a GGUF file (it does not begin with \"GGUF\")")]
    BadMagic { file: String },
    #[error("{file}: a big-endian GGUF file; convert it to little-endian first")]
    BigEndian { file: String },
    #[error("{file}: GGUF version {version} is not supported (2 and 3 are)")]
    Version { file: String, version: u32 },
    #[error(
        "{file}: {what} at byte {offset} needs {needed} bytes, but {remaining} remain: the file is truncated or lies"
    )]
    Truncated {
        file: String,
        what: &'static str,
        offset: usize,
        needed: u64,
        remaining: usize,
    },
    #[error(
        "{file}: {count} {what} cannot fit in the file, or are more than any model has (at most {limit})"
    )]
    TooMany {
        file: String,
        what: &'static str,
        count: u64,
        limit: u64,
    },

    #[error("{file}: metadata entry {index} has an empty key")]
    EmptyKey { file: String, index: usize },
    #[error("{file}: metadata entry {index} has a key that is not UTF-8")]
    KeyNotUtf8 { file: String, index: usize },
    #[error("{file}: metadata key {key:?} occurs twice")]
    DuplicateKey { file: String, key: String },
    #[error("{file}: metadata key {key:?} has the unknown value type {id}")]
    ValueType { file: String, key: String, id: u32 },
    #[error("{file}: metadata key {key:?} is an array of arrays, which no engine reads")]
    NestedArray { file: String, key: String },
    #[error("{file}: general.alignment is {found}; it must be a power of two up to 2097152")]
    Alignment { file: String, found: u64 },
    #[error("{file}: metadata key {key:?} is {found}, expected {expected}")]
    WrongType {
        file: String,
        key: String,
        found: &'static str,
        expected: &'static str,
    },
    #[error("{file}: metadata key {key:?} is {value}, which does not fit {expected}")]
    OutOfRange {
        file: String,
        key: String,
        value: String,
        expected: &'static str,
    },

    #[error("{file}: tensor {index} has a name of {len} bytes; 1 to 63 are allowed")]
    TensorNameLength {
        file: String,
        index: usize,
        len: u64,
    },
    #[error("{file}: tensor {index} has a name that is not UTF-8")]
    TensorNameNotUtf8 { file: String, index: usize },
    #[error("{file}: tensor {tensor}: the name occurs twice")]
    DuplicateTensor { file: String, tensor: String },
    #[error("{file}: tensor {tensor}: {n_dims} dimensions; 1 to 4 are allowed")]
    Dimensions {
        file: String,
        tensor: String,
        n_dims: u32,
    },
    #[error("{file}: tensor {tensor}: shape {shape:?} has a zero dimension")]
    ZeroDimension {
        file: String,
        tensor: String,
        shape: Vec<u64>,
    },
    #[error("{file}: tensor {tensor}: shape {shape:?} is larger than any memory")]
    Overflow {
        file: String,
        tensor: String,
        shape: Vec<u64>,
    },
    #[error("{file}: tensor {tensor}: type {name} (id {id}) is not supported by this build")]
    UnsupportedType {
        file: String,
        tensor: String,
        id: u32,
        name: &'static str,
    },
    #[error(
        "{file}: tensor {tensor}: rows of {row_len} weights are no whole number of {kind} blocks of {block_len}"
    )]
    PartialBlock {
        file: String,
        tensor: String,
        kind: &'static str,
        row_len: u64,
        block_len: usize,
    },
    #[error(
        "{file}: tensor {tensor}: offset {offset} is not a multiple of the alignment {alignment}"
    )]
    Unaligned {
        file: String,
        tensor: String,
        offset: u64,
        alignment: u64,
    },
    #[error(
        "{file}: tensor {tensor}: needs bytes {begin}..{end}, but the file has {file_len}: it is truncated or lies"
    )]
    OutOfBounds {
        file: String,
        tensor: String,
        begin: u64,
        end: u64,
        file_len: u64,
    },
    #[error("{file}: tensors {first} and {second} overlap")]
    Overlap {
        file: String,
        first: String,
        second: String,
    },

    #[error("{file}: split.count is {found}; at most 512 shards are allowed")]
    ShardCount { file: String, found: u64 },
    #[error(
        "{file}: shard {number} of {count} must be named PREFIX-{number:05}-of-{count:05}.gguf"
    )]
    ShardName {
        file: String,
        number: u16,
        count: u16,
    },
    #[error("{}: this shard of the model is missing", path.display())]
    ShardMissing { path: PathBuf },
    #[error("{file}: this file says it is shard {found}, its name says {expected}")]
    ShardNumber {
        file: String,
        expected: u16,
        found: u64,
    },
    #[error(
        "{file}: this shard belongs to a model of {found} shards, the first shard to one of {expected}"
    )]
    ShardCountDiffers {
        file: String,
        expected: u16,
        found: u64,
    },
    #[error("{file}: split.tensors.count says {expected} tensors, the shards hold {found}")]
    TensorCount {
        file: String,
        expected: u64,
        found: usize,
    },
}
