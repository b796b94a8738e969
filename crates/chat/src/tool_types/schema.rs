//! One JSON Schema to one TypeScript type.

use serde_json::{Map, Value};

use crate::python_json::dumps;

/// Deeper schemas go to JSON: they come from clients, and recursion must end.
const MAX_DEPTH: usize = 64;

/// Why a schema has no TypeScript form.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untypable {
    #[error("reference {0:?} is not to # or to one of $defs")]
    Reference(String),
    #[error("a schema without $ref, anyOf, enum or type: {0}")]
    Untyped(String),
    #[error("unknown type {0:?} in a list of types")]
    UnknownType(String),
    #[error("enum value {0} is not of the type beside it")]
    EnumValue(String),
    #[error("additionalProperties is neither a schema nor a boolean")]
    AdditionalProperties,
    #[error("nested deeper than 64 levels")]
    TooDeep,
}

type Result<T> = std::result::Result<T, Untypable>;

/// The declaration of one function: interfaces of its `$defs`, description, `type NAME = …`.
pub(super) fn function(name: &str, declaration: &Value, parameters: &Value) -> Result<String> {
    let empty = Map::new();
    let definitions = parameters
        .get("$defs")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let writer = Writer { definitions };
    let mut out = String::new();
    let body = if refers_to_root(parameters, 0)? {
        // The root then becomes an interface of its own, without its additional properties.
        let mut root = parameters.clone();
        if let Some(members) = root.as_object_mut() {
            members.shift_remove("additionalProperties");
        }
        out += &format!("interface parameters {}\n", writer.object(&root, 0, 0)?);
        "parameters".to_owned()
    } else {
        writer.object(parameters, 0, 0)?
    };
    for (name, schema) in definitions {
        comment(
            schema
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            0,
            &mut out,
        );
        out += &format!("interface {name} {}\n", writer.type_of(schema, 0, 0)?);
    }
    let description = declaration
        .pointer("/function/description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    comment(description, 0, &mut out);
    out += &format!("type {name} = (_: {body}) => any;");
    Ok(out)
}

/// Whether the parameters themselves, not their definitions, hold a `$ref` to `#`.
fn refers_to_root(schema: &Value, depth: usize) -> Result<bool> {
    if depth > MAX_DEPTH {
        return Err(Untypable::TooDeep);
    }
    let mut members: Vec<&Value> = Vec::new();
    match schema {
        Value::Object(object) if object.get("$ref").and_then(Value::as_str) == Some("#") => {
            return Ok(true);
        }
        Value::Object(object) => members.extend(
            object
                .iter()
                .filter(|(key, _)| *key != "$defs")
                .map(|(_, value)| value),
        ),
        Value::Array(items) => members.extend(items),
        _ => {}
    }
    members.into_iter().try_fold(false, |found, member| {
        Ok(found || refers_to_root(member, depth + 1)?)
    })
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

/// What types need to know of the schema that they are part of.
struct Writer<'a> {
    definitions: &'a Map<String, Value>,
}

impl Writer<'_> {
    /// An object type with its fields, `indent` spaces in.
    fn object(&self, schema: &Value, indent: usize, depth: usize) -> Result<String> {
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
            notes(field, inner, &mut text);
            if let Some(default) = field.get("default").filter(|default| !default.is_null()) {
                comment(
                    &format!("Default: {}", default_text(default)),
                    inner,
                    &mut text,
                );
            }
            let mark = if required.contains(&name.as_str()) {
                ""
            } else {
                "?"
            };
            text += &format!(
                "{}{name}{mark}: {}",
                " ".repeat(inner),
                self.type_of(field, inner, depth + 1)?
            );
            fields.push(text);
        }
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(true)) => Some("any".to_owned()),
            Some(Value::Bool(false)) => Some("never".to_owned()),
            Some(schema @ Value::Object(_)) => Some(self.type_of(schema, inner, depth + 1)?),
            Some(_) => return Err(Untypable::AdditionalProperties),
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

    /// The type of a value. Of several keywords the first of `$ref`, `anyOf`, `enum`, `type` counts,
    /// and what stands beside it (`oneOf`, `const`, …) is passed over.
    fn type_of(&self, schema: &Value, indent: usize, depth: usize) -> Result<String> {
        if depth > MAX_DEPTH {
            return Err(Untypable::TooDeep);
        }
        let members = match schema {
            Value::Bool(true) => return Ok("any".to_owned()),
            Value::Bool(false) => return Ok("null".to_owned()),
            Value::Object(members) => members,
            other => return Err(Untypable::Untyped(other.to_string())),
        };
        if let Some(reference) = members.get("$ref") {
            return self.reference(reference);
        }
        if let Some(alternatives) = members.get("anyOf").and_then(Value::as_array) {
            let types = alternatives
                .iter()
                .map(|schema| self.type_of(schema, indent, depth + 1));
            return Ok(types.collect::<Result<Vec<_>>>()?.join(" | "));
        }
        if let Some(values) = members.get("enum").and_then(Value::as_array) {
            return literals(values, members.get("type"));
        }
        match members.get("type") {
            Some(Value::String(name)) if name == "object" => self.object(schema, indent, depth + 1),
            Some(Value::String(name)) if name == "array" => self.array(schema, indent, depth),
            Some(Value::String(name)) if name == "integer" => Ok("number".to_owned()),
            // A type that nobody knows is printed as it is.
            Some(Value::String(name)) => Ok(name.clone()),
            Some(Value::Array(names)) => {
                let types = names
                    .iter()
                    .map(|name| listed_type(name.as_str().unwrap_or_default()));
                Ok(types.collect::<Result<Vec<_>>>()?.join(" | "))
            }
            _ if members.is_empty() => Ok("any".to_owned()),
            _ => Err(Untypable::Untyped(dumps(schema))),
        }
    }

    fn reference(&self, reference: &Value) -> Result<String> {
        let path = reference.as_str().unwrap_or_default();
        if path == "#" {
            return Ok("parameters".to_owned());
        }
        let name = path
            .strip_prefix("#/$defs/")
            .filter(|name| self.definitions.contains_key(*name));
        name.map(str::to_owned)
            .ok_or_else(|| Untypable::Reference(path.to_owned()))
    }

    /// `Array<T>`; items with a description or constraints are spread over lines to carry it.
    fn array(&self, schema: &Value, indent: usize, depth: usize) -> Result<String> {
        let items = match schema.get("items") {
            None | Some(Value::Null | Value::Bool(false)) => return Ok("Array<any>".to_owned()),
            Some(items) => items,
        };
        let inner = indent + 2;
        let mut above = String::new();
        notes(items, inner, &mut above);
        if above.is_empty() {
            return Ok(format!(
                "Array<{}>",
                self.type_of(items, indent, depth + 1)?
            ));
        }
        let (pad, end) = (" ".repeat(inner), " ".repeat(indent));
        Ok(format!(
            "Array<\n{above}{pad}{}\n{end}>",
            self.type_of(items, inner, depth + 1)?
        ))
    }
}

