//! Filters and methods that pay for what they make before they make it.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, filters};

use super::budget::{NODE, Size, look_at, measure, produce, refusal, shallow};
use super::guard::listed;

/// Deepest `indent`, and most columns of one.
const MAX_INDENT: u64 = 256;

/// Replaces the interpreter's filters.
pub(super) fn register(environment: &mut Environment<'static>) {
    macro_rules! guard {
        ($($name:ident)*) => {
            $(guard(environment, stringify!($name), Value::from_function(filters::$name));)*
        };
    }
    guard!(lower upper title capitalize replace dictsort items reverse trim join split lines
        sort list string batch slice sum indent select reject selectattr rejectattr map groupby
        unique chain zip pprint format escape min max length int float first last attr);
    guard(environment, "e", Value::from_function(filters::escape));
    guard(environment, "count", Value::from_function(filters::length));
}

fn guard(environment: &mut Environment<'static>, name: &'static str, filter: Value) {
    environment.add_filter(
        name,
        move |state: &mut State, arguments: Rest<ValueOrKwargs>| {
            let arguments = pay(state, name, arguments.into_values())?;
            filter.call(state, &arguments)
        },
    );
}

/// Python's methods of strings, lists and maps.
pub(super) fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let mut all = vec![value.clone()];
    all.extend_from_slice(arguments);
    let name = match (method, value.kind()) {
        ("join", ValueKind::String) => "joined",
        ("strip" | "lstrip" | "rstrip", _) => "trim",
        ("splitlines", _) => "lines",
        ("get", ValueKind::Map) => "first",
        ("keys" | "values" | "items", _) => "items",
        ("count" | "find" | "rfind" | "startswith" | "endswith", _) => "min",
        (other, _) => other,
    };
    let all = pay(state, name, all)?;
    let [value, arguments @ ..] = &all[..] else {
        return Err(refusal("a method without a value"));
    };
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
}

/// Pays for a filter or method; the arguments it may have.
fn pay(
    state: &mut State<'_, '_>,
    name: &str,
    mut arguments: Vec<Value>,
) -> Result<Vec<Value>, Error> {
    let Some(subject) = arguments.first().cloned() else {
        return Ok(arguments);
    };
    if matches!(
        name,
        "first" | "last" | "length" | "count" | "int" | "float" | "attr" | "items"
    ) {
        look_at(state, shallow(&subject).bytes())?;
        for argument in &arguments[1..] {
            measure(state, argument)?;
        }
        return Ok(arguments);
    }
    let mut sizes = Vec::new();
    for argument in &mut arguments {
        // Lazy values that refer to lazy values nest without end.
        *argument = listed(state, argument)?;
        sizes.push(measure(state, argument)?);
    }
    let own = sizes.first().copied().unwrap_or_default();
    let others = sizes
        .iter()
        .skip(1)
        .fold(0_u64, |sum, size| sum.saturating_add(size.bytes()));
    let items = match subject.as_bytes() {
        Some(text) => text.len() as u64,
        None => shallow(&subject).nodes,
    };
    let text = |at: usize| arguments.get(at).and_then(Value::as_str);
    let integers = || integers(&arguments).map(i64::unsigned_abs);
    let (bytes, work) = match name {
        "min" | "max" => (0, own.bytes().saturating_add(others).saturating_mul(2)),
        "trim" => (own.text, own.text.saturating_mul(others)),
        "lower" | "upper" | "title" | "capitalize" => (own.bytes().saturating_mul(2), 0),
        "string" if subject.as_bytes().is_some() => (0, 0),
        "replace" => (replaced(&subject, text(1), text(2)), 0),
        "join" => (joined(own, items, others), 0),
        "joined" => {
            let list = arguments.get(1).map(shallow).unwrap_or_default();
            let size = sizes.get(1).copied().unwrap_or_default();
            (joined(size, list.text.max(list.nodes), own.text), 0)
        }
        "split" | "lines" => {
            let parts = parts(&subject, text(1).filter(|_| name == "split"));
            (own.text.saturating_add(parts.saturating_mul(NODE)), 0)
        }
        "indent" => {
            let lines = subject
                .as_str()
                .map_or(0, |text| text.split('\n').count() as u64);
            let width = integers().fold(4, u64::max);
            if width > MAX_INDENT {
                return Err(refusal("the template indents too far"));
            }
            (own.text.saturating_add(lines.saturating_mul(width)), 0)
        }
        "format" => (formatted(&arguments, own, others), 0),
        "batch" | "slice" => {
            let count = integers().fold(0, u64::saturating_add);
            let bytes = items.saturating_add(count).saturating_mul(2 * NODE);
            (bytes.saturating_add(own.bytes()), 0)
        }
        "sum" => (0, own.bytes().saturating_mul(items)),
        "sort" | "dictsort" | "unique" | "groupby" => {
            let path = others.saturating_mul(items);
            let bytes = items.saturating_mul(4 * NODE).saturating_add(own.bytes());
            (bytes, own.bytes().saturating_mul(16).saturating_add(path))
        }
        "select" | "reject" | "selectattr" | "rejectattr" | "map" => {
            let bytes = items.saturating_mul(NODE);
            (
                bytes,
                own.bytes().saturating_add(others.saturating_mul(items)),
            )
        }
        "list" | "reverse" | "chain" | "zip" => {
            let bytes = items.saturating_mul(NODE).saturating_add(others);
            (bytes.saturating_add(own.text), 0)
        }
        "pprint" => {
            let spaces = own.nodes.saturating_mul(lines(own, 4));
            (own.bytes().saturating_mul(6).saturating_add(spaces), 0)
        }
        // Escapes.
        _ => (own.bytes().saturating_add(others).saturating_mul(8), 0),
    };
    look_at(state, work)?;
    produce(state, bytes)?;
    Ok(arguments)
}

