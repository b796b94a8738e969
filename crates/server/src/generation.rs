//! One choice of one request: tokens in, deltas out.
//!
//! Streaming and collected answers are the same path; the collected one merely
//! applies the deltas. Each choice runs in a task of its own, and ends (which
//! drops the engine's stream and so cancels the sequence) when its reader leaves.

use std::sync::Arc;
use std::time::Duration;

use perigee_chat::{Delta, Ending, OutputParser, ParserOptions, Piece, Reply, Start};
use perigee_engine::{Event, Finish, Request, StopStrings, Stream, TokenId, TokenLogprobs, Usage};
use perigee_tokenizer::Utf8Decoder;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::openai::response;
use crate::state::Ready;

/// Everything that a choice needs beside the engine.
#[derive(Clone)]
pub(crate) struct Turn {
    /// For the engine.
    pub(crate) request: Request,
    /// For the parser.
    pub(crate) parser: ParserOptions,
    /// Stop strings, matched in content only.
    pub(crate) stop: Vec<String>,
    /// `parallel_tool_calls: false`: the turn ends with its first call.
    pub(crate) single_call: bool,
    /// `reasoning_format: none`: reasoning stays in the content, in its tags.
    pub(crate) inline_reasoning: bool,
}

/// What a reader of choice `index` sees, in order.
pub(crate) enum ChoiceEvent {
    /// A prompt chunk was computed.
    Progress {
        index: usize,
        cached: usize,
        processed: usize,
        total: usize,
    },
    /// A step of the answer, with the log-probabilities of its content tokens.
    Delta {
        index: usize,
        delta: Delta,
        logprobs: Vec<Value>,
    },
    /// The end. Content tokens whose text came out empty leave their log-probabilities here.
    Finished { index: usize, outcome: Box<Outcome> },
    /// The sequence failed.
    Failed { message: String },
}

/// How a choice ended.
pub(crate) struct Outcome {
    /// The answer, collected.
    pub(crate) reply: Reply,
    /// `stop`, `length` or `tool_calls`.
    pub(crate) finish_reason: &'static str,
    /// Whether log-probabilities were asked for.
    pub(crate) wants_logprobs: bool,
    /// Of all content tokens.
    pub(crate) logprobs: Vec<Value>,
    /// Counts and times.
    pub(crate) totals: Totals,
}

/// Counts and times of a choice, or of all choices of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) generated_tokens: usize,
    pub(crate) reasoning_tokens: usize,
    pub(crate) queue_time: Duration,
    pub(crate) prompt_time: Duration,
    pub(crate) generation_time: Duration,
}

impl Totals {
    fn of(usage: &Usage, reasoning_tokens: usize) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            generated_tokens: usage.generated_tokens,
            reasoning_tokens,
            queue_time: usage.queue_time,
            prompt_time: usage.prompt_time,
            generation_time: usage.generation_time,
        }
    }

    /// Totals over choices: the prompt counts once, as OpenAI counts it.
    pub(crate) fn over(outcomes: &[Outcome]) -> Self {
        let mut sum = Self::default();
        for totals in outcomes.iter().map(|outcome| &outcome.totals) {
            sum.prompt_tokens = sum.prompt_tokens.max(totals.prompt_tokens);
            sum.cached_tokens = sum.cached_tokens.max(totals.cached_tokens);
            sum.generated_tokens += totals.generated_tokens;
            sum.reasoning_tokens += totals.reasoning_tokens;
            sum.queue_time = sum.queue_time.max(totals.queue_time);
            sum.prompt_time = sum.prompt_time.max(totals.prompt_time);
            sum.generation_time = sum.generation_time.max(totals.generation_time);
        }
        sum
    }
}

