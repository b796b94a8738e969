//! GPT-2's spelling of bytes as printable characters.
//!
//! Vocabulary files are text, tokens are bytes. GPT-2's encoder gives each byte a
//! character: printable Latin-1 bytes stand for themselves, the other 68 take U+0100
//! and up in increasing order, so a space is `Ġ` and a newline `Ċ`.

/// First character of the bytes that are not printable.
const FIRST_SUBSTITUTE: u32 = 0x100;

const fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff)
}

/// The bytes written as U+0100, U+0101, … in that order.
const SUBSTITUTED: [u8; 68] = {
    let mut bytes = [0; 68];
    let mut n = 0;
    let mut byte = 0;
    while byte < 256 {
        if !is_printable(byte as u8) {
            bytes[n] = byte as u8;
            n += 1;
        }
        byte += 1;
    }
    bytes
};

/// Bytes to the text that stands for them in `tokenizer.ggml.tokens`.
pub fn spell_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| spell_byte(byte)).collect()
}

fn spell_byte(byte: u8) -> char {
    if is_printable(byte) {
        return char::from(byte);
    }
    let index = SUBSTITUTED.partition_point(|&other| other < byte);
    char::from_u32(FIRST_SUBSTITUTE + index as u32).expect("U+0100 to U+0143 are characters")
}

/// The bytes that a token's text stands for; `None` when a character stands for none.
pub(crate) fn unspell(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    text.chars().map(unspell_char).collect()
}

fn unspell_char(character: char) -> Option<u8> {
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => is_printable(byte).then_some(byte),
        Err(_) => SUBSTITUTED.get((code - FIRST_SUBSTITUTE) as usize).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_256_bytes_have_256_spellings_that_read_back() {
        let spelled: std::collections::BTreeSet<char> = (0..=255).map(spell_byte).collect();
        assert_eq!(spelled.len(), 256);
        for byte in 0..=255u8 {
            assert_eq!(unspell(spell_bytes(&[byte]).as_bytes()), Some(vec![byte]));
        }
    }

    #[test]
    fn space_and_newline_have_their_well_known_letters() {
        assert_eq!(spell_bytes(b" a\n"), "ĠaĊ");
        assert_eq!(spell_bytes(&[0x00, 0x7f, 0xad]), "\u{100}\u{121}\u{143}");
    }

    #[test]
    fn characters_that_stand_for_no_byte_are_refused() {
        for text in ["a b", "\n", "\u{144}", "世", "\u{7f}"] {
            assert_eq!(unspell(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(unspell(&[0xff]), None);
    }
}
