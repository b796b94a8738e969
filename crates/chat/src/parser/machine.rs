//! The states of a turn. Structure is decided by control ids; spelled markers count where
//! ordinary text cannot mean anything else.

use perigee_tokenizer::TokenId;

use super::header::{self, Header};
use super::spelled::{self, Marker, Spelled};
use super::{Delta, Ending, ParserOptions, Start};
use crate::parser::arguments::Arguments;
use crate::parser::xml;
use crate::{KimiTokens, Tool};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reasoning,
    Content,
    /// In a section, between calls.
    Section,
    Header,
    Arguments,
    /// After a section.
    After,
}

pub(super) struct Machine {
    tokens: KimiTokens,
    tools: Vec<Tool>,
    first_call: usize,
    state: State,
    /// A `<think>` that was not closed: text after a section belongs to it.
    thinking: bool,
    /// Text that could become a marker.
    held: String,
    /// Whether a spelled marker here would stand where a line or a turn begins.
    line_start: bool,
    /// White space at the end of the content so far: dropped if a section follows.
    space: String,
    header: String,
    /// The header holds a bracket that decided nothing.
    bracket: bool,
    /// Text where none belongs: given back as content if no call comes of the turn.
    stray: String,
    call: Option<Call>,
    n_calls: usize,
    /// Calls made while thinking, which the model may repeat after it.
    thought_calls: Vec<(String, String)>,
}

/// A call between its header and its end.
struct Call {
    header: Header,
    /// Made inside an unclosed `<think>`.
    thought: bool,
    /// The arguments as they came, as long as they decide anything.
    raw: String,
    json: Arguments,
    /// JSON so far; emitted from `sent` on.
    text: String,
    sent: usize,
    /// The index in the turn, once it is open for the client.
    index: Option<usize>,
}

impl Machine {
    pub(super) fn new(tokens: KimiTokens, options: ParserOptions) -> Self {
        let thinking = options.start == Start::Reasoning;
        Self {
            tokens,
            tools: options.tools,
            first_call: options.first_call,
            state: if thinking {
                State::Reasoning
            } else {
                State::Content
            },
            thinking,
            held: String::new(),
            line_start: true,
            space: String::new(),
            header: String::new(),
            bracket: false,
            stray: String::new(),
            call: None,
            n_calls: 0,
            thought_calls: Vec::new(),
        }
    }

    pub(super) fn in_content(&self) -> bool {
        self.state == State::Content
    }

    pub(super) fn in_arguments(&self) -> bool {
        self.state == State::Arguments
    }

    /// Ordinary text: plain runs up to a place where a marker could begin, then that place.
    pub(super) fn text(&mut self, text: &str, out: &mut Vec<Delta>) {
        if self.tools.is_empty() {
            return self.plain(text, out);
        }
        let joined;
        let mut rest = if self.held.is_empty() {
            text
        } else {
            self.held.push_str(text);
            joined = std::mem::take(&mut self.held);
            joined.as_str()
        };
        while !rest.is_empty() {
            let run = self.run_before_marker(rest);
            if run > 0 {
                self.plain(&rest[..run], out);
                rest = &rest[run..];
                continue;
            }
            match spelled::at_start(rest) {
                Spelled::Marker(marker, len) => {
                    self.marker(marker, out);
                    rest = &rest[len..];
                }
                Spelled::Beginning => {
                    self.held.push_str(rest);
                    return;
                }
                Spelled::Nothing => {
                    self.plain(&rest[..1], out);
                    rest = &rest[1..];
                }
            }
        }
    }

    /// Bytes of `text` before the first `<` at which a spelled marker would be honoured.
    fn run_before_marker(&self, text: &str) -> usize {
        let mut line_start = self.line_start;
        for (i, byte) in text.bytes().enumerate() {
            let honoured = match self.state {
                State::Reasoning | State::Content => line_start,
                // In an open string a marker is what the string says; after the end it is a marker.
                State::Arguments => self.call.as_ref().is_none_or(|call| call.json.is_done()),
                State::Section | State::Header | State::After => true,
            };
            if byte == b'<' && honoured {
                return i;
            }
            line_start = byte == b'\n';
            // The first bytes decide whether arguments are complete: they are taken alone.
            if self.state == State::Arguments && byte == b'}' {
                return i + 1;
            }
        }
        text.len()
    }

