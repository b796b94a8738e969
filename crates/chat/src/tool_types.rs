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
    let json = || dumps_with(&declarations(tools, format), &Style::compact());
    if format == ToolsFormat::Json {
        return json();
    }
    let mut types = Vec::with_capacity(tools.len());
    for tool in tools {
        match schema::function(&tool.name, &tool.declaration, &sorted(&tool.parameters())) {
            Ok(text) => types.push(text),
            Err(reason) => {
                tracing::warn!(tool = tool.name, %reason, "tools are declared as JSON: one has no TypeScript form");
                return json();
            }
        }
    }
    format!(
        "# Tools\n\n## functions\nnamespace functions {{\n{}\n}}\n",
        types.join("\n")
    )
}

/// The declarations as a JSON list: as the client wrote them when JSON was asked for, and with
/// sorted keys otherwise, as the vendor's wrapper does before it tries TypeScript.
pub(crate) fn declarations(tools: &[Tool], format: ToolsFormat) -> Value {
    let one = |tool: &Tool| match format {
        ToolsFormat::Json => tool.declaration.clone(),
        ToolsFormat::Auto | ToolsFormat::TypeScript => sorted(&tool.declaration),
    };
    tools.iter().map(one).collect()
}

/// Every object by key, recursively; lists keep their order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            members
                .into_iter()
                .map(|(key, member)| (key.clone(), sorted(member)))
                .collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
