//! The vocabulary.
use crate::{Error, Segment, TokenId};
use perigee_gguf::Metadata;

/// A vocabulary with its encoder. Cheap to share behind an `Arc`.
pub struct Tokenizer {}
impl Tokenizer {
    /// Reads `tokenizer.ggml.*`.
    pub fn from_metadata(_metadata: &Metadata) -> Result<Self, Error> { todo!() }
    /// Number of ids.
    pub fn vocab_size(&self) -> usize { todo!() }
    /// Text to ids; never yields a control token.
    pub fn encode_text(&self, _text: &str) -> Vec<TokenId> { todo!() }
    /// Segments to ids; adjacent text segments are joined before BPE.
    pub fn encode(&self, _segments: &[Segment]) -> Vec<TokenId> { todo!() }
    /// Splits text at spelled control tokens (for raw prompts with `parse_special`).
    pub fn parse_special(&self, _text: &str) -> Vec<Segment> { todo!() }
    /// The bytes of an ordinary token; the spelled name of a control token. Empty for an id out of range.
    pub fn bytes(&self, _id: TokenId) -> &[u8] { todo!() }
    /// Whether the id is a control token (never produced by text).
    pub fn is_control(&self, _id: TokenId) -> bool { todo!() }
    /// The control token with this exact spelling: `<|im_end|>`.
    pub fn control(&self, _name: &str) -> Option<TokenId> { todo!() }
    /// Ids that end a generation: `<|im_end|>`, `[EOS]`, `[EOT]` where present, and those of the metadata.
    pub fn end_of_generation(&self) -> &[TokenId] { todo!() }
    /// Ids to lossy text, control tokens spelled out.
    pub fn decode(&self, _ids: &[TokenId]) -> String { todo!() }
    /// The file's `tokenizer.chat_template`.
    pub fn chat_template(&self) -> Option<&str> { todo!() }
    /// Whether the vocabulary has Kimi's control tokens (so that the built-in chat format applies).
    pub fn is_kimi(&self) -> bool { todo!() }
}
