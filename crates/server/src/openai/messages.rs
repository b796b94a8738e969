//! Messages of a request to a neutral conversation.

use perigee_chat::{Arguments, Message, Part, Role, ToolCall};
use serde::Deserialize;
use serde_json::Value;

use super::lenient;
use crate::error::ApiError;

/// One entry of `messages`, with every member that clients are known to send back.
#[derive(Debug, Deserialize)]
pub(crate) struct WireMessage {
    role: String,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    reasoning_details: Option<Vec<Value>>,
    #[serde(default)]
    thinking: Option<Value>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    tool_calls: Vec<Value>,
    #[serde(default)]
    function_call: Option<Value>,
    #[serde(default)]
    tool_call_id: Option<String>,
    #[serde(default, alias = "prefix", deserialize_with = "lenient::flag")]
    partial: Option<bool>,
}

/// Translates the list; `at` in errors is `messages[i]…`.
pub(crate) fn to_messages(wire: Vec<WireMessage>) -> Result<Vec<Message>, ApiError> {
    let last = wire.len().saturating_sub(1);
    let mut messages = Vec::with_capacity(wire.len());
    for (i, message) in wire.into_iter().enumerate() {
        let message = to_message(message, &format!("messages[{i}]"))?;
        let empty = message.role == Role::Assistant
            && message.tool_calls.is_empty()
            && message.reasoning.is_none()
            && message
                .content
                .iter()
                .all(|part| matches!(part, Part::Text(text) if text.is_empty()));
        // An empty last assistant turn is how some clients ask for a generation.
        if !(empty && i == last && !message.partial) {
            messages.push(message);
        }
    }
    if messages.is_empty() {
        return Err(ApiError::bad_request(
            "messages",
            "at least one message is needed",
        ));
    }
    Ok(messages)
}

fn to_message(wire: WireMessage, at: &str) -> Result<Message, ApiError> {
    let role = match wire.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" | "model" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        other => {
            return Err(ApiError::bad_request(
                format!("{at}.role"),
                format!(
                    "unknown role {other:?}: expected system, developer, user, assistant or tool"
                ),
            ));
        }
    };
    let (mut content, part_reasoning) = to_parts(wire.content, at)?;
    let mut reasoning = wire
        .reasoning_content
        .or_else(|| joined_text(wire.reasoning))
        .or_else(|| joined_text(wire.reasoning_details.map(Value::Array)))
        .or_else(|| joined_text(wire.thinking))
        .or(part_reasoning);
    if role == Role::Assistant && reasoning.is_none() {
        reasoning = take_think_block(&mut content);
    }
    let legacy = wire
        .function_call
        .map(|function| serde_json::json!({"id": "", "function": function}));
    let mut tool_calls = Vec::new();
    for (k, call) in wire.tool_calls.into_iter().chain(legacy).enumerate() {
        tool_calls.push(to_call(call, &format!("{at}.tool_calls[{k}]"))?);
    }
    Ok(Message {
        role,
        name: wire.name.filter(|name| !name.is_empty()),
        content,
        reasoning: reasoning.filter(|text| !text.is_empty()),
        tool_calls,
        tool_call_id: wire.tool_call_id,
        partial: wire.partial.unwrap_or(false),
    })
}

/// Content as parts, and the text of reasoning parts if there are any.
fn to_parts(content: Value, at: &str) -> Result<(Vec<Part>, Option<String>), ApiError> {
    let items = match content {
        Value::Null => return Ok((Vec::new(), None)),
        Value::String(text) => return Ok((vec![Part::Text(text)], None)),
        Value::Array(items) => items,
        other => {
            return Err(ApiError::bad_request(
                format!("{at}.content"),
                format!(
                    "expected a string or a list of parts, found {}",
                    lenient::name_of(&other)
                ),
            ));
        }
    };
    let mut parts = Vec::new();
    let mut reasoning: Option<String> = None;
    for (j, item) in items.into_iter().enumerate() {
        if let Value::String(text) = item {
            parts.push(Part::Text(text));
            continue;
        }
        let text = |member: &str| {
            item.get(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match item.get("type").and_then(Value::as_str) {
            Some("text" | "input_text" | "output_text") => parts.push(Part::Text(text("text"))),
            Some("refusal") => parts.push(Part::Text(text("refusal"))),
            Some("thinking") => reasoning
                .get_or_insert_default()
                .push_str(&text("thinking")),
            Some("reasoning") => reasoning.get_or_insert_default().push_str(&text("text")),
            None if item.get("text").is_some_and(Value::is_string) => {
                parts.push(Part::Text(text("text")))
            }
            Some(kind @ ("image" | "image_url" | "input_image" | "video" | "video_url")) => {
                return Err(ApiError::not_supported(
                    &format!("{at}.content[{j}]"),
                    format!(
                        "content parts of type {kind:?} need the vision encoder, which this build does not have"
                    ),
                ));
            }
            Some(kind) => {
                return Err(ApiError::bad_request(
                    format!("{at}.content[{j}].type"),
                    format!("content parts of type {kind:?} are not supported"),
                ));
            }
            None => {
                return Err(ApiError::bad_request(
                    format!("{at}.content[{j}].type"),
                    "a content part needs a type",
                ));
            }
        }
    }
    Ok((parts, reasoning))
}

fn to_call(call: Value, at: &str) -> Result<ToolCall, ApiError> {
    let name = call
        .pointer("/function/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if name.is_empty() {
        return Err(ApiError::bad_request(
            format!("{at}.function.name"),
            "a tool call needs a function name",
        ));
    }
    let arguments = match call.pointer("/function/arguments") {
        None | Some(Value::Null) => Arguments::Text("{}".to_owned()),
        Some(Value::String(text)) => Arguments::Text(text.clone()),
        Some(value) => Arguments::Json(value.clone()),
    };
    let id = call
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    Ok(ToolCall {
        id,
        name,
        arguments,
    })
}

/// The text of `reasoning` in its shapes: a string, or a list of objects with `text` or `thinking`.
fn joined_text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text),
        Value::Array(items) => Some(
            items
                .iter()
                .filter_map(|item| {
                    item.get("text")
                        .or_else(|| item.get("thinking"))
                        .and_then(Value::as_str)
                })
                .collect(),
        ),
        _ => None,
    }
}

/// Moves a leading `<think>…</think>` out of the content: some clients merge the two.
fn take_think_block(content: &mut [Part]) -> Option<String> {
    let Some(Part::Text(text)) = content.first_mut() else {
        return None;
    };
    let (reasoning, rest) = text
        .trim_start()
        .strip_prefix("<think>")?
        .split_once("</think>")?;
    let (reasoning, rest) = (reasoning.to_owned(), rest.trim_start().to_owned());
    *text = rest;
    Some(reasoning)
}
