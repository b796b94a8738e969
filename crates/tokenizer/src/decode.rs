//! Ids to text.
use crate::{TokenId, Tokenizer};
/// Turns token ids into text piece by piece, holding back incomplete UTF-8.
#[derive(Debug, Default)]
pub struct Utf8Decoder {}
impl Utf8Decoder {
    /// Nothing held back.
    pub fn new() -> Self { todo!() }
    /// Appends the text that became complete to `out`; invalid bytes become U+FFFD as soon as they cannot be completed.
    pub fn push(&mut self, _tokenizer: &Tokenizer, _id: TokenId, _out: &mut String) { todo!() }
    /// Appends U+FFFD for bytes still held back.
    pub fn finish(&mut self, _out: &mut String) { todo!() }
}
