//! The native renderer: K2.5's and K2.6's template as code, straight to segments.

use perigee_tokenizer::{Segment, TokenId};

use crate::{
    Arguments, Conversation, KimiTokens, Message, Part, Role, Start, python_json, tool_types,
};

/// How tools are declared to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolsFormat {
    /// TypeScript, or JSON if one of the schemas cannot be written in it (as the vendor does).
    #[default]
    Auto,
    /// TypeScript; falls back as `Auto`.
    TypeScript,
    /// Compact JSON.
    Json,
}

/// Switches of the template.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The model thinks before it answers.
    pub thinking: bool,
    /// Reasoning of all turns stays in the prompt. The template's own default is to drop it when
    /// a tool loop ends, which costs agents their prefix cache and the model its notes.
    pub preserve_thinking: bool,
    /// How tools are declared.
    pub tools_format: ToolsFormat,
    /// Whether the prompt ends with the header of the answer.
    pub add_generation_prompt: bool,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            thinking: true,
            preserve_thinking: true,
            tools_format: ToolsFormat::Auto,
            add_generation_prompt: true,
        }
    }
}

/// A prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Control tokens and text; no two texts are adjacent.
    pub segments: Vec<Segment>,
    /// Where the answer begins.
    pub start: Start,
    /// Calls in the conversation: the global index of the answer's first call.
    pub first_call: usize,
}

/// Segments under construction.
#[derive(Default)]
struct Writer {
    segments: Vec<Segment>,
}

impl Writer {
    fn control(&mut self, id: TokenId) {
        self.segments.push(Segment::Control(id));
    }

    /// A token that not every vocabulary has.
    fn optional(&mut self, id: Option<TokenId>) {
        if let Some(id) = id {
            self.control(id);
        }
    }

    /// Joins with the text before: token boundaries must not fall where two texts meet.
    fn text(&mut self, text: &str) {
        match self.segments.last_mut() {
            Some(Segment::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.segments.push(Segment::Text(text.to_owned())),
        }
    }
}

/// Renders a conversation whose ids are normalised; `first_call` is the number of its calls.
///
/// A vocabulary without think tokens belongs to a model that does not think: reasoning is left out.
pub(crate) fn render(
    conversation: &Conversation,
    options: &RenderOptions,
    tokens: &KimiTokens,
    first_call: usize,
) -> Rendered {
    let can_think = tokens.think.is_some() && tokens.end_think.is_some();
    let options = &RenderOptions {
        thinking: options.thinking && can_think,
        ..options.clone()
    };
    let mut out = Writer::default();
    if !conversation.tools.is_empty() {
        out.control(tokens.im_system);
        out.text("tool_declare");
        out.control(tokens.im_middle);
        out.text(&tool_types::declare(
            &conversation.tools,
            options.tools_format,
        ));
        out.control(tokens.im_end);
    }
    let (last, before) = match conversation.messages.split_last() {
        Some((last, before))
            if last.partial && last.role == Role::Assistant && options.add_generation_prompt =>
        {
            (Some(last), before)
        }
        _ => (None, conversation.messages.as_slice()),
    };
    // History ends with the last answer that made no calls; what follows is the loop at hand.
    let history = match options.preserve_thinking {
        true => 0,
        false => before
            .iter()
            .rposition(|m| m.role == Role::Assistant && m.tool_calls.is_empty())
            .map_or(0, |i| i + 1),
    };
    for (i, message) in before.iter().enumerate() {
        header(&mut out, message, tokens);
        let reasoning = message
            .reasoning
            .as_deref()
            .filter(|_| i >= history && options.thinking);
        body(&mut out, message, reasoning.unwrap_or_default(), tokens);
        out.control(tokens.im_end);
    }
    let start = match last {
        Some(message) => continuation(&mut out, message, options, tokens),
        None if options.add_generation_prompt => generation_prompt(&mut out, options, tokens),
        None => Start::Content,
    };
    Rendered {
        segments: out.segments,
        start,
        first_call,
    }
}

fn header(out: &mut Writer, message: &Message, tokens: &KimiTokens) {
    let (control, role) = match message.role {
        Role::User => (tokens.im_user, "user"),
        Role::Assistant => (tokens.im_assistant, "assistant"),
        Role::System => (tokens.im_system, "system"),
        Role::Tool => (tokens.im_system, "tool"),
    };
    out.control(control);
    out.text(message.name.as_deref().unwrap_or(role));
    out.control(tokens.im_middle);
}

fn body(out: &mut Writer, message: &Message, reasoning: &str, tokens: &KimiTokens) {
    match message.role {
        Role::Assistant => {
            out.optional(tokens.think);
            out.text(reasoning);
            out.optional(tokens.end_think);
            content(out, &message.content, tokens);
            calls(out, message, tokens);
        }
        Role::Tool => {
            out.text("## Return of ");
            out.text(message.tool_call_id.as_deref().unwrap_or_default());
            out.text("\n");
            content(out, &message.content, tokens);
        }
        Role::System | Role::User => content(out, &message.content, tokens),
    }
}

fn content(out: &mut Writer, parts: &[Part], tokens: &KimiTokens) {
    for part in parts {
        match part {
            Part::Text(text) => out.text(text),
            Part::Image => image(out, tokens),
            // Plain text that the vision front end replaces by chunks of frames.
            Part::Video => out.text("<|kimi_k25_video_placeholder|>\n"),
        }
    }
}

/// One image. In a vocabulary without the media tokens there is nothing that could stand for it.
fn image(out: &mut Writer, tokens: &KimiTokens) {
    let ids = (
        tokens.media_begin,
        tokens.media_content,
        tokens.media_pad,
        tokens.media_end,
    );
    if let (Some(begin), Some(content), Some(pad), Some(end)) = ids {
        out.control(begin);
        out.text("image");
        out.control(content);
        out.control(pad);
        out.control(end);
        out.text("\n");
    }
}

fn calls(out: &mut Writer, message: &Message, tokens: &KimiTokens) {
    if message.tool_calls.is_empty() {
        return;
    }
    out.control(tokens.section_begin);
    for call in &message.tool_calls {
        out.control(tokens.call_begin);
        out.text(&call.id);
        out.control(tokens.argument_begin);
        match &call.arguments {
            Arguments::Text(text) => out.text(text),
            Arguments::Json(value) => out.text(&python_json::dumps(value)),
        }
        out.control(tokens.call_end);
    }
    out.control(tokens.section_end);
}

fn generation_prompt(out: &mut Writer, options: &RenderOptions, tokens: &KimiTokens) -> Start {
    out.control(tokens.im_assistant);
    out.text("assistant");
    out.control(tokens.im_middle);
    out.optional(tokens.think);
    if options.thinking {
        return Start::Reasoning;
    }
    out.optional(tokens.end_think);
    Start::Content
}

/// The beginning of an answer, to be continued: no end marker follows. Without content the
/// continuation goes on thinking; with content it goes on answering.
fn continuation(
    out: &mut Writer,
    message: &Message,
    options: &RenderOptions,
    tokens: &KimiTokens,
) -> Start {
    header(out, message, tokens);
    out.optional(tokens.think);
    let reasoning = message
        .reasoning
        .as_deref()
        .filter(|_| options.thinking)
        .unwrap_or_default();
    out.text(reasoning);
    let empty = message
        .content
        .iter()
        .all(|part| matches!(part, Part::Text(text) if text.is_empty()));
    if options.thinking && empty && message.tool_calls.is_empty() {
        return Start::Reasoning;
    }
    out.optional(tokens.end_think);
    content(out, &message.content, tokens);
    calls(out, message, tokens);
    Start::Content
}
