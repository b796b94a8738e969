//! Which tokens are control tokens.
//!
//! Converters disagree about types: `<think>` and the tool tokens arrive as control, as
//! user-defined or as normal tokens. The spelling is what all files share, so a token is
//! recognised by it wherever it follows the last ordinary token.

use crate::VocabParts;

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A byte string that text encodes to.
    Ordinary,
    /// A name that no text encodes to.
    Control,
    /// A row of the embedding table without a meaning.
    Unused,
}

// `tokenizer.ggml.token_type`, from the GGUF specification.
const NORMAL: u32 = 1;
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;
const UNUSED: u32 = 5;

/// Control ids of a Kimi vocabulary; the last of the 163,840 rows is `[PAD]`.
const N_CONTROLS: usize = 256;

/// Names of Kimi-K2.5 and K2.6 by distance from the first control id. K2 has the same
/// ones but for the media and think tokens, which are reserved there.
const NAMED: [(usize, &str); 23] = [
    (0, "[BOS]"),
    (1, "[EOS]"),
    (2, "<|im_end|>"),
    (3, "<|im_user|>"),
    (4, "<|im_assistant|>"),
    (6, "<|start_header_id|>"),
    (7, "<|end_header_id|>"),
    (9, "[EOT]"),
    (10, "<|im_system|>"),
    (11, "<|tool_calls_section_begin|>"),
    (12, "<|tool_calls_section_end|>"),
    (13, "<|tool_call_begin|>"),
    (14, "<|tool_call_argument_begin|>"),
    (15, "<|tool_call_end|>"),
    (17, "<|im_middle|>"),
    (18, "<|media_begin|>"),
    (19, "<|media_content|>"),
    (20, "<|media_end|>"),
    (21, "<|media_pad|>"),
    (22, "<think>"),
    (23, "</think>"),
    (254, "[UNK]"),
    (255, "[PAD]"),
];

/// Tokens that the built-in chat format writes or reads.
pub(crate) const CHAT_FORMAT: [&str; 12] = [
    "<|im_system|>",
    "<|im_user|>",
    "<|im_assistant|>",
    "<|im_middle|>",
    "<|im_end|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<think>",
    "</think>",
];

/// Tokens after which a reply is over, whatever the metadata says.
pub(crate) const ENDS_OF_GENERATION: [&str; 3] = ["<|im_end|>", "[EOS]", "[EOT]"];

/// The names of the 256 control ids of Kimi-K2.5 and K2.6, in order, when the first of
/// them is `first_id` (163,584 in the real vocabulary): ids without a name of their own
/// are spelled `<|reserved_token_ID|>`.
pub fn kimi_control_names(first_id: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..N_CONTROLS)
        .map(|i| format!("<|reserved_token_{}|>", first_id + i))
        .collect();
    for (i, name) in NAMED {
        name.clone_into(&mut names[i]);
    }
    names
}

/// One kind per token.
pub(crate) fn classify(parts: &VocabParts) -> Vec<Kind> {
    let type_of = |id: usize| parts.types.get(id).copied().unwrap_or(NORMAL);
    let is_plain = |id: usize| type_of(id) == NORMAL && spelled_kind(&parts.tokens[id]).is_none();
    let n_tokens = parts.tokens.len();
    let end_of_ordinary = (0..n_tokens)
        .rfind(|&id| is_plain(id))
        .map_or(0, |id| id + 1);
    (0..n_tokens)
        .map(|id| {
            let spelled = (id >= end_of_ordinary)
                .then(|| spelled_kind(&parts.tokens[id]))
                .flatten();
            spelled.unwrap_or(match type_of(id) {
                UNKNOWN | CONTROL | USER_DEFINED => Kind::Control,
                UNUSED => Kind::Unused,
                _ => Kind::Ordinary,
            })
        })
        .collect()
}

/// What the spelling alone says: a control token of Kimi's, a converter's filler, or nothing.
fn spelled_kind(text: &[u8]) -> Option<Kind> {
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let between = |prefix: &[u8], suffix: &[u8]| {
        text.strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(suffix))
            .is_some_and(is_number)
    };
    if between(b"[PAD", b"]") {
        return Some(Kind::Unused);
    }
    let named = NAMED.iter().any(|(_, name)| name.as_bytes() == text);
    (named || between(b"<|reserved_token_", b"|>")).then_some(Kind::Control)
}