/// Description and constraints above a field or an item.
fn notes(schema: &Value, indent: usize, out: &mut String) {
    comment(
        schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        indent,
        out,
    );
    comment(&constraints(schema), indent, out);
}

/// `k: v` pairs of the constraints that belong to the type, in alphabetical order.
fn constraints(schema: &Value) -> String {
    if ["$ref", "anyOf", "enum"]
        .iter()
        .any(|keyword| schema.get(*keyword).is_some())
    {
        return String::new();
    }
    let keys: &[&str] = match schema.get("type").and_then(Value::as_str) {
        Some("string") => &["maxLength", "minLength", "pattern"],
        Some("integer" | "number") => &["maximum", "minimum"],
        Some("array") => &["maxItems", "minItems"],
        _ => &[],
    };
    let pair = |key: &&str| {
        schema
            .get(*key)
            .map(|value| format!("{key}: {}", python_text(value)))
    };
    keys.iter().filter_map(pair).collect::<Vec<_>>().join(", ")
}

/// A value as Python's `str` writes it.
fn python_text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => dumps(other),
    }
}

/// A default: JSON, but for booleans and numbers, which are Python's.
fn default_text(value: &Value) -> String {
    if value.is_string() {
        dumps(value)
    } else {
        python_text(value)
    }
}

/// A union of literals: strings in quotes as they are, others as Python writes them. A type
/// beside the values must be theirs.
fn literals(values: &[Value], kind: Option<&Value>) -> Result<String> {
    let kind = match kind {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => match names.as_slice() {
            [Value::String(one)] => Some(one.as_str()),
            [Value::String(null), Value::String(one)]
            | [Value::String(one), Value::String(null)]
                if null == "null" =>
            {
                Some(one.as_str())
            }
            _ => return Err(Untypable::EnumValue(dumps(&Value::Array(names.clone())))),
        },
        _ => None,
    };
    let fits = |value: &Value| match kind {
        _ if value.is_null() => true,
        Some("string") => value.is_string(),
        // Python's booleans are integers.
        Some("number") => value.is_number() || value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64() || value.is_boolean(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    let literal = |value: &Value| match value {
        value if !fits(value) => Err(Untypable::EnumValue(dumps(value))),
        Value::String(text) => Ok(format!("\"{text}\"")),
        other => Ok(python_text(other)),
    };
    Ok(values
        .iter()
        .map(literal)
        .collect::<Result<Vec<_>>>()?
        .join(" | "))
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
