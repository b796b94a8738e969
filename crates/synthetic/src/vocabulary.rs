//! A small vocabulary of Kimi's form.
//!
//! Real Kimi vocabularies hold 163,584 byte strings in rank order (first the 256 bytes,
//! in GPT-2's order) and then 256 control tokens. This one has the same structure at any
//! size: bytes, runs of spaces, byte pairs merged over a page of prose and code, then
//! the control tokens under their own names at the same distance from the first one.

use perigee_gguf::Value;
use std::collections::BTreeSet;

mod merges;

/// Tokens, their types and the merges that build them.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    tokens: Vec<String>,
    merges: Vec<String>,
    n_ordinary: usize,
}

/// The named control tokens, by distance from the first control id. Ids between them are
/// reserved, and the last two of the whole vocabulary are `[UNK]` and `[PAD]`.
const CONTROLS: [(usize, &str); 21] = [
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
];

const EOS: usize = 1;
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

impl Vocabulary {
    /// The bytes, two runs of spaces and 32 control tokens.
    pub const SMALLEST: usize = 290;

    /// A vocabulary of `size` tokens: 32 control tokens (256 from 4,096 tokens on).
    ///
    /// # Panics
    /// When `size` is less than [`Vocabulary::SMALLEST`].
    pub fn kimi(size: usize) -> Self {
        let n_controls = if size < 4096 { 32 } else { 256 };
        assert!(
            size >= Self::SMALLEST,
            "a Kimi-like vocabulary of {size} tokens"
        );
        let n_ordinary = size - n_controls;
        let (mut tokens, merges) = merges::ordinary_tokens(n_ordinary);
        tokens.extend((0..n_controls).map(|i| control_name(i, n_controls, n_ordinary)));
        Self {
            tokens,
            merges,
            n_ordinary,
        }
    }

    /// Token texts in file spelling, in id order.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The id of the first control token.
    pub fn first_control(&self) -> usize {
        self.n_ordinary
    }

    /// The id of a token by its text in file spelling.
    pub fn id(&self, text: &str) -> Option<usize> {
        self.tokens.iter().position(|token| token == text)
    }

    /// The `tokenizer.ggml.*` keys.
    pub fn keys(&self) -> Vec<(String, Value)> {
        let text = |s: &str| Value::Str(s.as_bytes().to_vec());
        let texts = |list: &[String]| Value::strings(list);
        let id = |index: usize| Value::U32(u32::try_from(index).expect("a vocabulary fits u32"));
        let types = (0..self.tokens.len())
            .map(|i| Value::I32(if i < self.n_ordinary { NORMAL } else { CONTROL }));
        let keys = [
            ("model", text("gpt2")),
            ("pre", text("kimi-k2")),
            ("tokens", texts(&self.tokens)),
            ("token_type", Value::array(types)),
            ("merges", texts(&self.merges)),
            ("bos_token_id", id(self.n_ordinary)),
            ("eos_token_id", id(self.n_ordinary + EOS)),
            ("padding_token_id", id(self.tokens.len() - 1)),
            ("unknown_token_id", id(self.tokens.len() - 2)),
            ("add_bos_token", Value::Bool(false)),
        ];
        keys.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
            .into()
    }
}

fn control_name(index: usize, n_controls: usize, first: usize) -> String {
    let named = CONTROLS.iter().find(|(i, _)| *i == index);
    match (named, n_controls - index) {
        (_, 1) => "[PAD]".to_owned(),
        (_, 2) => "[UNK]".to_owned(),
        (Some((_, name)), _) => (*name).to_owned(),
        (None, _) => format!("<|reserved_token_{}|>", first + index),
    }
}

/// The 256 bytes in the order of GPT-2's table: printable ones first.
pub(crate) fn bytes_in_rank_order() -> Vec<u8> {
    let printable = || (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff);
    let shown: BTreeSet<u8> = printable().collect();
    let hidden = (0..=255).filter(|byte| !shown.contains(byte));
    printable().chain(hidden).collect()
}

#[cfg(test)]
mod tests;