/// Runs choice `index` to its end, or until nobody reads `events` any more.
pub(crate) async fn run(
    ready: Arc<Ready>,
    turn: Turn,
    mut stream: Stream,
    index: usize,
    events: mpsc::UnboundedSender<ChoiceEvent>,
) {
    let mut choice = Choice::new(ready, turn, index, events.clone());
    loop {
        let event = tokio::select! {
            event = stream.next() => event,
            () = events.closed() => return,
        };
        let done = match event {
            Some(Event::Started { cached }) => choice.admitted(cached),
            Some(Event::Progress { processed, total }) => choice.progress(processed, total),
            Some(Event::Token { id, logprobs }) => choice.token(id, logprobs.as_deref()),
            Some(Event::Done { finish, usage }) => {
                choice.done(finish, &usage);
                true
            }
            Some(Event::Failed { message }) => choice.failed(message),
            None => choice.failed("the engine has stopped".to_owned()),
        };
        if done {
            return;
        }
    }
}

struct Choice {
    ready: Arc<Ready>,
    index: usize,
    events: mpsc::UnboundedSender<ChoiceEvent>,
    parser: OutputParser,
    decoder: Utf8Decoder,
    stop: StopStrings,
    single_call: bool,
    inline_reasoning: Option<bool>,
    wants_logprobs: bool,
    /// Every delta that was sent, for the collected reply.
    sent: Vec<Delta>,
    /// Log-probabilities of content tokens whose text is still held back.
    pending: Vec<Value>,
    logprobs: Vec<Value>,
    text: String,
    deltas: Vec<Delta>,
    in_reasoning: bool,
    started: std::time::Instant,
    totals: Totals,
    cut_by_stop: bool,
}

impl Choice {
    fn new(
        ready: Arc<Ready>,
        turn: Turn,
        index: usize,
        events: mpsc::UnboundedSender<ChoiceEvent>,
    ) -> Self {
        let in_reasoning = turn.parser.start == Start::Reasoning;
        Self {
            parser: OutputParser::new(*ready.chat.tokens(), turn.parser),
            ready,
            index,
            events,
            decoder: Utf8Decoder::new(),
            stop: StopStrings::new(turn.stop),
            single_call: turn.single_call,
            inline_reasoning: turn.inline_reasoning.then_some(false),
            wants_logprobs: turn.request.sampling.logprobs.is_some(),
            sent: Vec::new(),
            pending: Vec::new(),
            logprobs: Vec::new(),
            text: String::new(),
            deltas: Vec::new(),
            in_reasoning,
            started: std::time::Instant::now(),
            totals: Totals {
                prompt_tokens: turn.request.prompt.len(),
                ..Totals::default()
            },
            cut_by_stop: false,
        }
    }

    fn admitted(&mut self, cached: usize) -> bool {
        self.totals.cached_tokens = cached;
        self.totals.queue_time = self.started.elapsed();
        self.started = std::time::Instant::now();
        false
    }

    fn progress(&mut self, processed: usize, total: usize) -> bool {
        let cached = self.totals.cached_tokens;
        // A reader that left is noticed by `run`.
        let _ = self.events.send(ChoiceEvent::Progress {
            index: self.index,
            cached,
            processed,
            total,
        });
        false
    }

    /// Consumes a token; `true` when the answer is complete before the engine says so.
    fn token(&mut self, id: TokenId, logprobs: Option<&TokenLogprobs>) -> bool {
        if self.totals.generated_tokens == 0 {
            self.totals.prompt_time = self.started.elapsed();
            self.started = std::time::Instant::now();
        }
        self.totals.generated_tokens += 1;
        self.totals.reasoning_tokens += usize::from(self.in_reasoning);
        let tokens = *self.ready.chat.tokens();
        if Some(id) == tokens.end_think || id == tokens.section_begin {
            self.in_reasoning = false;
        }
        let control = self.ready.tokenizer.is_control(id);
        if let Some(logprobs) = logprobs
            && !control
            && self.parser.in_content()
        {
            self.pending
                .push(response::logprob_entry(&self.ready.tokenizer, id, logprobs));
        }
        self.text.clear();
        if control {
            self.decoder.finish(&mut self.text);
        } else {
            self.decoder.push(&self.ready.tokenizer, id, &mut self.text);
        }
        if !self.text.is_empty() {
            self.parser.push(Piece::Text(&self.text), &mut self.deltas);
        }
        if control {
            self.parser.push(Piece::Control(id), &mut self.deltas);
        }
        if self.forward() {
            let finish = if self.cut_by_stop {
                "stop"
            } else {
                "tool_calls"
            };
            self.totals.generation_time = self.started.elapsed();
            self.finish(finish);
            return true;
        }
        false
    }

