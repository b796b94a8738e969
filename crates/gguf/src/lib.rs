//! GGUF files: reading (mapped, checked) and writing, single files and shards.
//!
//! Nothing here knows an architecture. Every number in a file is hostile until
//! checked; `limits.rs` holds every bound. Start at [`Gguf::open`].

mod error;
mod metadata;
mod reader;
mod write;

pub use error::Error;
pub use metadata::{Metadata, Value};
pub use reader::{Gguf, Tensor, TokenId};
pub use write::Writer;
