//! GGUF files: reading (mapped, checked) and writing, single files and shards.
//!
//! Nothing here knows an architecture or a device. Every number in a file is hostile
//! until checked; `limits.rs` holds every bound, unsafe calls are in `map.rs`,
//! which maps files, and `sigbus.rs`, which answers for mapped files that are cut short.
//!
//! Start at [`Gguf::open`], then `header.rs`.

mod array;
mod cursor;
mod error;
mod header;
mod limits;
mod map;
mod metadata;
mod reader;
mod shards;
#[cfg(unix)]
mod sigbus;
mod value;
mod write;

pub use array::Array;
pub use error::Error;
pub use metadata::Metadata;
pub use reader::{Gguf, Tensor, TokenId};
pub use write::{Layout, Place, TensorRecord, Writer};
pub use value::Value;
