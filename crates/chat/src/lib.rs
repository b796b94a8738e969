//! Kimi's conversation format: a conversation to prompt segments, model output to deltas.
//!
//! Knows neither HTTP nor OpenAI's JSON. Structure is decided by token ids, never by
//! text: see [`render`] for the way in and [`OutputParser`] for the way out.

#![forbid(unsafe_code)]

mod control;
mod conversation;
mod parser;

pub use control::KimiTokens;
pub use conversation::{Arguments, Conversation, Message, Part, Role, Tool, ToolCall};
pub use parser::{Delta, Ending, OutputParser, ParserOptions, Piece, Reply, ReplyCall, Start};
