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
mod in_memory;
mod layout;
mod limits;
mod map;
mod metadata;
mod reader;
mod shards;
#[cfg(unix)]
mod sigbus;
mod stream;
mod value;
mod write;

pub use array::Array;
pub use error::Error;
pub use in_memory::InMemory;
pub use layout::{Declared, Layout, Place};
pub use metadata::Metadata;
pub use reader::{Gguf, Tensor, TokenId};
pub use stream::Stream;
pub use value::Value;
pub use write::Writer;
