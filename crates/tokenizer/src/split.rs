//! How Kimi's tokenizer cuts text before merging.

/// The vendor's expression (`tokenization_kimi.py`), alternatives in its order: Han runs,
/// words twice (ending in lower or in upper case letters, either with an English
/// contraction), up to three digits, punctuation with trailing line ends, and white
/// space, which leaves its last character to a following word.
pub(crate) const PATTERN: &str = concat!(
    r"[\p{Han}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+",
    r"|\s+(?!\S)",
    r"|\s+",
);

/// Characters that the vendor encodes at once.
const MAX_CHARS: usize = 400_000;

/// Longest run of white space, or of anything else, that the vendor encodes at once.
const MAX_RUN: usize = 25_000;

/// The parts of a text that are encoded on their own: at most 400,000 characters, no run
/// of white space or of other characters longer than 25,000. Together they are the text.
///
/// The cuts belong to the definition of the ids, and they bound the backtracking of the
/// one look-ahead in [`PATTERN`]: uncut, a million spaces before a letter exceed the
/// expression engine's limit.
pub(crate) fn cuts(text: &str) -> Cuts<'_> {
    Cuts {
        rest: text,
        left_of_chars: MAX_CHARS,
    }
}

/// Iterator over the parts of a text.
pub(crate) struct Cuts<'a> {
    rest: &'a str,
    /// Characters until the next cut that is due whatever they are.
    left_of_chars: usize,
}

impl<'a> Iterator for Cuts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (part, rest) = self.rest.split_at(self.part_len());
        self.rest = rest;
        (!part.is_empty()).then_some(part)
    }
}

impl Cuts<'_> {
    /// Bytes until the next cut. Every cut starts the count of a run anew; only a cut at
    /// 400,000 characters starts that count anew.
    fn part_len(&mut self) -> usize {
        let mut run = 0;
        let mut in_space = false;
        for (at, character) in self.rest.char_indices() {
            let space = is_python_space(character);
            run = if space == in_space { run + 1 } else { 1 };
            in_space = space;
            if self.left_of_chars == 0 {
                self.left_of_chars = MAX_CHARS;
                return at;
            }
            if run > MAX_RUN {
                return at;
            }
            self.left_of_chars -= 1;
        }
        self.rest.len()
    }
}

/// Python's `str.isspace`, by which the vendor measures runs: Unicode white space and the
/// four ASCII separators, which for [`PATTERN`] are punctuation.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<usize> {
        let parts: Vec<&str> = cuts(text).collect();
        assert_eq!(parts.concat(), text);
        parts.iter().map(|part| part.chars().count()).collect()
    }

    #[test]
    fn ordinary_text_is_one_part_and_no_text_is_none() {
        assert_eq!(lengths("a few words"), [11]);
        assert_eq!(lengths(""), [0; 0]);
    }

    #[test]
    fn runs_are_cut_after_25_000_characters_of_one_class() {
        assert_eq!(lengths(&"a".repeat(25_000)), [25_000]);
        assert_eq!(lengths(&"é".repeat(50_001)), [25_000, 25_000, 1]);
        assert_eq!(lengths(&format!("a b{}", " ".repeat(25_001))), [25_003, 1]);
        assert_eq!(lengths(&"ab ".repeat(20_000)), [60_000]);
    }

    #[test]
    fn the_ascii_separators_count_as_space_in_runs() {
        let mixed = "\u{1c} \u{1f}\n".repeat(10_000);
        assert_eq!(lengths(&mixed), [25_000, 15_000]);
        assert_eq!(lengths(&"\u{1b} ".repeat(20_000)), [40_000]);
    }

    #[test]
    fn everything_is_cut_after_400_000_characters_counted_from_the_start() {
        assert_eq!(lengths(&"世 ".repeat(400_001)), [400_000, 400_000, 2]);
        // A cut of a run does not move the other cut.
        let text = format!("{}{}", "a".repeat(30_000), " b".repeat(200_000));
        assert_eq!(lengths(&text), [25_000, 375_000, 30_000]);
        // A run goes on after a cut at 400,000, counted anew.
        let text = format!("{}{}", " b".repeat(195_000), "b".repeat(40_000));
        assert_eq!(lengths(&text), [400_000, 25_000, 5_000]);
    }
}
