//! Jinja templates: those that come in model files, or that the user brings.
//!
//! A template is a program from elsewhere: it runs with bounded fuel and recursion, and what
//! clients wrote passes through it in disguise, so that only the template itself can produce
//! control tokens.

mod budget;
mod disguise;
mod environment;
mod filters;
mod guard;
mod limits;

use perigee_tokenizer::{Segment, Tokenizer};
use serde_json::{Map, Value, json};

use self::disguise::Disguise;
use self::environment::Engine;
use crate::format::{RenderError, TemplateError};
use crate::{
    Arguments, Conversation, KimiTokens, Message, Part, RenderOptions, Rendered, Role, Start,
    tool_types,
};

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    engine: Engine,
    disguise: Disguise,
}

impl Template {
    /// Compiles a source. `tokenizer` names the control tokens.
    pub(crate) fn new(source: &str, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        Ok(Self {
            engine: Engine::new(source)?,
            disguise: Disguise::new(tokenizer),
        })
    }

    /// Renders a conversation whose ids are normalised.
    pub(crate) fn render(
        &self,
        conversation: &Conversation,
        options: &RenderOptions,
        kwargs: &Map<String, Value>,
        tokens: &KimiTokens,
        first_call: usize,
    ) -> Result<Rendered, RenderError> {
        let mut context = kwargs.clone();
        let partial = conversation
            .messages
            .last()
            .is_some_and(|message| message.partial);
        context.insert(
            "messages".to_owned(),
            conversation.messages.iter().map(message).collect(),
        );
        context.insert(
            "add_generation_prompt".to_owned(),
            json!(options.add_generation_prompt && !partial),
        );
        context.insert("thinking".to_owned(), json!(options.thinking));
        context.insert("enable_thinking".to_owned(), json!(options.thinking));
        context.insert(
            "preserve_thinking".to_owned(),
            json!(options.preserve_thinking),
        );
        if !conversation.tools.is_empty() {
            context.insert(
                "tools".to_owned(),
                tool_types::declarations(&conversation.tools, options.tools_format),
            );
            let types = tool_types::declare(&conversation.tools, options.tools_format);
            // The template falls back to JSON by itself when this is absent.
            if types.starts_with('#') {
                context.insert("tools_ts_str".to_owned(), json!(types));
            }
        }
        let context = self.disguise.hide(Value::Object(context));
        let text = self
            .engine
            .render(&context)
            .map_err(|reason| RenderError::Template { reason })?;
        let mut segments = self.disguise.reveal(&text);
        if partial && options.add_generation_prompt {
            continue_last(&mut segments, conversation, options, tokens);
        }
        // In a partial thought text may follow the opening token.
        let last_think = segments
            .iter()
            .rposition(|s| matches!(s, Segment::Control(id) if Some(*id) == tokens.think));
        let last_other = segments
            .iter()
            .rposition(|s| matches!(s, Segment::Control(id) if Some(*id) != tokens.think));
        let thinks =
            last_think > last_other && (partial || last_think == segments.len().checked_sub(1));
        let start = if thinks {
            Start::Reasoning
        } else {
            Start::Content
        };
        Ok(Rendered {
            segments,
            start,
            first_call,
        })
    }
}

/// Templates close every message; a partial one goes on where it ends, in its thought if it has
/// nothing else.
fn continue_last(
    segments: &mut Vec<Segment>,
    conversation: &Conversation,
    options: &RenderOptions,
    tokens: &KimiTokens,
) {
    if segments.last() == Some(&Segment::Control(tokens.im_end)) {
        segments.pop();
    }
    let empty = conversation.messages.last().is_some_and(|message| {
        message.tool_calls.is_empty()
            && message
                .content
                .iter()
                .all(|part| matches!(part, Part::Text(text) if text.is_empty()))
    });
    if empty
        && options.thinking
        && matches!(segments.last(), Some(Segment::Control(id)) if Some(*id) == tokens.end_think)
    {
        segments.pop();
    }
}

/// A message as templates read it; what is not there is left out, for `None` would be printed.
fn message(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    let mut members = Map::new();
    members.insert("role".to_owned(), json!(role));
    members.insert("content".to_owned(), content(&message.content));
    let mut insert = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), json!(value));
        }
    };
    insert("name", message.name.as_ref());
    insert("reasoning_content", message.reasoning.as_ref());
    insert("tool_call_id", message.tool_call_id.as_ref());
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let arguments = match &call.arguments {
                Arguments::Text(text) => json!(text),
                Arguments::Json(value) => value.clone(),
            };
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
        });
        members.insert("tool_calls".to_owned(), calls.collect());
    }
    Value::Object(members)
}

fn content(parts: &[Part]) -> Value {
    if let [Part::Text(text)] = parts {
        return json!(text);
    }
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Image => json!({"type": "image"}),
            Part::Video => json!({"type": "video"}),
        })
        .collect()
}
