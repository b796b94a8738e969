//! JSON as Python's `json.dumps` writes it: the templates and the training data are Python's.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Keyword arguments of `json.dumps`.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
    pub(crate) ensure_ascii: bool,
    pub(crate) sort_keys: bool,
    /// Spaces per level; `None` = one line.
    pub(crate) indent: Option<usize>,
}

impl Default for Style {
    /// Python's own defaults, but for `ensure_ascii`: every template engine turns it off.
    fn default() -> Self {
        Self {
            item_separator: ", ".to_owned(),
            key_separator: ": ".to_owned(),
            ensure_ascii: false,
            sort_keys: false,
            indent: None,
        }
    }
}

impl Style {
    /// `separators=(',', ':')`.
    pub(crate) fn compact() -> Self {
        Self {
            item_separator: ",".to_owned(),
            key_separator: ":".to_owned(),
            ..Self::default()
        }
    }
}

/// With the default separators `", "` and `": "`.
pub(crate) fn dumps(value: &Value) -> String {
    dumps_with(value, &Style::default())
}

/// With a style.
pub(crate) fn dumps_with(value: &Value, style: &Style) -> String {
    let mut out = String::new();
    write(value, style, 0, &mut out);
    out
}

fn write(value: &Value, style: &Style, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => write_string(text, style.ensure_ascii, out),
        Value::Array(items) => {
            let items = items.iter().map(|item| (None, item));
            write_items('[', items, ']', style, depth, out);
        }
        Value::Object(members) => {
            let mut members: Vec<(Option<&str>, &Value)> =
                members.iter().map(|(k, v)| (Some(k.as_str()), v)).collect();
            if style.sort_keys {
                members.sort_by_key(|(key, _)| *key);
            }
            write_items('{', members.into_iter(), '}', style, depth, out);
        }
    }
}

fn write_items<'a>(
    open: char,
    items: impl Iterator<Item = (Option<&'a str>, &'a Value)>,
    close: char,
    style: &Style,
    depth: usize,
    out: &mut String,
) {
    let newline = |depth: usize, out: &mut String| {
        if let Some(width) = style.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    out.push(open);
    let mut n = 0;
    for (key, item) in items {
        if n > 0 {
            // With an indent Python's default separator has no trailing space.
            let separator = style.item_separator.as_str();
            out.push_str(if style.indent.is_some() {
                separator.trim_end()
            } else {
                separator
            });
        }
        newline(depth + 1, out);
        if let Some(key) = key {
            write_string(key, style.ensure_ascii, out);
            out.push_str(&style.key_separator);
        }
        write(item, style, depth + 1, out);
        n += 1;
    }
    if n > 0 {
        newline(depth, out);
    }
    out.push(close);
}

fn write_string(text: &str, ensure_ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (ensure_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Integers as they are; floats as `repr` writes them: `1.0`, `1e-05`, `1e+16`.
fn number_text(number: &Number) -> String {
    if !number.is_f64() {
        return number.to_string();
    }
    let value = number.as_f64().unwrap_or_default();
    let magnitude = value.abs();
    if value != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Rust writes the same shortest digits, as 1e-5 and 1.5e16.
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let text = value.to_string();
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, style: &Style, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(dumps_with(&value, style), expected, "{json}");
    }

    /// The expected texts were printed by CPython 3.11's `json.dumps(json.loads(…))`.
    #[test]
    fn numbers_and_strings_are_written_as_python_does() {
        let plain = Style::default();
        check(
            "[1, -0.0, 1.0, 0.1, 1e-5, 0.0001, 123456789012345680.0, 1e16, 1.5e300, 2E3]",
            &plain,
            "[1, -0.0, 1.0, 0.1, 1e-05, 0.0001, 1.2345678901234568e+17, 1e+16, 1.5e+300, 2000.0]",
        );
        check(
            r#"["a\"b\\c\n\t\u0001/<>&'é世\u2028"]"#,
            &plain,
            "[\"a\\\"b\\\\c\\n\\t\\u0001/<>&'é世\u{2028}\"]",
        );
        let ascii = Style {
            ensure_ascii: true,
            ..Style::default()
        };
        check(r#"["é世👩"]"#, &ascii, r#"["\u00e9\u4e16\ud83d\udc69"]"#);
    }

    #[test]
    fn separators_indents_and_order_are_pythons() {
        let json = r#"{"b": [1, {}], "a": {"c": []}}"#;
        check(json, &Style::default(), r#"{"b": [1, {}], "a": {"c": []}}"#);
        check(json, &Style::compact(), r#"{"b":[1,{}],"a":{"c":[]}}"#);
        let pretty = Style {
            indent: Some(2),
            sort_keys: true,
            ..Style::default()
        };
        check(
            json,
            &pretty,
            "{\n  \"a\": {\n    \"c\": []\n  },\n  \"b\": [\n    1,\n    {}\n  ]\n}",
        );
    }
}
