//! Kimi's conversation format: a conversation to prompt segments, model output to deltas.
//!
//! Knows neither HTTP nor OpenAI's JSON. Structure is decided by token ids, never by text:
//! user text can not become a control token on the way in, and the parser reads ids on the
//! way out.
//!
//! Start at [`ChatFormat`] (the way in) and [`OutputParser`] (the way out).

#![forbid(unsafe_code)]

mod control;
mod conversation;
mod format;
mod ids;
mod parser;
mod prompt;
mod python_json;
mod template;
mod thinking;
mod tool_types;

pub use control::KimiTokens;
pub use conversation::{Arguments, Conversation, Message, Part, Role, Tool, ToolCall};
pub use format::{ChatFormat, RenderError, TemplateChoice, TemplateError};
pub use parser::{Delta, Ending, OutputParser, ParserOptions, Piece, Reply, ReplyCall, Start};
pub use prompt::{RenderOptions, Rendered, ToolsFormat};
pub use thinking::ThinkingSwitch;
