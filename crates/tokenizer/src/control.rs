//! Which tokens are control tokens.
//!
//! Converters disagree about types: `<think>` and the tool tokens arrive as control, as
//! user-defined or as normal tokens. The spelling is what all files share. It is safe to
//! go by: Kimi's expression cuts every one of these names into pieces, so no merge can
//! have made an ordinary token of it.

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

// `tokenizer.ggml.token_type`, from the GGUF specification; 1 is normal, 6 a byte.
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

/// Tokens that the built-in chat format cannot do without. The first K2 has no think tokens.
pub(crate) const CHAT_FORMAT: [&str; 10] = [
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
    let by_type = |id: usize| match parts.types.get(id) {
        Some(&(UNKNOWN | CONTROL | USER_DEFINED)) => Kind::Control,
        Some(&UNUSED) => Kind::Unused,
        _ => Kind::Ordinary,
    };
    let kind = |(id, text): (usize, &Vec<u8>)| spelled_kind(text).unwrap_or_else(|| by_type(id));
    parts.tokens.iter().enumerate().map(kind).collect()
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

#[cfg(test)]
mod tests {
    use tiktoken_rs::CoreBPE;

    use super::*;
    use crate::split::PATTERN;

    #[test]
    fn the_expression_cuts_every_control_name_so_no_merge_can_produce_one() {
        let names = kimi_control_names(163_584);
        let bytes = (0..=255).map(|byte| vec![byte]);
        let ranks = bytes
            .chain(names.iter().map(|name| name.clone().into_bytes()))
            .zip(0..);
        let bpe = CoreBPE::new(ranks.collect(), Default::default(), PATTERN).unwrap();
        for name in &names {
            let encoded = bpe.encode_ordinary(name);
            assert_eq!(encoded.len(), name.len(), "{name} is one piece");
            assert_eq!(spelled_kind(name.as_bytes()), Some(Kind::Control));
        }
    }

    #[test]
    fn near_misses_are_not_control_names() {
        for text in [
            "<|im_end|",
            "<|im_end|>>",
            "<|reserved_token_|>",
            "<|reserved_token_1a|>",
            "[PAD1",
            "[pad]",
            "",
        ] {
            assert_eq!(spelled_kind(text.as_bytes()), None, "{text}");
        }
        assert_eq!(spelled_kind(b"[PAD163700]"), Some(Kind::Unused));
    }
}
