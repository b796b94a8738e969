//! Deserialisers as tolerant as the clients are careless: numbers and booleans
//! as strings, `null` and `""` as absent, a string where a list may stand.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// A number, or a string holding one; `null`, absent and `""` are `None`.
pub(crate) fn number<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    let text = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        other => {
            return Err(D::Error::custom(format!(
                "expected a number, found {}",
                name_of(&other)
            )));
        }
    };
    // `1.0` is a legal spelling of the integer 1 for many JSON writers.
    let integral = text.strip_suffix(".0").unwrap_or(&text);
    integral
        .parse()
        .or_else(|_| text.parse())
        .map(Some)
        .map_err(|error: T::Err| D::Error::custom(format!("{error}: {text:?}")))
}

/// A boolean, or the strings and numbers that stand for one.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(flag)),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(Some(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(Some(false)),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::Number(number) if number.as_u64() == Some(1) => Ok(Some(true)),
        Value::Number(number) if number.as_u64() == Some(0) => Ok(Some(false)),
        other => Err(D::Error::custom(format!(
            "expected true or false, found {}",
            name_of(&other)
        ))),
    }
}

/// A list of strings, or one string, or nothing.
pub(crate) fn strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(D::Error::custom(format!(
                    "expected a string, found {}",
                    name_of(&other)
                ))),
            })
            .collect(),
        other => Err(D::Error::custom(format!(
            "expected a string or a list of strings, found {}",
            name_of(&other)
        ))),
    }
}

/// A value with `null` and absent as the default.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What a JSON value is called in an error message.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
