//! Text to token ids and back, from the vocabulary inside a GGUF.
//!
//! `encode` takes segments, never a marked-up string: user text can not become a
//! control token. Knows no chat format and no sampling.

#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
mod split;
mod vocab;

pub use decode::Utf8Decoder;
pub use error::Error;
pub use perigee_gguf::TokenId;
pub use vocab::Tokenizer;

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Ordinary text; never yields a control token.
    Text(String),
    /// One control token.
    Control(TokenId),
}
