//! The step loop: admit, compute, sample, publish. Everything it owns is its own.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use perigee_model::{Batch, ForwardError, Limits, Model, Outputs};
use perigee_tokenizer::Tokenizer;

use crate::handle::Gauges;
use crate::kv_blocks::KvBlocks;
use crate::sampler::{Sampler, Scratch};
use crate::sequence::{Sequence, Submission};
use crate::{Event, Finish};

/// Everything that can happen to the loop from outside.
pub(crate) enum Message {
    /// A new request.
    Submit(Box<Submission>),
    /// No new requests; running ones may go on until the deadline.
    Stop {
        /// When to stop all the same.
        deadline: Instant,
    },
}

/// How a running sequence ends.
enum Ended {
    /// As it should.
    Finished(Finish),
    /// Its step failed; the message is for the client.
    Broken(String),
}

/// The state of the step thread.
pub(crate) struct StepLoop {
    model: Box<dyn Model>,
    tokenizer: Arc<Tokenizer>,
    inbox: Receiver<Message>,
    gauges: Arc<Gauges>,
    limits: Limits,
    parallel: usize,
    context: usize,
    blocks: KvBlocks,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    arrivals: u64,
    steps: usize,
    stop: Option<Instant>,
    batch: Batch,
    /// Index in `running` of each run of the batch.
    batched: Vec<usize>,
    logits: Vec<f32>,
    scratch: Scratch,
}

