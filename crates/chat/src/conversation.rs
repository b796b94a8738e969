//! A conversation, independent of any wire format.
use serde_json::Value;

/// Who speaks. `developer` is `System`, `function` is `Tool`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Text(String),
    Image,
    Video,
}

/// Arguments of a call in a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Arguments {
    /// Copied verbatim.
    Text(String),
    /// Dumped with Python's default separators.
    Json(Value),
}

/// A call that an assistant message made.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// As the client sent it; [`Conversation::normalise_ids`] makes it `functions.{name}:{k}`.
    pub id: String,
    /// Function name.
    pub name: String,
    /// Its arguments.
    pub arguments: Arguments,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Message {
    pub role: Role,
    /// Printed in the header instead of the role.
    pub name: Option<String>,
    pub content: Vec<Part>,
    /// Reasoning of an assistant message.
    pub reasoning: Option<String>,
    pub tool_calls: Vec<ToolCall>,
    /// Which call a tool message answers.
    pub tool_call_id: Option<String>,
    /// A last assistant message to be continued (`partial`, `prefix`, `continue_final_message`).
    pub partial: bool,
}

impl Message {
    /// A message with text and nothing else.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            name: None,
            content: vec![Part::Text(text.into())],
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            partial: false,
        }
    }
}

/// A declared function.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Function name.
    pub name: String,
    /// What the client sent, whole: `{"type": "function", "function": {…}}`, null fields dropped.
    pub declaration: Value,
}

impl Tool {
    /// The JSON Schema of the parameters; `{"type":"object","properties":{}}` when the client gave none.
    pub fn parameters(&self) -> Value {
        match self
            .declaration
            .get("function")
            .and_then(|f| f.get("parameters"))
        {
            Some(schema) if !schema.is_null() => schema.clone(),
            _ => serde_json::json!({"type": "object", "properties": {}}),
        }
    }
}

/// Everything that a prompt is made from.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Conversation {
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
}
