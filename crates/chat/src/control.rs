//! The control tokens of the chat format, looked up by spelling.
use perigee_tokenizer::{TokenId, Tokenizer};

/// Ids of Kimi's control tokens in one vocabulary. The first K2 has no think tokens, and
/// only K2.5 and later have media tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the tokens' spellings")]
pub struct KimiTokens {
    pub im_end: TokenId,
    pub im_user: TokenId,
    pub im_assistant: TokenId,
    pub im_system: TokenId,
    pub im_middle: TokenId,
    pub section_begin: TokenId,
    pub section_end: TokenId,
    pub call_begin: TokenId,
    pub argument_begin: TokenId,
    pub call_end: TokenId,
    pub think: Option<TokenId>,
    pub end_think: Option<TokenId>,
    pub media_begin: Option<TokenId>,
    pub media_content: Option<TokenId>,
    pub media_end: Option<TokenId>,
    pub media_pad: Option<TokenId>,
    pub eos: Option<TokenId>,
    pub eot: Option<TokenId>,
}

impl KimiTokens {
    /// Looks all of them up; the error is the spelling of the first one missing.
    pub fn from_tokenizer(tokenizer: &Tokenizer) -> Result<Self, &'static str> {
        let need = |name: &'static str| tokenizer.control(name).ok_or(name);
        Ok(Self {
            im_end: need("<|im_end|>")?,
            im_user: need("<|im_user|>")?,
            im_assistant: need("<|im_assistant|>")?,
            im_system: need("<|im_system|>")?,
            im_middle: need("<|im_middle|>")?,
            section_begin: need("<|tool_calls_section_begin|>")?,
            section_end: need("<|tool_calls_section_end|>")?,
            call_begin: need("<|tool_call_begin|>")?,
            argument_begin: need("<|tool_call_argument_begin|>")?,
            call_end: need("<|tool_call_end|>")?,
            think: tokenizer.control("<think>"),
            end_think: tokenizer.control("</think>"),
            media_begin: tokenizer.control("<|media_begin|>"),
            media_content: tokenizer.control("<|media_content|>"),
            media_end: tokenizer.control("<|media_end|>"),
            media_pad: tokenizer.control("<|media_pad|>"),
            eos: tokenizer.control("[EOS]"),
            eot: tokenizer.control("[EOT]"),
        })
    }
}
