//! Argument text as it arrives to JSON as it should be.
//!
//! A transducer: it reads sloppy JSON (raw line breaks in strings, single quotes, trailing
//! commas, Python's words, unquoted words) and writes strict JSON, holding back only what
//! the next character can change. It stops at the balanced end and drops what follows.

/// Deeper nesting is dropped: no tool means it, and a stack of it is the only unbounded state.
const MAX_DEPTH: usize = 512;

/// The arguments of one call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// Open brackets, innermost last.
    open: Vec<u8>,
    state: State,
    /// A comma and the white space after it: written when an element follows, without the comma
    /// when a bracket closes.
    comma: String,
    /// Whether a colon waits for its value.
    colon: bool,
    /// A word outside strings that is not complete yet.
    word: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the opening bracket.
    #[default]
    Start,
    /// Between tokens.
    Between,
    /// In a string that ends with this quote.
    String(char),
    /// After a backslash in such a string.
    Escape(char),
    /// After the balanced end.
    Done,
}

impl Arguments {
    /// Whether the object is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads text that begins with `{` (the caller has looked) or continues it; appends JSON.
    pub(super) fn push(&mut self, text: &str, out: &mut String) {
        for c in text.chars() {
            match self.state {
                State::Done => return,
                State::String(quote) => self.in_string(c, quote, out),
                State::Escape(quote) => self.in_escape(c, quote, out),
                State::Start | State::Between => self.between(c, out),
            }
        }
    }

    /// Completes what the model left open when it closed the call itself.
    pub(super) fn close(&mut self, out: &mut String) {
        if let State::Escape(_) = self.state {
            // A lone backslash at the end becomes itself.
            out.push_str("\\\\");
        }
        if matches!(self.state, State::String(_) | State::Escape(_)) {
            out.push('"');
            self.state = State::Between;
        }
        self.end_word(out);
        self.comma.clear();
        // A key without its value would leave the object invalid.
        if std::mem::take(&mut self.colon) {
            out.push_str("null");
        }
        while let Some(bracket) = self.open.pop() {
            out.push(char::from(bracket));
        }
        self.state = State::Done;
    }

    fn between(&mut self, c: char, out: &mut String) {
        if c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '$') {
            self.word.push(c);
            return;
        }
        self.end_word(out);
        match c {
            '{' | '[' => {
                self.begin_element(out);
                if self.open.len() < MAX_DEPTH {
                    self.open.push(if c == '{' { b'}' } else { b']' });
                    out.push(c);
                }
                self.state = State::Between;
            }
            '}' | ']' => {
                out.extend(std::mem::take(&mut self.comma).chars().skip(1));
                if std::mem::take(&mut self.colon) {
                    out.push_str("null");
                }
                self.close_bracket(c as u8, out);
            }
            '"' | '\'' => {
                self.begin_element(out);
                out.push('"');
                self.state = State::String(c);
            }
            ',' if self.comma.is_empty() => self.comma.push(','),
            c if c.is_whitespace() => {
                let space = if c.is_ascii() { c } else { ' ' };
                if self.comma.is_empty() {
                    out.push(space)
                } else {
                    self.comma.push(space)
                }
            }
            ':' if !self.colon => {
                self.colon = true;
                out.push(':');
            }
            // Nothing else stands between JSON's tokens.
            _ => {}
        }
    }

    /// Closes brackets up to the one that `bracket` closes, if there is one.
    fn close_bracket(&mut self, bracket: u8, out: &mut String) {
        if !self.open.contains(&bracket) {
            return;
        }
        while let Some(open) = self.open.pop() {
            out.push(char::from(open));
            if open == bracket {
                break;
            }
        }
        if self.open.is_empty() {
            self.state = State::Done;
        }
    }

    fn in_string(&mut self, c: char, quote: char, out: &mut String) {
        match c {
            c if c == quote => {
                out.push('"');
                self.state = State::Between;
            }
            '\\' => self.state = State::Escape(quote),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }

    fn in_escape(&mut self, c: char, quote: char, out: &mut String) {
        match c {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u' => {
                out.push('\\');
                out.push(c);
            }
            '\'' => out.push('\''),
            // An escape that JSON does not know: the backslash was meant.
            c => {
                out.push_str("\\\\");
                self.state = State::String(quote);
                self.in_string(c, quote, out);
                return;
            }
        }
        self.state = State::String(quote);
    }

    /// Something follows the comma and the colon that may be waiting.
    fn begin_element(&mut self, out: &mut String) {
        out.push_str(&self.comma);
        self.comma.clear();
        self.colon = false;
    }

    fn end_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        self.begin_element(out);
        match word.as_str() {
            "true" | "false" | "null" => out.push_str(&word),
            "True" => out.push_str("true"),
            "False" => out.push_str("false"),
            "None" => out.push_str("null"),
            number if serde_json::from_str::<serde_json::Number>(number).is_ok() => {
                out.push_str(number)
            }
            // A word without quotes: a key or a value that lost them.
            word => {
                out.push('"');
                out.push_str(word);
                out.push('"');
            }
        }
    }
}
