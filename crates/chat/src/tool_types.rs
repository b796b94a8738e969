//! Tool declarations: JSON Schema as the TypeScript that the model was trained on.

mod schema;

use serde_json::Value;

use crate::python_json::{Style, dumps_with};
use crate::{Tool, ToolsFormat};

/// The text of the declaration block.
///
/// As the vendor's encoder does, one schema that TypeScript cannot express sends the whole
/// list to JSON: a mixture is something the model never saw.
pub(crate) fn declare(tools: &[Tool], format: ToolsFormat) -> String {
    if format == ToolsFormat::Json {
        return json(tools.iter().map(|tool| tool.declaration.clone()));
    }
    let sorted: Vec<Value> = tools.iter().map(|tool| sorted(&tool.declaration)).collect();
    let mut types = Vec::with_capacity(tools.len());
    for (tool, declaration) in tools.iter().zip(&sorted) {
        match schema::function(&tool.name, declaration, &sorted_parameters(tool)) {
            Ok(text) => types.push(text),
            Err(reason) => {
                tracing::warn!(tool = tool.name, %reason, "tools are declared as JSON: one has no TypeScript form");
                return json(sorted.into_iter());
            }
        }
    }
    format!("# Tools\n\n## functions\nnamespace functions {{\n{}\n}}\n", types.join("\n"))
}

fn json(tools: impl Iterator<Item = Value>) -> String {
    dumps_with(&Value::Array(tools.collect()), &Style::compact())
}

fn sorted_parameters(tool: &Tool) -> Value {
    sorted(&tool.parameters())
}

/// Every object by key, recursively; lists keep their order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            members.into_iter().map(|(key, member)| (key.clone(), sorted(member))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
