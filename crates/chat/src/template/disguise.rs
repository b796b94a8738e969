//! Client text that spells control tokens, made harmless on its way through a template.

use perigee_tokenizer::{Segment, TokenId, Tokenizer};
use serde_json::Value;

/// The first of the private-use characters that stand for spellings. One character each, so that
/// trimming and length tests of a template see what they would see.
const FIRST: u32 = 0x10_0001;

/// Stands before a private-use character that the client itself wrote.
const LITERAL: char = '\u{100000}';

/// The control tokens of a vocabulary and the characters that stand for their spellings.
#[derive(Debug)]
pub(super) struct Disguise {
    /// Longest first: of two spellings that begin alike the longer one is meant.
    spellings: Vec<(String, TokenId)>,
}

impl Disguise {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let ids = (0..tokenizer.vocab_size() as u32)
            .map(TokenId)
            .filter(|&id| tokenizer.is_control(id));
        let named =
            ids.filter_map(|id| Some((String::from_utf8(tokenizer.bytes(id).to_vec()).ok()?, id)));
        let mut spellings: Vec<(String, TokenId)> =
            named.filter(|(spelling, _)| !spelling.is_empty()).collect();
        spellings.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.1.cmp(&b.1)));
        Self { spellings }
    }

    /// Replaces spellings in every string, keys included.
    pub(super) fn hide(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide_text(text)),
            Value::Array(items) => items.into_iter().map(|item| self.hide(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(key, member)| (self.hide_text(key), self.hide(member)))
                .collect(),
            other => other,
        }
    }

    fn hide_text(&self, text: String) -> String {
        let is_ours = |c: char| c >= LITERAL && u32::from(c) < FIRST + self.spellings.len() as u32;
        if !text.contains(|c| matches!(c, '<' | '[') || is_ours(c)) {
            return text;
        }
        let mut hidden = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let plain = |text: &str, hidden: &mut String| {
            for c in text.chars() {
                if is_ours(c) {
                    hidden.push(LITERAL);
                }
                hidden.push(c);
            }
        };
        while let Some((before, i)) = self.next_spelling(rest) {
            plain(&rest[..before], &mut hidden);
            hidden.extend(char::from_u32(FIRST + i as u32));
            rest = &rest[before + self.spellings[i].0.len()..];
        }
        plain(rest, &mut hidden);
        hidden
    }

    /// Splits rendered text at the spellings that the template wrote, and gives back what clients wrote.
    pub(super) fn reveal(&self, text: &str) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((before, i)) = self.next_spelling(rest) {
            self.push_text(&rest[..before], &mut segments);
            segments.push(Segment::Control(self.spellings[i].1));
            rest = &rest[before + self.spellings[i].0.len()..];
        }
        self.push_text(rest, &mut segments);
        segments
    }

    fn push_text(&self, text: &str, segments: &mut Vec<Segment>) {
        if text.is_empty() {
            return;
        }
        let mut plain = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == LITERAL {
                plain.extend(chars.next());
                continue;
            }
            let hidden = u32::from(c)
                .checked_sub(FIRST)
                .and_then(|i| self.spellings.get(i as usize));
            match hidden {
                Some((spelling, _)) => plain.push_str(spelling),
                None => plain.push(c),
            }
        }
        segments.push(Segment::Text(plain));
    }

    /// Where the first spelling begins, and which it is.
    fn next_spelling(&self, text: &str) -> Option<(usize, usize)> {
        // All spellings in use begin with one of these.
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| matches!(byte, b'<' | b'['));
        starts.map(|(at, _)| at).find_map(|at| {
            let found = self
                .spellings
                .iter()
                .position(|(spelling, _)| text[at..].starts_with(spelling.as_str()))?;
            Some((at, found))
        })
    }
}
