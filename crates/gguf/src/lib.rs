//! GGUF files: reading (mapped, checked) and writing, single files and shards.
//!
//! Nothing here knows an architecture or a device. Every number in a file is hostile
//! until checked; `limits.rs` holds every bound, `map.rs` the only unsafe call.
//!
//! Start at [`Gguf::open`], then `header.rs`.

mod cursor;
mod error;
mod header;
mod limits;
mod map;
mod metadata;
mod reader;
mod shards;
mod stream;
mod write;

pub use error::Error;
pub use metadata::{Metadata, Value};
pub use reader::{Gguf, Tensor, TokenId};
pub use stream::Stream;
pub use write::{Declared, Writer};
