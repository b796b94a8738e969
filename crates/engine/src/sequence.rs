//! One request on its way through the steps: plain state.

use std::time::Instant;

use perigee_tokenizer::TokenId;
use tokio::sync::mpsc;

use crate::kv_blocks::BlockTable;
use crate::sampler::Sampler;
use crate::{Event, Finish, Request, Usage};

/// A request as it arrives.
pub(crate) struct Submission {
    pub(crate) request: Request,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) submitted: Instant,
}

/// A sequence, waiting or running.
pub(crate) struct Sequence {
    pub(crate) request: Request,
    events: mpsc::UnboundedSender<Event>,
    /// Prompt, then what was generated.
    pub(crate) tokens: Vec<TokenId>,
    n_prompt: usize,
    /// Positions whose KV is in the blocks.
    pub(crate) n_computed: usize,
    pub(crate) table: BlockTable,
    pub(crate) sampler: Sampler,
    /// Order of arrival: of several that could give way, the youngest does.
    pub(crate) arrival: u64,
    started: bool,
    /// Cached tokens at the first admission, for the client.
    cached: usize,
    found: usize,
    submitted: Instant,
    admitted: Instant,
    first_token: Option<Instant>,
}

impl Sequence {
    /// A sequence that has computed nothing.
    pub(crate) fn new(submission: Submission, sampler: Sampler, arrival: u64) -> Self {
        let Submission {
            mut request,
            events,
            submitted,
        } = submission;
        let tokens = std::mem::take(&mut request.prompt);
        Self {
            n_prompt: tokens.len(),
            request,
            events,
            tokens,
            n_computed: 0,
            table: BlockTable::default(),
            sampler,
            arrival,
            started: false,
            cached: 0,
            found: 0,
            submitted,
            admitted: submitted,
            first_token: None,
        }
    }

    /// Enters the batch with the KV of `cached` leading tokens. After a preemption this happens again.
    pub(crate) fn admit(&mut self, table: BlockTable, cached: usize) {
        self.table = table;
        self.n_computed = cached;
        self.found = cached;
        if !self.started {
            self.started = true;
            self.cached = cached;
            self.admitted = Instant::now();
            self.send(Event::Started { cached });
        }
    }

    /// Tokens whose KV is still to be computed. At least 1 while running.
    pub(crate) fn n_pending(&self) -> usize {
        self.tokens.len() - self.n_computed
    }

    /// Whether only the last token is pending.
    pub(crate) fn decodes(&self) -> bool {
        self.n_pending() == 1 && self.n_generated() > 0
    }

    /// Tokens sampled so far.
    pub(crate) fn n_generated(&self) -> usize {
        self.tokens.len() - self.n_prompt
    }

    /// Leading tokens whose KV it found when it entered the batch the last time.
    pub(crate) fn n_cached(&self) -> usize {
        self.found
    }

    /// Whether nobody reads the events any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Whether its time is over.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.request
            .deadline
            .is_some_and(|deadline| now >= deadline)
    }

    /// Tells the caller that `n` more tokens of the prompt are computed.
    pub(crate) fn report_progress(&self) {
        if self.n_generated() == 0 {
            self.send(Event::Progress {
                processed: self.n_computed,
                total: self.n_prompt,
            });
        }
    }

    /// Takes a sampled token, and says whether it ends the sequence.
    pub(crate) fn accept(&mut self, id: TokenId, context: usize) -> Option<Finish> {
        self.first_token.get_or_insert_with(Instant::now);
        self.tokens.push(id);
        if self.request.stop_ids.contains(&id) {
            return Some(Finish::Stop);
        }
        let limit = self
            .request
            .max_tokens
            .is_some_and(|most| self.n_generated() >= most);
        (limit || self.tokens.len() >= context).then_some(Finish::Length)
    }

    /// The last event of a sequence that came to its end.
    pub(crate) fn report_done(&self, finish: Finish) {
        let now = Instant::now();
        let first = self.first_token.unwrap_or(now);
        let usage = Usage {
            prompt_tokens: self.n_prompt,
            cached_tokens: self.cached,
            generated_tokens: self.n_generated(),
            queue_time: self.admitted.duration_since(self.submitted),
            prompt_time: first.duration_since(self.admitted),
            generation_time: now.duration_since(first),
        };
        self.send(Event::Done { finish, usage });
    }

    /// The last event of a sequence that failed.
    pub(crate) fn report_failed(&self, message: &str) {
        self.send(Event::Failed {
            message: message.to_owned(),
        });
    }

    /// Sends an event; a caller that left is noticed at the next step.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}