    /// Text without markers.
    fn plain(&mut self, text: &str, out: &mut Vec<Delta>) {
        let Some(last) = text.chars().next_back() else {
            return;
        };
        self.line_start = last == '\n';
        match self.state {
            State::Reasoning => push_text(out, text, Delta::Reasoning),
            State::Content => self.content(text, out),
            State::Section => self.stray.push_str(text),
            State::Header => self.header_text(text, out),
            State::Arguments => self.argument_text(text, out),
            State::After if self.thinking => {
                self.space.push_str(text);
                if !text.trim().is_empty() {
                    self.state = State::Reasoning;
                    out.push(Delta::Reasoning(std::mem::take(&mut self.space)));
                }
            }
            State::After => self.stray.push_str(text),
        }
    }

    /// Content, with white space at its end held back until something follows.
    fn content(&mut self, text: &str, out: &mut Vec<Delta>) {
        let end = text.trim_end().len();
        if end == 0 {
            self.space.push_str(text);
            return;
        }
        let mut content = std::mem::take(&mut self.space);
        content.push_str(&text[..end]);
        self.space.push_str(&text[end..]);
        out.push(Delta::Content(content));
    }

    /// A control token.
    pub(super) fn control(&mut self, id: TokenId, out: &mut Vec<Delta>) {
        self.release_held(out);
        let tokens = self.tokens;
        let marker = match id {
            id if Some(id) == tokens.think => return self.think(),
            id if Some(id) == tokens.end_think => Marker::EndThink,
            id if id == tokens.section_begin => Marker::SectionBegin,
            id if id == tokens.section_end => Marker::SectionEnd,
            id if id == tokens.call_begin => Marker::CallBegin,
            id if id == tokens.argument_begin => Marker::ArgumentBegin,
            id if id == tokens.call_end => Marker::CallEnd,
            // The end of the turn comes with its reason through `finish`; others mean nothing here.
            _ => return,
        };
        self.marker(marker, out);
    }

    fn think(&mut self) {
        if matches!(self.state, State::Content | State::After) {
            self.state = State::Reasoning;
            self.thinking = true;
            self.line_start = true;
        }
    }

