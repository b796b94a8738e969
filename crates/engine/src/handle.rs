//! The caller's side.
use crate::{Event, Request};
use perigee_model::Model;
use perigee_tokenizer::Tokenizer;
use std::sync::Arc;
use std::time::Duration;

/// How the engine schedules.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Sequences that decode at once (`--parallel`).
    pub parallel: usize,
    /// Requests that may wait beyond that; more are refused.
    pub queue: usize,
    /// Context per request (prompt + generated), at most the pool.
    pub context: usize,
    /// Output independent of batch composition, slots and cached prefix.
    pub deterministic: bool,
}

/// Submits requests to the step thread. Clones share it; dropping the last one stops it.
#[derive(Clone)]
pub struct EngineHandle {}

/// Events of one sequence. Dropping it cancels the sequence within one step, also during prefill.
pub struct Stream {}
impl Stream {
    /// The next event; `None` after `Done` or `Failed`, or when the engine died.
    pub async fn next(&mut self) -> Option<Event> { todo!() }
    /// The same for threads.
    pub fn blocking_next(&mut self) -> Option<Event> { todo!() }
}

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Queue full.
    #[error("the queue is full")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// Prompt longer than the context.
    #[error("the prompt has {prompt} tokens; the maximum context length is {context} tokens")]
    TooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// An empty prompt.
    #[error("the prompt is empty")]
    Empty,
    /// The step thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

/// What the engine is doing now.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Stats { pub running: usize, pub waiting: usize, pub cached_blocks: usize, pub free_blocks: usize }

impl EngineHandle {
    /// Starts the step thread; it owns the model from now on.
    pub fn start(_model: Box<dyn Model>, _tokenizer: Arc<Tokenizer>, _options: EngineOptions) -> Self { todo!() }
    /// Queues a request. Never blocks.
    pub fn submit(&self, _request: Request) -> Result<Stream, SubmitError> { todo!() }
    /// Tokens a request may span.
    pub fn context(&self) -> usize { todo!() }
    /// Current load.
    pub fn stats(&self) -> Stats { todo!() }
    /// Refuses new requests, lets running ones finish until `timeout`, then stops the thread. Blocking.
    pub fn shutdown(&self, _timeout: Duration) { todo!() }
}
