//! The caller's side of a generation: stop strings over pieces of text.

/// Finds the first stop string in a text that arrives in pieces.
///
/// Holds back the longest end of the text that could be the beginning of a stop string.
#[derive(Debug, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// A matcher for `strings`; empty ones are ignored.
    pub fn new(mut strings: Vec<String>) -> Self {
        strings.retain(|string| !string.is_empty());
        Self {
            strings,
            held: String::new(),
        }
    }

    /// Takes a piece and appends to `out` what certainly precedes any stop string. Returns
    /// `true` when one was found: `out` then ends where it begins, and no more may be pushed.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.strings.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        let first = self
            .strings
            .iter()
            .filter_map(|string| self.held.find(string.as_str()))
            .min();
        if let Some(start) = first {
            out.push_str(&self.held[..start]);
            self.held.clear();
            return true;
        }
        let keep = self
            .strings
            .iter()
            .map(|string| overlap(&self.held, string))
            .max()
            .unwrap_or(0);
        let cut = self.held.len() - keep;
        out.push_str(&self.held[..cut]);
        self.held.drain(..cut);
        false
    }

    /// Appends what was held back: no stop string came of it.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }
}

/// Length of the longest end of `text` that is a proper beginning of `string`.
fn overlap(text: &str, string: &str) -> usize {
    let longest = text.len().min(string.len() - 1);
    let bytes = (text.as_bytes(), string.as_bytes());
    (1..=longest)
        .rev()
        .find(|&n| string.is_char_boundary(n) && bytes.0[text.len() - n..] == bytes.1[..n])
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(strings: &[&str], pieces: &[&str], expected: &str, found: bool) {
        let mut stop = StopStrings::new(strings.iter().map(|&string| string.to_owned()).collect());
        let mut out = String::new();
        let hit = pieces.iter().any(|piece| stop.push(piece, &mut out));
        if !hit {
            stop.finish(&mut out);
        }
        assert_eq!(
            (out.as_str(), hit),
            (expected, found),
            "{strings:?} in {pieces:?}"
        );
    }

    #[test]
    fn a_stop_string_is_found_wherever_the_text_is_cut() {
        for cut in 0.."one STOP two".len() {
            let (a, b) = "one STOP two".split_at(cut);
            check(&["STOP"], &[a, b], "one ", true);
        }
    }

    #[test]
    fn the_earliest_of_several_wins_and_false_starts_are_released() {
        check(
            &["zz", "three"],
            &["one two thr", "ee zz"],
            "one two ",
            true,
        );
        check(&["###"], &["a # b ##", " c ##"], "a # b ## c ##", false);
        check(&["é!"], &["caf", "é", "?"], "café?", false);
        check(&[], &["any", "thing"], "anything", false);
        check(&[""], &["any"], "any", false);
    }

    #[test]
    fn text_that_cannot_begin_a_stop_string_is_not_held_back() {
        let mut stop = StopStrings::new(vec!["STOP".to_owned()]);
        let mut out = String::new();
        stop.push("hello ST", &mut out);
        assert_eq!(out, "hello ");
    }
}
