//! Control tokens spelled out in raw text.

use rustc_hash::FxHashMap;

use crate::{Segment, TokenId, Tokenizer};

/// Control names and their ids.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: FxHashMap<String, TokenId>,
    /// Lengths of names in bytes, longest first, each once.
    lengths: Vec<usize>,
    /// First bytes of names, each once: `<` and `[` in Kimi's vocabulary.
    first_bytes: Vec<u8>,
}

impl Names {
    /// Adds a name unless it is already there. Empty names and names that are not UTF-8
    /// can be spelled in no text and are left out.
    pub(crate) fn add(&mut self, name: &[u8], id: TokenId) {
        let (Ok(name), [first, ..]) = (std::str::from_utf8(name), name) else {
            return;
        };
        self.ids.entry(name.to_owned()).or_insert(id);
        if let Err(at) = self
            .lengths
            .binary_search_by(|length| name.len().cmp(length))
        {
            self.lengths.insert(at, name.len());
        }
        if !self.first_bytes.contains(first) {
            self.first_bytes.push(*first);
        }
    }

    /// The id with exactly this name.
    pub(crate) fn get(&self, name: &str) -> Option<TokenId> {
        self.ids.get(name).copied()
    }

    /// The longest name that `text` starts with: its length and id.
    fn longest_prefix(&self, text: &str) -> Option<(usize, TokenId)> {
        self.lengths.iter().find_map(|&length| {
            let id = self.get(text.get(..length)?)?;
            Some((length, id))
        })
    }
}

impl Tokenizer {
    /// Splits text at spelled control tokens (for raw prompts with `parse_special`). At
    /// each place the longest name wins. Never to be used on text from a conversation.
    pub fn parse_special(&self, text: &str) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut text_start = 0;
        let mut at = 0;
        let could_start = |byte: &u8| self.names.first_bytes.contains(byte);
        while let Some(skipped) = text.as_bytes()[at..].iter().position(could_start) {
            let name_start = at + skipped;
            // A byte inside a character starts no name, names being UTF-8 themselves.
            let found = text
                .get(name_start..)
                .and_then(|rest| self.names.longest_prefix(rest));
            let Some((length, id)) = found else {
                at = name_start + 1;
                continue;
            };
            if text_start < name_start {
                segments.push(Segment::Text(text[text_start..name_start].to_owned()));
            }
            segments.push(Segment::Control(id));
            at = name_start + length;
            text_start = at;
        }
        if text_start < text.len() {
            segments.push(Segment::Text(text[text_start..].to_owned()));
        }
        segments
    }
}