impl StepLoop {
    pub(crate) fn new(
        model: Box<dyn Model>,
        tokenizer: Arc<Tokenizer>,
        inbox: Receiver<Message>,
        gauges: Arc<Gauges>,
        parallel: usize,
        context: usize,
    ) -> Self {
        let limits = model.limits();
        Self {
            blocks: KvBlocks::new(limits.n_blocks, limits.block_len),
            logits: vec![0.0; limits.vocab_size * limits.max_output_rows.min(parallel).max(1)],
            model,
            tokenizer,
            inbox,
            gauges,
            limits,
            parallel,
            context,
            waiting: VecDeque::new(),
            running: Vec::new(),
            arrivals: 0,
            steps: 0,
            stop: None,
            batch: Batch::default(),
            batched: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    /// Runs until told to stop. A panic of the model ends all sequences, not the process.
    pub(crate) fn run(mut self) {
        self.model.bind_thread();
        let ended = catch_unwind(AssertUnwindSafe(|| while self.turn() {}));
        let message = if ended.is_err() {
            "the model failed; the log has the reason"
        } else {
            "the server is stopping"
        };
        if ended.is_err() {
            tracing::error!("the step thread panicked; the engine stops");
        }
        for sequence in self.running.drain(..).chain(self.waiting.drain(..)) {
            sequence.report_failed(message);
        }
        self.gauges.open.store(0, Ordering::Release);
        self.gauges.running.store(0, Ordering::Release);
    }

    /// One round. `false` when the loop is over.
    fn turn(&mut self) -> bool {
        if !self.receive() {
            return false;
        }
        self.drop_ended();
        self.admit();
        self.schedule();
        if !self.batch.runs.is_empty() {
            self.compute();
        }
        self.publish_gauges();
        true
    }

    /// Takes all messages at hand; waits for one if there is nothing else to do.
    fn receive(&mut self) -> bool {
        loop {
            let idle = self.running.is_empty() && self.waiting.is_empty();
            if self
                .stop
                .is_some_and(|deadline| idle || Instant::now() >= deadline)
            {
                return false;
            }
            let message = if idle {
                match self.inbox.recv() {
                    Ok(message) => message,
                    Err(_) => return false,
                }
            } else {
                match self.inbox.try_recv() {
                    Ok(message) => message,
                    // Without handles no new requests come, but those at hand are finished.
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
                }
            };
            match message {
                Message::Submit(submission) if self.stop.is_some() => {
                    let _ = submission.events.send(Event::Failed {
                        message: "the server is stopping".to_owned(),
                    });
                    self.gauges.open.fetch_sub(1, Ordering::AcqRel);
                }
                Message::Submit(submission) => {
                    let sampler = Sampler::new(&submission.request.sampling, &self.tokenizer);
                    self.waiting
                        .push_back(Sequence::new(*submission, sampler, self.arrivals));
                    self.arrivals += 1;
                }
                Message::Stop { deadline } => self.stop = Some(deadline),
            }
        }
    }

    /// Removes sequences whose caller left or whose time is over.
    fn drop_ended(&mut self) {
        let now = Instant::now();
        let ended = |sequence: &Sequence| sequence.is_abandoned() || sequence.is_late(now);
        for i in (0..self.running.len()).rev() {
            if ended(&self.running[i]) {
                self.end(i, Ended::Finished(Finish::Deadline));
            }
        }
        let waiting = self.waiting.len();
        self.waiting.retain(|sequence| {
            let ended = ended(sequence);
            if ended {
                sequence.report_done(Finish::Deadline);
            }
            !ended
        });
        self.gauges
            .open
            .fetch_sub(waiting - self.waiting.len(), Ordering::AcqRel);
    }

    /// Lets waiting sequences in while there are places and blocks.
    fn admit(&mut self) {
        let mut i = 0;
        while self.running.len() < self.parallel && i < self.waiting.len() {
            if self.prefix_is_coming(&self.waiting[i]) {
                // Its turn comes when the other one has computed what both need.
                i += 1;
                continue;
            }
            let sequence = &self.waiting[i];
            let read_cache = sequence.request.cache_prompt || sequence.n_generated() > 0;
            let Some((table, cached)) =
                self.blocks
                    .admit(&sequence.tokens, read_cache, &mut *self.model)
            else {
                if self.running.is_empty() {
                    // Even the empty pool does not hold it: only possible if the pool is smaller than the context.
                    self.fail_waiting(i, "the KV cache has no room for this prompt");
                    continue;
                }
                return;
            };
            if let Some(mut sequence) = self.waiting.remove(i) {
                sequence.admit(table, cached);
                self.running.push(sequence);
            }
        }
    }

    /// Whether a running prefill is about to compute a prefix of this prompt that is not cached yet.
    fn prefix_is_coming(&self, sequence: &Sequence) -> bool {
        if !sequence.request.cache_prompt {
            return false;
        }
        let n_common = |other: &Sequence| {
            let pairs = sequence.tokens.iter().zip(&other.tokens);
            let n = pairs.take_while(|(a, b)| a == b).count();
            // Only whole blocks are shared while they are being filled.
            n / self.limits.block_len * self.limits.block_len
        };
        let coming = self
            .running
            .iter()
            .filter(|other| !other.decodes())
            .map(|other| (n_common(other), other.n_computed))
            .filter(|&(common, computed)| common > computed)
            .map(|(common, _)| common)
            .max();
        coming.is_some_and(|common| common > self.blocks.n_reusable(&sequence.tokens))
    }

    /// Fills the batch: every decoding sequence first, then prefill with what room is left.
    fn schedule(&mut self) {
        self.make_room();
        self.batch.clear();
        self.batched.clear();
        let (mut room, mut rows) = (self.limits.max_batch_tokens, self.limits.max_output_rows);
        // Where not everybody fits (-ub 1, say), who comes first changes from step to step.
        self.steps = self.steps.wrapping_add(1);
        let tight = room.min(rows) <= self.running.len();
        let phases = if tight && self.steps.is_multiple_of(2) {
            [true, false]
        } else {
            [false, true]
        };
        let first = if tight {
            self.steps / 2 % self.running.len().max(1)
        } else {
            0
        };
        for prefill in phases {
            for (i, sequence) in self
                .running
                .iter()
                .enumerate()
                .cycle()
                .skip(first)
                .take(self.running.len())
            {
                if sequence.decodes() == prefill || room == 0 {
                    continue;
                }
                let n = sequence.n_pending().min(room);
                let wants_row = n == sequence.n_pending() && sequence.request.max_tokens != Some(0);
                if wants_row && rows == 0 {
                    continue;
                }
                let start = sequence.n_computed;
                let outputs = if wants_row {
                    Outputs::Last
                } else {
                    Outputs::None
                };
                self.batch.push(
                    &sequence.tokens[start..start + n],
                    start,
                    &sequence.table.blocks,
                    outputs,
                );
                self.batched.push(i);
                room -= n;
                rows -= usize::from(wants_row);
            }
        }
    }

    /// Gives every running sequence blocks for its pending tokens. If the pool is exhausted the
    /// youngest gives way: it waits again, and what it computed stays cached as long as possible.
    fn make_room(&mut self) {
        let mut i = 0;
        while i < self.running.len() {
            let sequence = &mut self.running[i];
            let n = sequence.tokens.len();
            if self.blocks.extend(&mut sequence.table, n) {
                i += 1;
                continue;
            }
            let youngest = (0..self.running.len()).max_by_key(|&i| self.running[i].arrival);
            let Some(youngest) = youngest else { return };
            if self.running.len() == 1 {
                // Alone, and the pool is full: its context ends here.
                self.end(youngest, Ended::Finished(Finish::Length));
                return;
            }
            let mut sequence = self.running.remove(youngest);
            let table = std::mem::take(&mut sequence.table);
            self.blocks
                .finish(table, &sequence.tokens, sequence.n_computed);
            sequence.n_computed = 0;
            tracing::debug!(
                tokens = sequence.tokens.len(),
                "preempted: the KV pool is full"
            );
            self.waiting.push_front(sequence);
            i = 0;
        }
    }

    /// Runs the batch and hands out its results.
    fn compute(&mut self) {
        let n_rows = self.batch.n_outputs();
        let rows = &mut self.logits[..n_rows * self.limits.vocab_size];
        match self.model.forward(&self.batch, rows) {
            // Which rows are broken is seen when they are sampled.
            Ok(()) | Err(ForwardError::NotFinite { .. }) => self.hand_out(),
            Err(error) => {
                tracing::error!(%error, "a step failed");
                let mut failed = std::mem::take(&mut self.batched);
                failed.sort_unstable();
                for &i in failed.iter().rev() {
                    self.end(i, Ended::Broken(error.to_string()));
                }
                self.batched = failed;
            }
        }
    }

    /// Advances every sequence of the batch, samples where a row is there.
    fn hand_out(&mut self) {
        let mut row = 0;
        let mut ended: Vec<(usize, Ended)> = Vec::new();
        for (run, &i) in self.batch.runs.iter().zip(&self.batched) {
            let sequence = &mut self.running[i];
            sequence.n_computed += run.tokens.len();
            let mut sampled = None;
            if run.outputs == Outputs::Last {
                let start = row * self.limits.vocab_size;
                let logits = &mut self.logits[start..start + self.limits.vocab_size];
                row += 1;
                let n_generated = sequence.n_generated();
                let (tokens, scratch) = (&sequence.tokens, &mut self.scratch);
                match sequence
                    .sampler
                    .sample(logits, tokens, n_generated, &self.tokenizer, scratch)
                {
                    Ok(token) => sampled = Some(token),
                    Err(error) => {
                        tracing::error!(%error, "a sequence failed");
                        ended.push((i, Ended::Broken(error.to_string())));
                        continue;
                    }
                }
            }
            // Only now: what led to broken logits must not be found by others.
            self.blocks
                .publish(&mut sequence.table, &sequence.tokens, sequence.n_computed);
            sequence.report_progress();
            let finish = match sampled {
                Some(token) => {
                    let id = token.id;
                    sequence.send(Event::Token {
                        id,
                        logprobs: token.logprobs,
                    });
                    sequence.accept(id, self.context)
                }
                None => (sequence.n_pending() == 0).then_some(Finish::Length),
            };
            ended.extend(finish.map(|finish| (i, Ended::Finished(finish))));
        }
        ended.sort_unstable_by_key(|(i, _)| *i);
        for (i, how) in ended.into_iter().rev() {
            self.end(i, how);
        }
    }

    /// Takes a sequence out of the batch. Its KV stays in the cache unless it may be broken.
    fn end(&mut self, i: usize, how: Ended) {
        let mut sequence = self.running.swap_remove(i);
        let table = std::mem::take(&mut sequence.table);
        match &how {
            Ended::Finished(_) => self
                .blocks
                .finish(table, &sequence.tokens, sequence.n_computed),
            Ended::Broken(_) => self.blocks.discard(table, sequence.n_cached()),
        }
        self.gauges.open.fetch_sub(1, Ordering::AcqRel);
        // Before the last event, so that its receiver sees a place free.
        self.publish_gauges();
        match how {
            Ended::Finished(finish) => sequence.report_done(finish),
            Ended::Broken(message) => sequence.report_failed(&message),
        }
    }

    fn fail_waiting(&mut self, i: usize, message: &str) {
        if let Some(sequence) = self.waiting.remove(i) {
            sequence.report_failed(message);
            self.gauges.open.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn publish_gauges(&self) {
        self.gauges
            .running
            .store(self.running.len(), Ordering::Relaxed);
        self.gauges
            .cached_blocks
            .store(self.blocks.n_cached(), Ordering::Relaxed);
        self.gauges
            .free_blocks
            .store(self.blocks.n_free(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
