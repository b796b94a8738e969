//! Choice events to server-sent events.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::response::sse::Event;
use perigee_chat::Delta;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::Stream;

use crate::error::ApiError;
use crate::generation::{ChoiceEvent, Outcome, Totals};
use crate::openai::response::{self, Envelope};
use crate::telemetry;

/// What the client asked of the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamFormat {
    /// A last chunk with usage.
    pub(crate) include_usage: bool,
    /// Chunks with `prompt_progress`.
    pub(crate) progress: bool,
}

/// The events of one request. Dropping it closes the channel, which cancels its sequences.
pub(crate) struct ChunkStream {
    envelope: Arc<Envelope>,
    format: StreamFormat,
    events: mpsc::UnboundedReceiver<ChoiceEvent>,
    ready: VecDeque<Event>,
    outcomes: Vec<Outcome>,
    n_choices: usize,
    started: Instant,
    ended: bool,
}

impl ChunkStream {
    /// Opens with the role chunk of every choice: clients get bytes before the prompt is computed.
    pub(crate) fn new(
        envelope: Arc<Envelope>,
        format: StreamFormat,
        n_choices: usize,
        events: mpsc::UnboundedReceiver<ChoiceEvent>,
    ) -> Self {
        let ready = (0..n_choices)
            .map(|index| {
                event(&envelope.chunk(
                    index,
                    json!({"role": "assistant", "content": ""}),
                    None,
                    None,
                ))
            })
            .collect();
        let outcomes = Vec::new();
        Self {
            envelope,
            format,
            events,
            ready,
            outcomes,
            n_choices,
            started: Instant::now(),
            ended: false,
        }
    }

    fn accept(&mut self, received: ChoiceEvent) {
        match received {
            ChoiceEvent::Progress {
                index,
                cached,
                processed,
                total,
            } => {
                if self.format.progress {
                    let time_ms = self.started.elapsed().as_secs_f64() * 1e3;
                    self.queue(
                        &self
                            .envelope
                            .progress(index, cached, processed, total, time_ms),
                    );
                }
            }
            ChoiceEvent::Delta {
                index,
                delta,
                logprobs,
            } => {
                let logprobs = (!logprobs.is_empty()).then(|| response::logprobs(&logprobs));
                if let Some(delta) = wire_delta(delta) {
                    self.queue(&self.envelope.chunk(index, delta, None, logprobs));
                }
            }
            ChoiceEvent::Finished { index, outcome } => {
                self.queue(&self.envelope.chunk(
                    index,
                    json!({}),
                    Some(outcome.finish_reason),
                    None,
                ));
                self.outcomes.push(*outcome);
                if self.outcomes.len() == self.n_choices {
                    self.end();
                }
            }
            ChoiceEvent::Failed { message } => self.fail(&message),
        }
    }

    fn end(&mut self) {
        let totals = Totals::over(&self.outcomes);
        if self.format.include_usage {
            self.queue(&self.envelope.usage_chunk(&totals));
        }
        self.ready.push_back(Event::default().data("[DONE]"));
        self.ended = true;
        telemetry::finished(self.envelope.id(), &self.outcomes, &totals);
    }

    fn fail(&mut self, message: &str) {
        tracing::error!(id = self.envelope.id(), message, "request failed");
        self.queue(&ApiError::internal(message).body());
        self.ended = true;
    }

    fn queue(&mut self, chunk: &Value) {
        self.ready.push_back(event(chunk));
    }
}

impl Stream for ChunkStream {
    type Item = Result<Event, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.events.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(received)) => self.accept(received),
                Poll::Ready(None) => self.fail("the generation ended without a result"),
            }
        }
    }
}

impl Drop for ChunkStream {
    fn drop(&mut self) {
        if !self.ended {
            telemetry::cancelled(self.envelope.id(), self.started.elapsed());
        }
    }
}

/// The `delta` member of a chunk; the end of a call is not an event of its own on the wire.
fn wire_delta(delta: Delta) -> Option<Value> {
    Some(match delta {
        Delta::Reasoning(text) => json!({"reasoning_content": text}),
        Delta::Content(text) => json!({"content": text}),
        Delta::CallOpen { index, id, name } => json!({"tool_calls": [{
            "index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""},
        }]}),
        Delta::CallArguments { index, json } => {
            json!({"tool_calls": [{"index": index, "function": {"arguments": json}}]})
        }
        Delta::CallClose { .. } => return None,
    })
}

fn event(chunk: &Value) -> Event {
    Event::default().data(chunk.to_string())
}
