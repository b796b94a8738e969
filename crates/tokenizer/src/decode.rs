//! Ids to text.

use crate::{TokenId, Tokenizer};

impl Tokenizer {
    /// Ids to lossy text, control tokens spelled out.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Turns token ids into text piece by piece, holding back incomplete UTF-8. However the
/// ids are spread over calls, the pieces together are [`Tokenizer::decode`] of all ids.
#[derive(Debug, Default)]
pub struct Utf8Decoder {
    /// The start of a character that the next token may complete: at most three bytes
    /// between calls.
    pending: Vec<u8>,
}

impl Utf8Decoder {
    /// Nothing held back.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the text that became complete to `out`; invalid bytes become U+FFFD as soon
    /// as they cannot be completed.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId, out: &mut String) {
        self.push_bytes(tokenizer.bytes(id), out);
    }

    /// Appends U+FFFD for bytes still held back.
    pub fn finish(&mut self, out: &mut String) {
        if !self.pending.is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }

    fn push_bytes(&mut self, bytes: &[u8], out: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut held_back = 0;
        let mut chunks = self.pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            out.push_str(chunk.valid());
            if chunks.peek().is_none() && is_incomplete(chunk.invalid()) {
                held_back = chunk.invalid().len();
            } else if !chunk.invalid().is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.pending.drain(..self.pending.len() - held_back);
    }
}

/// Whether more bytes could make this a character.
fn is_incomplete(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts at every pair of places must give what one call gives.
    fn check(bytes: &[u8]) {
        let whole = String::from_utf8_lossy(bytes);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut decoder = Utf8Decoder::new();
                let mut text = String::new();
                for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    decoder.push_bytes(part, &mut text);
                    assert!(decoder.pending.len() < 4);
                }
                decoder.finish(&mut text);
                assert_eq!(text, whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn every_cut_gives_the_whole_text() {
        check("aé世👩‍💻\u{10ffff}z".as_bytes());
    }

    #[test]
    fn every_cut_of_invalid_bytes_gives_the_same_replacements() {
        check(b"a\xff\xfeb\xe4\xb8c\xf0\x9f\x91\xe4\xb8\x96\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xf0\x9f");
    }

    #[test]
    fn an_impossible_byte_is_replaced_at_once_and_a_possible_one_is_held_back() {
        let mut decoder = Utf8Decoder::new();
        let mut text = String::new();
        decoder.push_bytes(b"x\xe4\xb8", &mut text);
        assert_eq!(text, "x");
        decoder.push_bytes(b"\xff", &mut text);
        assert_eq!(text, "x\u{fffd}\u{fffd}");
        decoder.push_bytes(b"\xe4", &mut text);
        decoder.finish(&mut text);
        assert_eq!(text, "x\u{fffd}\u{fffd}\u{fffd}");
    }
}