    fn done(&mut self, finish: Finish, usage: &Usage) {
        let ending = match finish {
            Finish::Stop => Ending::Stop,
            Finish::Length | Finish::Deadline => Ending::Length,
        };
        self.text.clear();
        self.decoder.finish(&mut self.text);
        if !self.text.is_empty() {
            self.parser.push(Piece::Text(&self.text), &mut self.deltas);
        }
        self.parser.finish(ending, &mut self.deltas);
        self.totals = Totals::of(usage, self.totals.reasoning_tokens);
        let cut = self.forward();
        if !cut {
            let mut rest = String::new();
            self.stop.finish(&mut rest);
            if !rest.is_empty() {
                self.send(Delta::Content(rest));
            }
        }
        let called = self
            .sent
            .iter()
            .any(|delta| matches!(delta, Delta::CallClose { .. }));
        self.finish(match ending {
            Ending::Length if !cut => "length",
            _ if called => "tool_calls",
            _ => "stop",
        });
    }

    fn failed(&mut self, message: String) -> bool {
        let _ = self.events.send(ChoiceEvent::Failed { message });
        true
    }

    /// Sends the deltas at hand; `true` when one of them completes the answer.
    fn forward(&mut self) -> bool {
        let mut deltas = std::mem::take(&mut self.deltas);
        let mut complete = false;
        for delta in deltas.drain(..) {
            if complete {
                break;
            }
            match delta {
                Delta::Reasoning(text) if self.inline_reasoning.is_some() => {
                    let opened = self.inline_reasoning.replace(true) == Some(true);
                    self.send(Delta::Content(if opened {
                        text
                    } else {
                        format!("<think>{text}")
                    }));
                }
                Delta::Content(text) => {
                    if self.inline_reasoning == Some(true) {
                        self.inline_reasoning = Some(false);
                        self.send(Delta::Content("</think>".to_owned()));
                    }
                    let mut passed = String::new();
                    self.cut_by_stop = self.stop.push(&text, &mut passed);
                    if !passed.is_empty() {
                        self.send(Delta::Content(passed));
                    }
                    complete = self.cut_by_stop;
                }
                delta => {
                    // Content held back for a stop string comes before what follows it.
                    let mut held = String::new();
                    self.stop.finish(&mut held);
                    if !held.is_empty() {
                        self.send(Delta::Content(held));
                    }
                    complete = self.single_call && matches!(delta, Delta::CallClose { .. });
                    self.send(delta);
                }
            }
        }
        self.deltas = deltas;
        complete
    }

    fn send(&mut self, delta: Delta) {
        let logprobs = match delta {
            Delta::Content(_) => std::mem::take(&mut self.pending),
            _ => Vec::new(),
        };
        self.logprobs.extend(logprobs.iter().cloned());
        self.sent.push(delta.clone());
        let _ = self.events.send(ChoiceEvent::Delta {
            index: self.index,
            delta,
            logprobs,
        });
    }

    fn finish(&mut self, finish_reason: &'static str) {
        let outcome = Outcome {
            reply: Reply::collect(&self.sent),
            finish_reason,
            wants_logprobs: self.wants_logprobs,
            logprobs: std::mem::take(&mut self.logprobs),
            totals: self.totals,
        };
        let _ = self.events.send(ChoiceEvent::Finished {
            index: self.index,
            outcome: Box::new(outcome),
        });
    }
}
