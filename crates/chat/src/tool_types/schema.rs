//! One JSON Schema to one TypeScript type.

use serde_json::{Map, Value};

use crate::python_json::{Style, dumps, dumps_with};

/// Deeper schemas go to JSON: they come from clients, and recursion must end.
const MAX_DEPTH: usize = 64;

/// Why a schema has no TypeScript form.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untypable {
    #[error("keyword {0:?} has no form")]
    Keyword(String),
    #[error("reference {0:?} is not to # or #/$defs")]
    Reference(String),
    #[error("a schema without a type: {0}")]
    Untyped(String),
    #[error("unknown type {0:?}")]
    UnknownType(String),
    #[error("nested deeper than 64 levels")]
    TooDeep,
}

type Result<T> = std::result::Result<T, Untypable>;

/// Keywords that carry a description of the value, not its type.
const ANNOTATIONS: [&str; 7] = [
    "description",
    "title",
    "default",
    "$schema",
    "examples",
    "$id",
    "$comment",
];

/// The declaration of one function: interfaces of its `$defs`, description, `type NAME = …`.
pub(super) fn function(name: &str, declaration: &Value, parameters: &Value) -> Result<String> {
    let mut out = String::new();
    let mut body = String::new();
    let refers_to_itself = refers_to_root(parameters, 0)?;
    if refers_to_itself {
        out += &format!("interface parameters {}\n", object(parameters, 0, 0)?);
        body += "parameters";
    } else {
        body += &object(parameters, 0, 0)?;
    }
    if let Some(definitions) = parameters.get("$defs").and_then(Value::as_object) {
        for (name, schema) in definitions {
            let text = match schema.get("properties") {
                Some(_) => format!("interface {name} {}\n", object(schema, 0, 0)?),
                None => format!("type {name} = {};\n", type_of(schema, 0, 0)?),
            };
            out += &text;
        }
    }
    let description = declaration
        .pointer("/function/description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    comment(description, 0, &mut out);
    out += &format!("type {name} = (_: {body}) => any;");
    Ok(out)
}

fn refers_to_root(schema: &Value, depth: usize) -> Result<bool> {
    if depth > MAX_DEPTH {
        return Err(Untypable::TooDeep);
    }
    match schema {
        Value::Object(members) => {
            if members.get("$ref").and_then(Value::as_str) == Some("#") {
                return Ok(true);
            }
            members.values().try_fold(false, |found, member| {
                Ok(found || refers_to_root(member, depth + 1)?)
            })
        }
        Value::Array(items) => items.iter().try_fold(false, |found, item| {
            Ok(found || refers_to_root(item, depth + 1)?)
        }),
        _ => Ok(false),
    }
}

/// Description lines as comments; an empty line stays an empty line.
fn comment(text: &str, indent: usize, out: &mut String) {
    if text.is_empty() {
        return;
    }
    for line in text.split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str("// ");
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// An object type with its fields, `indent` spaces in.
fn object(schema: &Value, indent: usize, depth: usize) -> Result<String> {
    if depth > MAX_DEPTH {
        return Err(Untypable::TooDeep);
    }
    let empty = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut names: Vec<(&String, &Value)> = properties.iter().collect();
    names.sort_by_key(|(name, _)| (!required.contains(&name.as_str()), *name));
    let inner = indent + 2;
    let mut fields = Vec::new();
    for (name, field) in names {
        let mut text = String::new();
        annotations(field, inner, &mut text)?;
        let mark = if required.contains(&name.as_str()) {
            ""
        } else {
            "?"
        };
        text += &format!(
            "{}{name}{mark}: {}",
            " ".repeat(inner),
            type_of(field, inner, depth + 1)?
        );
        fields.push(text);
    }
    let additional = match schema.get("additionalProperties") {
        None => None,
        Some(Value::Bool(true)) => Some("any".to_owned()),
        Some(Value::Bool(false)) => Some("never".to_owned()),
        Some(schema) => Some(type_of(schema, inner, depth + 1)?),
    };
    if let Some(kind) = additional {
        fields.push(format!("{}[k: string]: {kind}", " ".repeat(inner)));
    }
    if fields.is_empty() {
        return Ok("{}".to_owned());
    }
    Ok(format!(
        "{{\n{}\n{}}}",
        fields.join(",\n"),
        " ".repeat(indent)
    ))
}

/// Description, constraints and default above a field.
fn annotations(schema: &Value, indent: usize, out: &mut String) -> Result<()> {
    comment(
        schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        indent,
        out,
    );
    let constraints = constraints(schema);
    if !constraints.is_empty() {
        comment(&constraints, indent, out);
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        comment(&format!("Default: {}", dumps(default)), indent, out);
    }
    Ok(())
}

/// `k: v` pairs of the constraints that belong to the type, in alphabetical order.
fn constraints(schema: &Value) -> String {
    let keys: &[&str] = match schema.get("type").and_then(Value::as_str) {
        Some("string") => &["maxLength", "minLength", "pattern"],
        Some("integer" | "number") => &["maximum", "minimum"],
        Some("array") => &["maxItems", "minItems"],
        _ => &[],
    };
    let pair = |key: &&str| {
        let value = schema.get(*key).filter(|value| !value.is_null())?;
        let text = value.as_str().map_or_else(|| dumps(value), str::to_owned);
        Some(format!("{key}: {text}"))
    };
    keys.iter().filter_map(pair).collect::<Vec<_>>().join(", ")
}

/// The type of a value.
fn type_of(schema: &Value, indent: usize, depth: usize) -> Result<String> {
    if depth > MAX_DEPTH {
        return Err(Untypable::TooDeep);
    }
    let members = match schema {
        Value::Bool(true) => return Ok("any".to_owned()),
        Value::Bool(false) => return Ok("null".to_owned()),
        Value::Object(members) => members,
        other => return Err(Untypable::Untyped(other.to_string())),
    };
    for keyword in ["oneOf", "allOf", "const", "not", "if", "then", "else"] {
        if members.contains_key(keyword) {
            return Err(Untypable::Keyword(keyword.to_owned()));
        }
    }
    if let Some(reference) = members.get("$ref") {
        return reference_name(reference);
    }
    if let Some(values) = members.get("enum").and_then(Value::as_array) {
        let literals = values
            .iter()
            .map(|value| dumps_with(value, &Style::default()));
        return Ok(literals.collect::<Vec<_>>().join(" | "));
    }
    if let Some(alternatives) = members.get("anyOf").and_then(Value::as_array) {
        let types = alternatives
            .iter()
            .map(|schema| type_of(schema, indent, depth + 1));
        return Ok(types.collect::<Result<Vec<_>>>()?.join(" | "));
    }
    match members.get("type") {
        Some(Value::String(name)) => named_type(name, schema, indent, depth),
        Some(Value::Array(names)) => {
            let types = names
                .iter()
                .map(|name| listed_type(name.as_str().unwrap_or_default()));
            Ok(types.collect::<Result<Vec<_>>>()?.join(" | "))
        }
        _ if members
            .keys()
            .all(|key| ANNOTATIONS.contains(&key.as_str())) =>
        {
            Ok("any".to_owned())
        }
        _ => Err(Untypable::Untyped(dumps(schema))),
    }
}

fn reference_name(reference: &Value) -> Result<String> {
    match reference.as_str() {
        Some("#") => Ok("parameters".to_owned()),
        Some(path) => match path
            .strip_prefix("#/$defs/")
            .filter(|name| !name.contains('/'))
        {
            Some(name) => Ok(name.to_owned()),
            None => Err(Untypable::Reference(path.to_owned())),
        },
        None => Err(Untypable::Reference(reference.to_string())),
    }
}

fn named_type(name: &str, schema: &Value, indent: usize, depth: usize) -> Result<String> {
    match name {
        "object" => object(schema, indent, depth + 1),
        "array" => array(schema, indent, depth),
        other => listed_type(other),
    }
}

fn listed_type(name: &str) -> Result<String> {
    Ok(match name {
        "string" => "string",
        "integer" | "number" => "number",
        "boolean" => "boolean",
        "null" => "null",
        "object" => "{}",
        "array" => "Array<any>",
        other => return Err(Untypable::UnknownType(other.to_owned())),
    }
    .to_owned())
}

/// `Array<T>`; items with a description or constraints are spread over lines to carry it.
fn array(schema: &Value, indent: usize, depth: usize) -> Result<String> {
    let Some(items) = schema.get("items") else {
        return Ok("Array<any>".to_owned());
    };
    if items.is_array() {
        return Err(Untypable::Keyword("items as a list".to_owned()));
    }
    let inner = indent + 2;
    let mut above = String::new();
    annotations(items, inner, &mut above)?;
    if above.is_empty() {
        return Ok(format!("Array<{}>", type_of(items, indent, depth + 1)?));
    }
    let (pad, end) = (" ".repeat(inner), " ".repeat(indent));
    Ok(format!(
        "Array<\n{above}{pad}{}\n{end}>",
        type_of(items, inner, depth + 1)?
    ))
}
