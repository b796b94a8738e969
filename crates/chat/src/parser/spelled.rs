//! Control markers that the model spells in ordinary text.

/// A marker, by id or spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    SectionBegin,
    SectionEnd,
    CallBegin,
    ArgumentBegin,
    CallEnd,
    EndThink,
}

/// Spellings; the singular sections are a misspelling that has no id of its own.
const SPELLINGS: [(&str, Marker); 8] = [
    ("<|tool_calls_section_begin|>", Marker::SectionBegin),
    ("<|tool_call_section_begin|>", Marker::SectionBegin),
    ("<|tool_calls_section_end|>", Marker::SectionEnd),
    ("<|tool_call_section_end|>", Marker::SectionEnd),
    ("<|tool_call_begin|>", Marker::CallBegin),
    ("<|tool_call_argument_begin|>", Marker::ArgumentBegin),
    ("<|tool_call_end|>", Marker::CallEnd),
    ("</think>", Marker::EndThink),
];

/// What stands at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelled {
    /// This marker, with the length of its spelling.
    Marker(Marker, usize),
    /// The whole text could become a marker.
    Beginning,
    /// Ordinary text.
    Nothing,
}

/// Looks for a marker at the very beginning of `text`.
pub(super) fn at_start(text: &str) -> Spelled {
    for (spelling, marker) in SPELLINGS {
        if text.starts_with(spelling) {
            return Spelled::Marker(marker, spelling.len());
        }
    }
    if SPELLINGS
        .iter()
        .any(|(spelling, _)| spelling.starts_with(text))
    {
        return Spelled::Beginning;
    }
    Spelled::Nothing
}
