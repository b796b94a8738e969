//! `POST /v1/chat/completions`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use perigee_chat::{
    Conversation, ParserOptions, RenderOptions, Role, Start, ThinkingSwitch, ToolsFormat,
};
use perigee_engine::Request;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::tokenize::blocking;
use super::{parse_json, ready};
use crate::error::ApiError;
use crate::generation::{self, ChoiceEvent, Outcome, Totals, Turn};
use crate::openai::messages::to_messages;
use crate::openai::request::{ChatRequest, ToolChoice};
use crate::openai::response::Envelope;
use crate::state::{Ready, ServerOptions, ServerState};
use crate::stream::{ChunkStream, StreamFormat};
use crate::telemetry;

/// A request that has passed every check and only needs the engine.
pub(crate) struct Prepared {
    pub(crate) turn: Turn,
    n_choices: usize,
    stream: bool,
    format: StreamFormat,
    model: String,
}

/// Answers with server-sent events or one JSON object.
pub(crate) async fn completions(
    State(state): State<Arc<ServerState>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let ready = ready(&state)?;
    let value = parse_json(&body)?;
    let ping = state.options.ping_interval;
    let prepared = {
        let ready = Arc::clone(&ready);
        blocking(move || prepare(&state.options, &ready, &value)).await??
    };
    let envelope = Arc::new(Envelope::new(prepared.model.clone()));
    let events = start(&ready, &prepared)?;
    if !prepared.stream {
        return collect(&envelope, prepared.n_choices, events).await;
    }
    let chunks = ChunkStream::new(envelope, prepared.format, prepared.n_choices, events);
    let mut response = Sse::new(chunks)
        .keep_alive(KeepAlive::new().interval(ping).text("ping"))
        .into_response();
    // nginx buffers event streams unless told otherwise.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

/// Body to prompt ids, sampler and parser settings. Takes milliseconds to hundreds of them: not for the event loop.
pub(crate) fn prepare(
    options: &ServerOptions,
    ready: &Ready,
    body: &Value,
) -> Result<Prepared, ApiError> {
    let mut wire = ChatRequest::from_value(body)?;
    wire.check_supported()?;
    let tools = wire.declared_tools()?;
    let choice = wire.choice()?;
    if let ToolChoice::Function(name) = &choice
        && !tools.iter().any(|tool| &tool.name == name)
    {
        return Err(ApiError::bad_request(
            "tool_choice",
            format!("no tool is named {name:?}"),
        ));
    }
    let mut messages = to_messages(std::mem::take(&mut wire.messages))?;
    if let Some(last) = messages.last_mut()
        && last.role == Role::Assistant
        && last.tool_calls.is_empty()
        && wire.continue_final_message != Some(false)
    {
        // A trailing assistant message is a beginning to continue, as in llama.cpp.
        last.partial = true;
    }
    let render = render_options(options, &wire, body)?;
    let kwargs = template_kwargs(options, body);
    let mut conversation = Conversation { messages, tools };
    let rendered = ready
        .chat
        .render_prompt(&mut conversation, &render, &kwargs)?;
    let thinking = rendered.start == Start::Reasoning;
    let prompt = ready.tokenizer.encode(&rendered.segments);

    let stop_ids = ready.tokenizer.end_of_generation().to_vec();
    let mut sampling = wire.sampling.resolve(
        options.sampling.params(thinking),
        &ready.tokenizer,
        &stop_ids,
    )?;
    let tokens = ready.chat.tokens();
    let after_arguments = vec![tokens.call_end, tokens.section_end, tokens.call_begin];
    sampling.rest_penalties = Some((tokens.argument_begin, after_arguments));
    if choice == ToolChoice::None {
        sampling
            .logit_bias
            .push((tokens.section_begin, f32::NEG_INFINITY));
        sampling
            .logit_bias
            .push((tokens.call_begin, f32::NEG_INFINITY));
    }
    let request = Request {
        prompt,
        sampling,
        stop_ids,
        max_tokens: wire.token_limit(),
        deadline: wire
            .t_max_predict_ms
            .map(|ms| Instant::now() + Duration::from_millis(ms)),
        cache_prompt: wire.cache_prompt.unwrap_or(true),
    };
    let parser = ParserOptions {
        start: rendered.start,
        tools: conversation.tools,
        first_call: rendered.first_call,
    };
    let include_usage = wire
        .stream_options
        .and_then(|stream| stream.include_usage)
        .unwrap_or(false);
    Ok(Prepared {
        turn: Turn {
            request,
            parser,
            stop: wire.stop,
            single_call: wire.parallel_tool_calls == Some(false),
            inline_reasoning: wire.reasoning_format.as_deref() == Some("none"),
        },
        n_choices: wire.n.unwrap_or(1) as usize,
        stream: wire.stream.unwrap_or(false),
        format: StreamFormat {
            include_usage,
            progress: wire.return_progress.unwrap_or(false),
        },
        model: wire
            .model
            .unwrap_or_else(|| options.aliases.first().cloned().unwrap_or_default()),
    })
}

/// Template switches: the request's own, then the server's.
fn render_options(
    options: &ServerOptions,
    wire: &ChatRequest,
    body: &Value,
) -> Result<RenderOptions, ApiError> {
    let switch = ThinkingSwitch::resolve(body, &options.template_kwargs);
    let tools_format = body
        .pointer("/chat_template_kwargs/tools_format")
        .or_else(|| options.template_kwargs.get("tools_format"));
    let tools_format = match tools_format.and_then(Value::as_str) {
        None | Some("auto") => ToolsFormat::Auto,
        Some("ts") => ToolsFormat::TypeScript,
        Some("json") => ToolsFormat::Json,
        Some(other) => {
            let message = format!("{other:?} is not one of auto, ts and json");
            return Err(ApiError::bad_request(
                "chat_template_kwargs.tools_format",
                message,
            ));
        }
    };
    Ok(RenderOptions {
        thinking: switch.thinking,
        preserve_thinking: switch.preserve_thinking,
        tools_format,
        add_generation_prompt: wire.add_generation_prompt.unwrap_or(true),
    })
}

/// Further arguments of a Jinja template: the server's, then the request's over them.
fn template_kwargs(options: &ServerOptions, body: &Value) -> Map<String, Value> {
    let mut kwargs = options.template_kwargs.clone();
    if let Some(own) = body.get("chat_template_kwargs").and_then(Value::as_object) {
        kwargs.extend(
            own.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    kwargs
}

/// Submits every choice, then runs each in a task of its own.
fn start(
    ready: &Arc<Ready>,
    prepared: &Prepared,
) -> Result<mpsc::UnboundedReceiver<ChoiceEvent>, ApiError> {
    let mut streams = Vec::with_capacity(prepared.n_choices);
    for index in 0..prepared.n_choices {
        let mut request = prepared.turn.request.clone();
        // Choices of one seeded request differ from each other, reproducibly.
        request.sampling.seed = request
            .sampling
            .seed
            .map(|seed| seed.wrapping_add(index as u64));
        streams.push(ready.engine.submit(request)?);
    }
    let (sender, events) = mpsc::unbounded_channel();
    for (index, stream) in streams.into_iter().enumerate() {
        let (ready, turn, sender) = (Arc::clone(ready), prepared.turn.clone(), sender.clone());
        tokio::spawn(generation::run(ready, turn, stream, index, sender));
    }
    Ok(events)
}

/// Waits for all choices. A client that leaves drops this future, which cancels them.
async fn collect(
    envelope: &Envelope,
    n_choices: usize,
    mut events: mpsc::UnboundedReceiver<ChoiceEvent>,
) -> Result<Response, ApiError> {
    let mut watch = CancelWatch {
        id: envelope.id(),
        started: Instant::now(),
        done: false,
    };
    let mut outcomes: Vec<Option<Outcome>> = (0..n_choices).map(|_| None).collect();
    while outcomes.iter().any(Option::is_none) {
        match events.recv().await {
            Some(ChoiceEvent::Finished { index, outcome }) => outcomes[index] = Some(*outcome),
            Some(ChoiceEvent::Progress { .. } | ChoiceEvent::Delta { .. }) => {}
            Some(ChoiceEvent::Failed { message }) => {
                watch.done = true;
                tracing::error!(id = envelope.id(), message, "request failed");
                return Err(ApiError::internal(message));
            }
            None => {
                watch.done = true;
                return Err(ApiError::internal("the generation ended without a result"));
            }
        }
    }
    watch.done = true;
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    let totals = Totals::over(&outcomes);
    telemetry::finished(envelope.id(), &outcomes, &totals);
    Ok(Json(envelope.completion(&outcomes, &totals)).into_response())
}

/// Logs a collected request whose client left before the answer.
struct CancelWatch<'a> {
    id: &'a str,
    started: Instant,
    done: bool,
}

impl Drop for CancelWatch<'_> {
    fn drop(&mut self) {
        if !self.done {
            telemetry::cancelled(self.id, self.started.elapsed());
        }
    }
}
