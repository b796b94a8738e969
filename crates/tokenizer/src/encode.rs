//! Segments to ids.

use std::borrow::Cow;

use crate::split::cuts;
use crate::{TokenId, Tokenizer};

/// A piece of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Ordinary text; never yields a control token.
    Text(String),
    /// One control token.
    Control(TokenId),
}

impl Tokenizer {
    /// Text to ids; never yields a control token.
    pub fn encode_text(&self, text: &str) -> Vec<TokenId> {
        let mut ids = Vec::new();
        self.append_text(text, &mut ids);
        ids
    }

    /// Segments to ids; adjacent text segments are joined before BPE, because a model
    /// never saw a merge missing where a renderer happened to end a string.
    pub fn encode(&self, segments: &[Segment]) -> Vec<TokenId> {
        let mut ids = Vec::new();
        let mut text = Cow::Borrowed("");
        for segment in segments {
            match segment {
                // The first piece is borrowed: most texts are one piece.
                Segment::Text(piece) => text += piece.as_str(),
                Segment::Control(id) => {
                    self.append_text(&text, &mut ids);
                    text = Cow::Borrowed("");
                    ids.push(*id);
                }
            }
        }
        self.append_text(&text, &mut ids);
        ids
    }

    fn append_text(&self, text: &str, ids: &mut Vec<TokenId>) {
        for part in cuts(text) {
            ids.extend(self.bpe.encode_ordinary(part).into_iter().map(TokenId));
        }
    }
}
