//! Text to token ids and back, from the vocabulary inside a GGUF.
//!
//! The vocabulary is Kimi's: byte-level BPE whose merge order is the token id, cut into
//! pieces by the vendor's expression before any merging. Merges in the file are not
//! needed and not read, and token types are hints: what matters is where a token stands
//! and how it is spelled. [`Tokenizer::encode`] takes segments, never a marked-up string,
//! so text from a user can not become a control token whatever it spells.
//!
//! Deliberately unknown here: chat formats, sampling, and which control token means what,
//! apart from the three that end a generation.
//!
//! Start at [`Tokenizer`]; [`VocabParts`] says what a vocabulary must contain, and
//! [`Utf8Decoder`] turns a stream of ids into a stream of text.

#![forbid(unsafe_code)]

mod vocab;

mod control;
mod error;
mod parts;
mod spelling;

mod encode;
mod special;
mod split;

mod decode;

pub use control::kimi_control_names;
pub use decode::Utf8Decoder;
pub use encode::Segment;
pub use error::Error;
pub use parts::VocabParts;
pub use perigee_gguf::TokenId;
pub use spelling::spell_bytes;
pub use vocab::Tokenizer;