/// The integers among arguments, named ones included.
fn integers(arguments: &[Value]) -> impl Iterator<Item = i64> {
    let named = arguments.iter().filter(|value| value.is_kwargs());
    let members = named
        .filter_map(|value| value.as_object()?.try_iter_pairs())
        .flatten()
        .map(|(_, member)| member);
    members
        .chain(arguments.iter().cloned())
        .filter_map(|value| value.as_i64())
}

/// How long the parts of a list with separators between them are.
fn joined(list: Size, items: u64, separator: u64) -> u64 {
    // Lists within the list are printed with escapes.
    let printed = list.bytes().saturating_mul(2);
    printed.saturating_add(items.saturating_mul(separator))
}

/// How long `subject` is after its `old`s are `new`s.
fn replaced(subject: &Value, old: Option<&str>, new: Option<&str>) -> u64 {
    let (Some(subject), Some(old), Some(new)) = (subject.as_str(), old, new) else {
        return u64::MAX;
    };
    let found = match old {
        "" => subject.len() + 1,
        old => subject.matches(old).count(),
    };
    (found as u64)
        .saturating_mul(new.len() as u64)
        .saturating_add(subject.len() as u64)
}

/// Into how many parts a string is split.
fn parts(subject: &Value, separator: Option<&str>) -> u64 {
    let Some(subject) = subject.as_str() else {
        return 0;
    };
    let parts = match separator {
        Some("") => subject.len() + 2,
        Some(separator) => subject.matches(separator).count() + 1,
        None => subject.split_whitespace().count() + subject.matches('\n').count() + 1,
    };
    parts as u64
}

/// How long a formatted string may be: its widths and precisions, and each argument as often as
/// there are directives.
fn formatted(arguments: &[Value], own: Size, others: u64) -> u64 {
    let Some(format) = arguments.first().and_then(Value::as_str) else {
        return u64::MAX;
    };
    let mut widths = 0_u64;
    let mut number = 0_u64;
    for c in format.chars() {
        match c.to_digit(10) {
            Some(digit) => number = number.saturating_mul(10).saturating_add(digit.into()),
            None => widths = widths.saturating_add(std::mem::take(&mut number)),
        }
    }
    widths = widths.saturating_add(number);
    let directives = format.matches(['%', '{']).count() as u64;
    let printed = others.saturating_mul(6).saturating_mul(directives.max(1));
    own.text.saturating_add(widths).saturating_add(printed)
}

/// Pays for `tojson`: the value, its escapes, its indents and separators.
pub(super) fn pay_json(
    state: &mut State<'_, '_>,
    value: &Value,
    arguments: &Kwargs,
) -> Result<(), Error> {
    let size = measure(state, value)?;
    let mut each = 3 * NODE;
    if let Some(indent) = arguments.peek::<Option<u64>>("indent")? {
        if indent > MAX_INDENT {
            return Err(refusal("the template indents too far"));
        }
        each += lines(size, indent);
    }
    if let Some(separators) = arguments.peek::<Option<Value>>("separators")? {
        each = each.saturating_add(measure(state, &separators)?.text);
    }
    let bytes = size
        .text
        .saturating_mul(2)
        .saturating_add(size.nodes.saturating_mul(each));
    produce(state, bytes)
}

/// The most spaces before the two lines of a value within others.
fn lines(size: Size, indent: u64) -> u64 {
    (size.depth + 1).saturating_mul(indent).saturating_mul(2)
}
