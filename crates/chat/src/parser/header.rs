//! Which function a call's header means.

use crate::Tool;

/// What a header came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// This declared function.
    Declared(String),
    /// A well-formed header with a name that nobody declared.
    Undeclared(String),
    /// Something else: the arguments may tell.
    Opaque(String),
}

/// Resolves header text. The forms are tried from the trained one to the strangest seen.
pub(super) fn resolve(raw: &str, tools: &[Tool]) -> Header {
    let raw = raw.trim();
    // `functions<read>` is a blend with XML.
    let blended = raw
        .strip_prefix("functions<")
        .map(|rest| format!("functions.{}", rest.trim_end_matches('>')));
    let raw = blended.as_deref().unwrap_or(raw);
    let declared = |name: &str| {
        tools
            .iter()
            .any(|tool| tool.name == name)
            .then(|| name.to_owned())
    };
    let bare = raw
        .strip_prefix("functions.")
        .or_else(|| raw.strip_prefix("functions_"))
        .unwrap_or(raw);
    let unnumbered = without_number(bare, ':').or_else(|| without_number(bare, '_'));
    let forms = [
        without_number(bare, ':'),
        without_number(bare, '_'),
        Some(bare),
        Some(raw),
    ];
    for form in forms.into_iter().flatten() {
        if let Some(name) = declared(form.trim()) {
            return Header::Declared(name);
        }
    }
    let loose = |name: &str| name.trim().to_lowercase().replace('-', "_");
    for form in [unnumbered, Some(bare)].into_iter().flatten() {
        if let Some(tool) = tools.iter().find(|tool| loose(&tool.name) == loose(form)) {
            return Header::Declared(tool.name.clone());
        }
    }
    match raw
        .strip_prefix("functions.")
        .and_then(|rest| without_number(rest, ':'))
    {
        Some(name) if is_name(name) => Header::Undeclared(name.to_owned()),
        _ => Header::Opaque(raw.to_owned()),
    }
}

/// The one tool that the arguments of an opaque header fit: the only declared one, or the only
/// one whose required keys are there and whose properties include all that are.
pub(super) fn by_arguments<'a>(
    arguments: &serde_json::Value,
    tools: &'a [Tool],
) -> Option<&'a Tool> {
    if let [only] = tools {
        return Some(only);
    }
    let keys: Vec<&str> = arguments.as_object()?.keys().map(String::as_str).collect();
    let mut fitting = tools.iter().filter(|tool| {
        let schema = tool.parameters();
        let required = schema
            .get("required")
            .and_then(|list| list.as_array())
            .cloned()
            .unwrap_or_default();
        let properties = schema
            .get("properties")
            .and_then(|map| map.as_object())
            .cloned()
            .unwrap_or_default();
        required
            .iter()
            .all(|key| key.as_str().is_some_and(|key| keys.contains(&key)))
            && keys.iter().all(|key| properties.contains_key(*key))
    });
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

/// Whether an agent could look a name up.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$'))
}

/// `search` of `search:3`: the last separator counts, digits must follow it.
fn without_number(text: &str, separator: char) -> Option<&str> {
    let (name, number) = text.rsplit_once(separator)?;
    let digits = number.trim();
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}