    fn marker(&mut self, marker: Marker, out: &mut Vec<Delta>) {
        if marker == Marker::EndThink {
            return self.end_think();
        }
        if self.tools.is_empty() {
            // Nothing was declared: markers vanish, text stays text.
            return;
        }
        match (self.state, marker) {
            (State::Reasoning | State::Content | State::After, Marker::SectionBegin) => {
                self.enter(State::Section)
            }
            (State::Reasoning | State::Content | State::After, Marker::CallBegin) => {
                self.enter(State::Header)
            }
            (State::Section, Marker::CallBegin) => self.enter(State::Header),
            // The opening marker of the call is missing: what stands before is its header.
            (State::Section, Marker::ArgumentBegin) => {
                self.header = std::mem::take(&mut self.stray);
                self.begin_call(String::new(), out);
            }
            (State::Section, Marker::CallEnd) => {
                self.header = std::mem::take(&mut self.stray);
                self.call_from_header(out);
            }
            (State::Section, Marker::SectionEnd) => self.enter(State::After),
            (State::Header, Marker::ArgumentBegin) => self.begin_call(String::new(), out),
            (State::Header, Marker::CallEnd) => self.call_from_header(out),
            (State::Header, Marker::CallBegin) => {
                self.call_from_header(out);
                self.enter(State::Header);
            }
            (State::Header, Marker::SectionEnd) => {
                self.call_from_header(out);
                self.enter(State::After);
            }
            (State::Arguments, Marker::CallEnd) => {
                self.close_call(out);
                self.enter(State::Section);
            }
            (State::Arguments, Marker::SectionEnd) => {
                self.close_call(out);
                self.enter(State::After);
            }
            (State::Arguments, Marker::CallBegin) => {
                self.close_call(out);
                self.enter(State::Header);
            }
            // A second opening, or an end of what was never begun.
            _ => {}
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.space.clear();
        self.header.clear();
        self.bracket = false;
    }

    fn end_think(&mut self) {
        let open = std::mem::take(&mut self.thinking);
        match self.state {
            State::Reasoning => {
                self.state = State::Content;
                self.line_start = true;
            }
            // A thought that held a section ends late: content may follow it.
            State::After if open => {
                self.state = State::Content;
                self.line_start = true;
            }
            _ => {}
        }
    }

    fn header_text(&mut self, text: &str, out: &mut Vec<Delta>) {
        let seen = self.header.len();
        self.header.push_str(text);
        // `functions.f:0{"a": 1}`: the separator is missing. The first bracket decides.
        let Some(at) = text.find('{').filter(|_| !self.bracket).map(|at| seen + at) else {
            return;
        };
        self.bracket = true;
        if !matches!(
            header::resolve(&self.header[..at], &self.tools),
            Header::Opaque(_)
        ) {
            let arguments = self.header.split_off(at);
            self.begin_call(arguments, out);
        }
    }

    /// A call that ended before its arguments began: none, or XML pairs behind the name.
    fn call_from_header(&mut self, out: &mut Vec<Delta>) {
        let whole = std::mem::take(&mut self.header);
        let split = whole.find(['\n', '<', '{']).filter(|&at| at > 0);
        // In `functions<read` the bracket is part of the name.
        let split = match split {
            Some(at) if whole[..at].trim() == "functions" => {
                whole[at + 1..].find(['\n', '<', '>']).map(|n| at + 1 + n)
            }
            other => other,
        };
        let (name, rest) = whole.split_at(split.unwrap_or(whole.len()));
        let resolved = header::resolve(name, &self.tools);
        if let Header::Opaque(_) = resolved {
            self.stray.push_str(&whole);
            self.enter(State::Section);
            return;
        }
        self.header = name.to_owned();
        let rest = rest.strip_prefix('>').unwrap_or(rest).to_owned();
        self.begin_call(rest, out);
        self.close_call(out);
        self.enter(State::Section);
    }

    fn begin_call(&mut self, arguments: String, out: &mut Vec<Delta>) {
        let header = header::resolve(&self.header, &self.tools);
        self.header.clear();
        self.state = State::Arguments;
        self.call = Some(Call {
            header,
            thought: self.thinking,
            raw: String::new(),
            json: Arguments::default(),
            text: String::new(),
            sent: 0,
            index: None,
        });
        self.open_if_decided(out);
        if !arguments.is_empty() {
            self.argument_text(&arguments, out);
        }
    }

    /// Opens the call for the client unless its arguments still decide what it is.
    fn open_if_decided(&mut self, out: &mut Vec<Delta>) {
        let Some(call) = &self.call else { return };
        let name = match &call.header {
            Header::Declared(name) | Header::Undeclared(name) => name.clone(),
            Header::Opaque(_) => return,
        };
        let may_repeat = !call.thought
            && self
                .thought_calls
                .iter()
                .any(|(thought, _)| *thought == name);
        if !may_repeat {
            self.open_call(name, out);
        }
    }

    fn open_call(&mut self, name: String, out: &mut Vec<Delta>) {
        let index = self.n_calls;
        self.n_calls += 1;
        out.push(Delta::CallOpen {
            index,
            id: format!("functions.{name}:{}", self.first_call + index),
            name,
        });
        if let Some(call) = &mut self.call {
            call.index = Some(index);
        }
    }

    fn argument_text(&mut self, text: &str, out: &mut Vec<Delta>) {
        let Some(call) = &mut self.call else { return };
        if call.text.is_empty() {
            // Until the first bracket it can be anything: a string that holds JSON, XML, nothing.
            call.raw.push_str(text);
            if call.raw.trim_start().starts_with('{') {
                let raw = std::mem::take(&mut call.raw);
                call.json.push(raw.trim_start(), &mut call.text);
            }
        } else {
            call.json.push(text, &mut call.text);
        }
        self.emit_arguments(out);
    }

    fn emit_arguments(&mut self, out: &mut Vec<Delta>) {
        let Some(call) = &mut self.call else { return };
        let Some(index) = call.index.filter(|_| call.sent < call.text.len()) else {
            return;
        };
        let json = call.text[call.sent..].to_owned();
        call.sent = call.text.len();
        out.push(Delta::CallArguments { index, json });
    }

    /// Ends the call as the model meant it: completes or repairs what it wrote.
    fn close_call(&mut self, out: &mut Vec<Delta>) {
        let Some(mut call) = self.call.take() else {
            return;
        };
        if call.text.is_empty() {
            let tool = match &call.header {
                Header::Declared(name) => self.tools.iter().find(|tool| tool.name == *name),
                _ => None,
            };
            call.text = whole_arguments(&call.raw, tool);
        } else {
            call.json.close(&mut call.text);
        }
        if call.index.is_none() {
            let Some((name, text)) = self.decide(&call) else {
                // A header that nobody knows: nothing an agent could run.
                if let Header::Opaque(raw) = &call.header {
                    self.stray.push_str(raw);
                }
                self.stray.push_str(&call.text);
                return;
            };
            let canonical = canonical(&text);
            let repeated = self
                .thought_calls
                .iter()
                .position(|(n, a)| *n == name && *a == canonical);
            if let Some(at) = repeated.filter(|_| !call.thought) {
                self.thought_calls.remove(at);
                return;
            }
            call.text = text;
            self.call = Some(call);
            self.open_call(name, out);
        } else {
            self.call = Some(call);
        }
        self.emit_arguments(out);
        let Some(call) = self.call.take() else { return };
        let Some(index) = call.index else { return };
        if call.thought
            && let Header::Declared(name) | Header::Undeclared(name) = call.header
        {
            self.thought_calls.push((name, canonical(&call.text)));
        }
        out.push(Delta::CallClose { index });
    }

    /// Name and arguments of a call that was held back.
    fn decide(&self, call: &Call) -> Option<(String, String)> {
        let raw = match &call.header {
            Header::Declared(name) | Header::Undeclared(name) => {
                return Some((name.clone(), call.text.clone()));
            }
            Header::Opaque(raw) => raw,
        };
        let arguments: serde_json::Value = serde_json::from_str(&call.text).ok()?;
        let declared = |name: &str| self.tools.iter().any(|tool| tool.name == name);
        if let (Some(name), Some(inner)) = (
            arguments.get("name").and_then(|name| name.as_str()),
            arguments.get("arguments"),
        ) && declared(name)
        {
            let inner = inner
                .as_str()
                .map_or_else(|| inner.to_string(), str::to_owned);
            return Some((name.to_owned(), inner));
        }
        if let Some(tool) = header::by_arguments(&arguments, &self.tools) {
            return Some((tool.name.clone(), call.text.clone()));
        }
        header::is_name(raw).then(|| (raw.clone(), call.text.clone()))
    }

    fn release_held(&mut self, out: &mut Vec<Delta>) {
        let held = std::mem::take(&mut self.held);
        self.plain(&held, out);
    }

    /// The end of the turn.
    pub(super) fn finish(&mut self, ending: Ending, out: &mut Vec<Delta>) {
        self.release_held(out);
        match (self.state, ending) {
            (State::Header, Ending::Stop) => self.call_from_header(out),
            (State::Arguments, Ending::Stop) => self.close_call(out),
            (State::Arguments, Ending::Length) => self.leave_open(out),
            _ => {}
        }
        if self.n_calls == 0 {
            let mut rest = std::mem::take(&mut self.space);
            rest.push_str(self.stray.trim_end());
            push_text(out, &rest, Delta::Content);
        }
    }

    /// A call that was cut: what is there of it is shown, but not as a complete call.
    fn leave_open(&mut self, out: &mut Vec<Delta>) {
        let Some(call) = &self.call else { return };
        if call.index.is_none()
            && let Header::Declared(name) | Header::Undeclared(name) = call.header.clone()
        {
            self.open_call(name, out);
        }
        if let Some(call) = &mut self.call {
            let raw = std::mem::take(&mut call.raw);
            call.text.push_str(&raw);
        }
        self.emit_arguments(out);
        self.call = None;
    }
}

/// Arguments that do not begin with a bracket: none, JSON in a string, XML pairs, or something
/// that only the tool itself can judge.
fn whole_arguments(raw: &str, tool: Option<&Tool>) -> String {
    let raw = raw.trim();
    if raw.is_empty() {
        return "{}".to_owned();
    }
    if let Ok(serde_json::Value::String(inner)) = serde_json::from_str(raw)
        && serde_json::from_str::<serde_json::Value>(&inner).is_ok_and(|value| value.is_object())
    {
        return inner;
    }
    xml::to_object(raw, tool).map_or_else(|| raw.to_owned(), |object| object.to_string())
}

/// Arguments with white space and number spellings out of the way, for comparison.
fn canonical(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text)
        .map_or_else(|_| text.to_owned(), |value| value.to_string())
}

fn push_text(out: &mut Vec<Delta>, text: &str, delta: fn(String) -> Delta) {
    if !text.is_empty() {
        out.push(delta(text.to_owned()));
    }
}
