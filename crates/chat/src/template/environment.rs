//! minijinja, set up as `transformers` sets up Jinja2.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::machinery::{self, Instructions, get_compiled_template};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};

use super::budget::{produce, refusal};
use super::{filters, guard, limits};
use crate::format::TemplateError;
use crate::python_json::{Style, dumps_with};

/// Steps of one rendering: a conversation of a thousand messages needs some hundred thousand.
/// The payments that are put in count as well.
const FUEL: u64 = 6_000_000;
const RECURSION: usize = 128;
/// Longer errors are cut, in characters.
const MAX_ERROR: usize = 1000;
const NAME: &str = "chat";

/// Instructions of a template, and of each of its blocks.
type Compiled<'a> = (Instructions<'a>, BTreeMap<&'a str, Instructions<'a>>);

/// A template and what it runs in.
#[derive(Debug)]
pub(super) struct Engine {
    /// Holds the template and nothing that it could call.
    source: Environment<'static>,
    /// Holds what the template may call, but no template that it could include: instructions
    /// run here with payments put in.
    runtime: Environment<'static>,
}

impl Engine {
    /// Compiles a template.
    pub(super) fn new(source: &str) -> Result<Self, TemplateError> {
        let invalid = |error: Error| TemplateError::Syntax {
            reason: one_line(&error),
        };
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let syntax = syntax.build().map_err(invalid)?;
        limits::check(source, syntax.clone())?;
        let mut compiled = Environment::empty();
        compiled.set_syntax(syntax);
        compiled
            .add_template_owned(NAME, source.to_owned())
            .map_err(invalid)?;
        let engine = Self {
            source: compiled,
            runtime: runtime(),
        };
        // What cannot be made to pay is better refused now than at the first prompt.
        engine.instrumented(0).map_err(invalid)?;
        Ok(engine)
    }

    /// Renders with `context`; the error is one line.
    pub(super) fn render(&self, context: &serde_json::Value) -> Result<String, String> {
        // What goes wrong in the interpreter goes wrong for this prompt only.
        panic::catch_unwind(AssertUnwindSafe(|| {
            let (instructions, blocks) = self.instrumented(size(context))?;
            let mut text = String::new();
            machinery::eval(
                &self.runtime,
                &instructions,
                Value::from(Serde(context)),
                &blocks,
                &mut machinery::make_string_output(&mut text),
                AutoEscape::None,
            )?;
            Ok(text)
        }))
        .unwrap_or_else(|_| Err(refusal("the template made its interpreter fail")))
        .map_err(|error| one_line(&error))
    }

    /// The instructions of the template and of its blocks, with payments for a context of
    /// `given` bytes.
    fn instrumented(&self, given: u64) -> Result<Compiled<'_>, Error> {
        let template = self.source.get_template(NAME)?;
        let compiled = get_compiled_template(&template);
        let main = guard::instrument(&compiled.instructions, given)?;
        let blocks = compiled.blocks.iter().map(|(name, block)| {
            let block = guard::instrument(block, given)?;
            Ok((*name, block))
        });
        Ok((main, blocks.collect::<Result<_, Error>>()?))
    }
}

/// What templates may call, set up as `transformers` does.
fn runtime() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(filters::method);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    guard::register(&mut environment);
    filters::register(&mut environment);
    environment.add_filter("tojson", to_json);
    // Prints everything that the template knows.
    environment.remove_global("debug");
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", |state: &mut State, format: &str| {
        produce(state, (format.len() as u64).saturating_mul(8))?;
        Ok::<_, Error>(strftime(format, now()))
    });
    environment
}

/// The bytes of a context.
fn size(value: &serde_json::Value) -> u64 {
    use serde_json::Value as V;
    8 + match value {
        V::Null | V::Bool(_) | V::Number(_) => 0,
        V::String(text) => text.len() as u64,
        V::Array(items) => items.iter().map(size).sum(),
        V::Object(members) => members
            .iter()
            .map(|(key, member)| key.len() as u64 + size(member))
            .sum(),
    }
}

fn one_line(error: &Error) -> String {
    let mut text = error.to_string().replace('\n', " ");
    // Templates may raise what they were given.
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR) {
        text.truncate(end);
    }
    if error.kind() == ErrorKind::UnknownMethod {
        return format!(
            "{text}; this template needs lists that change, try --chat-template builtin"
        );
    }
    text
}

/// Python's `tojson`: no HTML escapes, `separators`, `indent`, `ensure_ascii`, `sort_keys`.
fn to_json(state: &mut State<'_, '_>, value: &Value, kwargs: Kwargs) -> Result<Value, Error> {
    filters::pay_json(state, value, &kwargs)?;
    let json = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut style = Style::default();
    if let Some((item, key)) = kwargs
        .get::<Option<Value>>("separators")?
        .as_ref()
        .and_then(pair)
    {
        (style.item_separator, style.key_separator) = (item, key);
    }
    style.indent = kwargs.get::<Option<usize>>("indent")?;
    style.ensure_ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    style.sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    Ok(Value::from_safe_string(dumps_with(&json, &style)))
}

fn pair(separators: &Value) -> Option<(String, String)> {
    let mut items = separators.try_iter().ok()?;
    Some((
        items.next()?.as_str()?.to_owned(),
        items.next()?.as_str()?.to_owned(),
    ))
}

/// Seconds since 1970, UTC.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}

/// The directives that templates use; others stay as they are.
fn strftime(format: &str, seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (month_name, day_name) = (MONTHS[month - 1], DAYS[(days % 7) as usize]);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out.push_str(&format!("{year:04}")),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('H') => out.push_str(&format!("{:02}", rest / 3600)),
            Some('M') => out.push_str(&format!("{:02}", rest / 60 % 60)),
            Some('S') => out.push_str(&format!("{:02}", rest % 60)),
            Some('B') => out.push_str(month_name),
            Some('b') => out.push_str(&month_name[..3]),
            Some('A') => out.push_str(day_name),
            Some('a') => out.push_str(&day_name[..3]),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Year, month, day of a number of days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, usize, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_strftime_does() {
        assert_eq!(
            strftime("%A %d %B %Y %H:%M:%S %a %b %% %q", 1_795_305_599),
            "Saturday 21 November 2026 23:59:59 Sat Nov % %q"
        );
        assert_eq!(strftime("%Y-%m-%d", 951_782_400), "2000-02-29");
        assert_eq!(strftime("%Y-%m-%d %a", 0), "1970-01-01 Thu");
    }
}
