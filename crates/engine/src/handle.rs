//! The caller's side of the engine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use perigee_model::Model;
use perigee_tokenizer::Tokenizer;
use tokio::sync::mpsc;

use crate::sequence::Submission;
use crate::step::{Message, StepLoop};
use crate::{Event, Request};

/// How the engine schedules.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Sequences that run at once (`--parallel`).
    pub parallel: usize,
    /// Requests that may wait beyond that; more are refused.
    pub queue: usize,
    /// Context per request (prompt + generated), at most the pool.
    pub context: usize,
    /// The model's bits do not depend on the batch (recorded for logs; the engine always
    /// schedules so that they need not).
    pub deterministic: bool,
}

/// Load figures that the step thread publishes.
#[derive(Default)]
pub(crate) struct Gauges {
    /// Submitted and not ended: waiting and running.
    pub(crate) open: AtomicUsize,
    pub(crate) running: AtomicUsize,
    pub(crate) cached_blocks: AtomicUsize,
    pub(crate) free_blocks: AtomicUsize,
}

struct Shared {
    messages: std_mpsc::Sender<Message>,
    gauges: Arc<Gauges>,
    thread: Mutex<Option<JoinHandle<()>>>,
    limit: usize,
    context: usize,
    n_vocab: usize,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.messages.send(Message::Stop {
            deadline: Instant::now(),
        });
    }
}

/// Submits requests to the step thread. Clones share it; dropping the last one stops it.
#[derive(Clone)]
pub struct EngineHandle {
    shared: Arc<Shared>,
}

/// Events of one sequence. Dropping it cancels the sequence within one step, also during prefill.
pub struct Stream {
    events: mpsc::UnboundedReceiver<Event>,
}

impl Stream {
    /// The next event; `None` after `Done` or `Failed`, or when the engine died.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The same for threads outside an async runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }
}

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Queue full.
    #[error("the queue is full: try again in {} s", retry_after.as_secs())]
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
    /// An id that the model has no row for.
    #[error("token id {id} is not below {n_vocab}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Rows of the model's head.
        n_vocab: usize,
    },
    /// The step thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}

/// What the engine is doing now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Sequences in prefill or decode.
    pub running: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// KV blocks that hold reusable prefixes.
    pub cached_blocks: usize,
    /// KV blocks that hold nothing.
    pub free_blocks: usize,
}

impl EngineHandle {
    /// Starts the step thread; it owns the model from now on.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub fn start(model: Box<dyn Model>, tokenizer: Arc<Tokenizer>, options: EngineOptions) -> Self {
        let limits = model.limits();
        let context = options.context.min(limits.n_blocks * limits.block_len);
        let gauges = Arc::new(Gauges::default());
        gauges.free_blocks.store(limits.n_blocks, Ordering::Relaxed);
        let (messages, inbox) = std_mpsc::channel();
        let (parallel, limit) = (
            options.parallel.max(1),
            options.parallel.max(1) + options.queue,
        );
        tracing::debug!(
            parallel,
            context,
            deterministic = options.deterministic,
            "engine starts"
        );
        let step_loop = StepLoop::new(
            model,
            tokenizer,
            inbox,
            Arc::clone(&gauges),
            parallel,
            context,
        );
        let thread = std::thread::Builder::new()
            .name("step".to_owned())
            .spawn(move || step_loop.run())
            .expect("the operating system grants a thread");
        let thread = Mutex::new(Some(thread));
        Self {
            shared: Arc::new(Shared {
                messages,
                gauges,
                thread,
                limit,
                context,
                n_vocab: limits.vocab_size,
            }),
        }
    }

    /// Queues a request. Never blocks.
    ///
    /// # Errors
    /// An empty prompt, one that leaves no room in the context, a full queue, a stopped engine.
    pub fn submit(&self, request: Request) -> Result<Stream, SubmitError> {
        let (prompt, context) = (request.prompt.len(), self.shared.context);
        if prompt == 0 {
            return Err(SubmitError::Empty);
        }
        if prompt > context || (prompt == context && request.max_tokens != Some(0)) {
            return Err(SubmitError::TooLong { prompt, context });
        }
        let n_vocab = self.shared.n_vocab;
        if let Some(id) = request.prompt.iter().find(|id| id.0 as usize >= n_vocab) {
            return Err(SubmitError::UnknownToken { id: id.0, n_vocab });
        }
        let gauges = &self.shared.gauges;
        let admitted = gauges
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
                (open < self.shared.limit).then_some(open + 1)
            });
        if admitted.is_err() {
            return Err(SubmitError::Busy {
                retry_after: Duration::from_secs(5),
            });
        }
        let (sender, events) = mpsc::unbounded_channel();
        let submission = Submission {
            request,
            events: sender,
            submitted: Instant::now(),
        };
        if self
            .shared
            .messages
            .send(Message::Submit(Box::new(submission)))
            .is_err()
        {
            gauges.open.fetch_sub(1, Ordering::AcqRel);
            return Err(SubmitError::Stopped);
        }
        Ok(Stream { events })
    }

    /// Tokens a request may span.
    pub fn context(&self) -> usize {
        self.shared.context
    }

    /// Current load.
    pub fn stats(&self) -> Stats {
        let gauges = &self.shared.gauges;
        let running = gauges.running.load(Ordering::Relaxed);
        Stats {
            running,
            waiting: gauges.open.load(Ordering::Relaxed).saturating_sub(running),
            cached_blocks: gauges.cached_blocks.load(Ordering::Relaxed),
            free_blocks: gauges.free_blocks.load(Ordering::Relaxed),
        }
    }

    /// Refuses new requests, lets open ones finish until `timeout`, then stops the thread. Blocking.
    pub fn shutdown(&self, timeout: Duration) {
        // Already stopped is what was wanted.
        let _ = self.shared.messages.send(Message::Stop {
            deadline: Instant::now() + timeout,
        });
        let thread = self
            .shared
            .thread
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        if let Some(thread) = thread {
            // The step loop catches panics of the model and reports them itself.
            let _ = thread.join();
        }
    }
}
