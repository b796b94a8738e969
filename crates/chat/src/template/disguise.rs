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
    /// In their order as bytes, to be searched.
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
        spellings.sort();
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
            let found = self.longest(&text.as_bytes()[at..])?;
            Some((at, found))
        })
    }

    /// Which spelling stands at the start of `text`; of several the longest is meant.
    fn longest(&self, text: &[u8]) -> Option<usize> {
        let mut found = None;
        // The spellings that begin as the text does, up to `depth`.
        let (mut first, mut end) = (0, self.spellings.len());
        for (depth, byte) in text.iter().enumerate() {
            let alike = &self.spellings[first..end];
            let at = |(spelling, _): &(String, TokenId)| spelling.as_bytes().get(depth).copied();
            let before = alike.partition_point(|spelling| at(spelling) < Some(*byte));
            let until = alike.partition_point(|spelling| at(spelling) <= Some(*byte));
            end = first + until;
            first += before;
            match self.spellings[first..end].first() {
                None => break,
                Some((spelling, _)) if spelling.len() == depth + 1 => found = Some(first),
                Some(_) => {}
            }
        }
        found
    }
}
