//! Arguments that the model wrote as `<key>value</key>` pairs.

use serde_json::{Map, Value};

use crate::Tool;

/// The pairs as an object, each value coerced to the type that the tool's schema names for it.
/// `None` if the text is not a sequence of pairs.
pub(super) fn to_object(text: &str, tool: Option<&Tool>) -> Option<Value> {
    let mut rest = text.trim();
    let schema = tool.map(Tool::parameters);
    let mut object = Map::new();
    while !rest.is_empty() {
        let (key, after) = rest.strip_prefix('<')?.split_once('>')?;
        if key.is_empty()
            || !key
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        {
            return None;
        }
        let end = format!("</{key}>");
        let (value, after) = after.split_once(end.as_str())?;
        let wanted = schema
            .as_ref()
            .and_then(|schema| schema.get("properties")?.get(key)?.get("type")?.as_str());
        object.insert(key.to_owned(), coerce(value, wanted));
        rest = after.trim_start();
    }
    (!object.is_empty()).then_some(Value::Object(object))
}

fn coerce(value: &str, wanted: Option<&str>) -> Value {
    match wanted {
        None | Some("string") => Value::String(value.to_owned()),
        // What does not parse as the type it should have stays the string that it is.
        Some(_) => {
            serde_json::from_str(value.trim()).unwrap_or_else(|_| Value::String(value.to_owned()))
        }
    }
}
