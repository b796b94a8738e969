use std::sync::Mutex;
use std::time::Duration;

use perigee_model::BlockId;
use perigee_tokenizer::{TokenId, VocabParts};

use super::*;
use crate::{EngineHandle, EngineOptions, Request, SamplingParams, Stream, SubmitError};

const BLOCK_LEN: usize = 4;

/// What the fake model has seen.
#[derive(Default)]
struct Seen {
    /// (start, n tokens) of every run of every step.
    steps: Vec<Vec<(usize, usize)>>,
}

/// Checks that the KV it would attend to holds exactly the tokens of the sequence (each token is
/// its position's value plus the sum of those before, modulo 200), and continues the sequence so.
struct Checker {
    limits: Limits,
    kv: Vec<Option<TokenId>>,
    seen: Arc<Mutex<Seen>>,
    gate: Option<std::sync::mpsc::Receiver<()>>,
    break_on: Option<u32>,
}

fn next_of(history: &[TokenId]) -> TokenId {
    TokenId(
        history.iter().fold(history.len() as u32, |sum, id| {
            sum.wrapping_mul(31).wrapping_add(id.0)
        }) % 200,
    )
}

impl Model for Checker {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch, logits: &mut [f32]) -> Result<(), ForwardError> {
        if let Some(gate) = &self.gate {
            // The test holds the step until it has looked at the state.
            let _ = gate.recv();
        }
        assert!(batch.tokens.len() <= self.limits.max_batch_tokens);
        assert!(batch.n_outputs() <= self.limits.max_output_rows);
        self.seen.lock().unwrap().steps.push(
            batch
                .runs
                .iter()
                .map(|run| (run.start, run.tokens.len()))
                .collect(),
        );
        let mut rows = logits.chunks_exact_mut(self.limits.vocab_size);
        let mut broken = None;
        for run in &batch.runs {
            let blocks = &batch.block_table[run.blocks.clone()];
            let slot = |position: usize| {
                blocks[position / BLOCK_LEN].0 as usize * BLOCK_LEN + position % BLOCK_LEN
            };
            for (i, &token) in batch.tokens[run.tokens.clone()].iter().enumerate() {
                self.kv[slot(run.start + i)] = Some(token);
            }
            let end = run.start + run.tokens.len();
            let history: Vec<TokenId> = (0..end)
                .map(|i| self.kv[slot(i)].expect("KV that was computed"))
                .collect();
            if run.outputs == Outputs::Last {
                let row = rows.next().expect("a row");
                row.fill(0.0);
                row[next_of(&history).0 as usize] = 10.0;
                if self
                    .break_on
                    .is_some_and(|id| history.contains(&TokenId(id)))
                {
                    row[0] = f32::NAN;
                    broken = Some(0);
                }
            }
        }
        broken.map_or(Ok(()), |row| Err(ForwardError::NotFinite { row }))
    }

    fn copy_block(&mut self, from: BlockId, to: BlockId) {
        for i in 0..BLOCK_LEN {
            self.kv[to.0 as usize * BLOCK_LEN + i] = self.kv[from.0 as usize * BLOCK_LEN + i];
        }
    }
}

struct Setup {
    n_blocks: usize,
    parallel: usize,
    queue: usize,
    batch: usize,
    gated: bool,
    break_on: Option<u32>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            n_blocks: 64,
            parallel: 4,
            queue: 8,
            batch: 16,
            gated: false,
            break_on: None,
        }
    }
}

struct Engine {
    handle: EngineHandle,
    seen: Arc<Mutex<Seen>>,
    gate: Option<std::sync::mpsc::Sender<()>>,
}

fn start(setup: Setup) -> Engine {
    let bytes: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    let tokenizer = Arc::new(Tokenizer::new(VocabParts::from_ranks(bytes)).unwrap());
    let limits = Limits {
        vocab_size: tokenizer.vocab_size(),
        context_length: 4096,
        max_batch_tokens: setup.batch,
        max_output_rows: setup.parallel,
        n_blocks: setup.n_blocks,
        block_len: BLOCK_LEN,
    };
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (gate, receiver) = std::sync::mpsc::channel();
    let model = Checker {
        limits,
        kv: vec![None; limits.n_blocks * BLOCK_LEN],
        seen: Arc::clone(&seen),
        gate: setup.gated.then_some(receiver),
        break_on: setup.break_on,
    };
    let options = EngineOptions {
        parallel: setup.parallel,
        queue: setup.queue,
        context: usize::MAX,
        deterministic: true,
    };
    let handle = EngineHandle::start(Box::new(model), tokenizer, options);
    Engine {
        handle,
        seen,
        gate: setup.gated.then_some(gate),
    }
}

fn request(prompt: &[u32], max_tokens: usize) -> Request {
    Request {
        prompt: prompt.iter().copied().map(TokenId).collect(),
        sampling: SamplingParams {
            temperature: 0.0,
            ..Default::default()
        },
        stop_ids: Vec::new(),
        max_tokens: Some(max_tokens),
        deadline: None,
        cache_prompt: true,
    }
}

fn prompt(seed: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 7 + seed * 13) % 200).collect()
}

/// What the model says to a prompt.
fn expected(prompt: &[u32], n: usize) -> Vec<u32> {
    let mut history: Vec<TokenId> = prompt.iter().copied().map(TokenId).collect();
    (0..n)
        .map(|_| {
            let next = next_of(&history);
            history.push(next);
            next.0
        })
        .collect()
}

struct Outcome {
    ids: Vec<u32>,
    cached: usize,
    finish: Option<Finish>,
    failed: Option<String>,
}

fn drain(mut stream: Stream) -> Outcome {
    let mut outcome = Outcome {
        ids: Vec::new(),
        cached: 0,
        finish: None,
        failed: None,
    };
    while let Some(event) = stream.blocking_next() {
        match event {
            Event::Started { cached } => outcome.cached = cached,
            Event::Progress { processed, total } => assert!(processed <= total),
            Event::Token { id, .. } => outcome.ids.push(id.0),
            Event::Done { finish, usage } => {
                assert_eq!(usage.generated_tokens, outcome.ids.len());
                outcome.finish = Some(finish);
            }
            Event::Failed { message } => outcome.failed = Some(message),
        }
    }
    outcome
}

fn check(stream: Stream, prompt: &[u32], n: usize) -> Outcome {
    let outcome = drain(stream);
    assert_eq!(outcome.ids, expected(prompt, n));
    assert_eq!(outcome.finish, Some(Finish::Length));
    outcome
}

#[test]
fn many_sequences_generate_what_each_would_alone() {
    let engine = start(Setup {
        parallel: 3,
        queue: 64,
        ..Setup::default()
    });
    let prompts: Vec<Vec<u32>> = (0..20).map(|i| prompt(i % 7, 5 + i)).collect();
    let streams: Vec<Stream> = prompts
        .iter()
        .map(|p| engine.handle.submit(request(p, 9)).unwrap())
        .collect();
    for (stream, prompt) in streams.into_iter().zip(&prompts) {
        check(stream, prompt, 9);
    }
    let stats = engine.handle.stats();
    assert_eq!((stats.running, stats.waiting), (0, 0));
    assert_eq!(stats.free_blocks + stats.cached_blocks, 64);
}

#[test]
fn a_long_prompt_is_prefilled_in_chunks_between_decode_steps() {
    let engine = start(Setup {
        gated: true,
        ..Setup::default()
    });
    let gate = engine.gate.as_ref().unwrap();
    let (short, long) = (prompt(1, 3), prompt(2, 60));
    let first = engine.handle.submit(request(&short, 12)).unwrap();
    gate.send(()).unwrap();
    let second = engine.handle.submit(request(&long, 1)).unwrap();
    for _ in 0..40 {
        gate.send(()).unwrap();
    }
    check(first, &short, 12);
    check(second, &long, 1);
    let seen = engine.seen.lock().unwrap();
    let mixed: Vec<_> = seen
        .steps
        .iter()
        .filter(|runs| runs.len() == 2 && runs.iter().all(|run| run.0 > 0))
        .collect();
    assert!(mixed.len() >= 3, "{:?}", seen.steps);
    assert!(
        mixed.iter().all(|runs| runs[0].1 == 1 && runs[1].1 <= 15),
        "decode first: {mixed:?}"
    );
}

#[test]
fn a_follow_up_turn_computes_only_what_is_new() {
    let engine = start(Setup::default());
    let first = prompt(3, 30);
    let said = check(engine.handle.submit(request(&first, 5)).unwrap(), &first, 5);
    let mut second = first.clone();
    second.extend(said.ids);
    second.extend([1, 2, 3]);
    // The last generated token was never computed.
    assert_eq!(
        check(
            engine.handle.submit(request(&second, 2)).unwrap(),
            &second,
            2
        )
        .cached,
        34
    );
    let mut bypass = request(&second, 2);
    bypass.cache_prompt = false;
    assert_eq!(
        check(engine.handle.submit(bypass).unwrap(), &second, 2).cached,
        0
    );
}

#[test]
fn two_requests_with_one_prefix_compute_it_once() {
    let engine = start(Setup {
        gated: true,
        ..Setup::default()
    });
    let gate = engine.gate.as_ref().unwrap();
    let mut a = prompt(4, 60);
    let mut b = a.clone();
    (a[58], b[58]) = (1, 2);
    let (first, second) = (
        engine.handle.submit(request(&a, 1)).unwrap(),
        engine.handle.submit(request(&b, 1)).unwrap(),
    );
    for _ in 0..30 {
        gate.send(()).unwrap();
    }
    check(first, &a, 1);
    assert_eq!(check(second, &b, 1).cached, 58);
}

#[test]
fn beyond_the_queue_requests_are_refused() {
    let engine = start(Setup {
        parallel: 1,
        queue: 2,
        gated: true,
        ..Setup::default()
    });
    let submit = |seed| engine.handle.submit(request(&prompt(seed, 5), 1));
    let streams: Vec<Stream> = (0..3).map(|seed| submit(seed).unwrap()).collect();
    let refused = submit(9).err();
    assert!(
        matches!(refused, Some(SubmitError::Busy { retry_after }) if retry_after > Duration::ZERO)
    );
    for _ in 0..10 {
        engine.gate.as_ref().unwrap().send(()).unwrap();
    }
    for (stream, seed) in streams.into_iter().zip(0..) {
        check(stream, &prompt(seed, 5), 1);
    }
    submit(10).unwrap();
}

#[test]
fn prompts_that_cannot_be_answered_are_refused() {
    let engine = start(Setup {
        n_blocks: 4,
        ..Setup::default()
    });
    assert!(matches!(
        engine.handle.submit(request(&[], 1)),
        Err(SubmitError::Empty)
    ));
    let long = engine.handle.submit(request(&prompt(0, 16), 1)).err();
    assert!(
        matches!(
            long,
            Some(SubmitError::TooLong {
                prompt: 16,
                context: 16
            })
        ),
        "{long:?}"
    );
}

#[test]
fn the_context_ends_a_sequence_with_length() {
    let engine = start(Setup {
        n_blocks: 4,
        ..Setup::default()
    });
    let prompt = prompt(5, 10);
    let mut endless = request(&prompt, 0);
    endless.max_tokens = None;
    check(engine.handle.submit(endless).unwrap(), &prompt, 6);
}

#[test]
fn when_the_pool_is_full_the_youngest_waits_and_loses_nothing() {
    // Each needs 10 blocks at its end; together they do not fit.
    let engine = start(Setup {
        n_blocks: 16,
        parallel: 2,
        ..Setup::default()
    });
    let (a, b) = (prompt(6, 8), prompt(7, 8));
    let streams = (
        engine.handle.submit(request(&a, 32)).unwrap(),
        engine.handle.submit(request(&b, 32)).unwrap(),
    );
    check(streams.0, &a, 32);
    check(streams.1, &b, 32);
}

#[test]
fn a_stop_id_is_reported_and_ends_the_sequence() {
    let engine = start(Setup::default());
    let prompt = prompt(8, 5);
    let said = expected(&prompt, 4);
    let mut stopping = request(&prompt, 100);
    stopping.stop_ids = vec![TokenId(said[3])];
    let outcome = drain(engine.handle.submit(stopping).unwrap());
    assert_eq!((outcome.ids, outcome.finish), (said, Some(Finish::Stop)));
}

#[test]
fn a_prompt_can_be_computed_without_generating() {
    let engine = start(Setup::default());
    let prompt = prompt(9, 33);
    check(
        engine.handle.submit(request(&prompt, 0)).unwrap(),
        &prompt,
        0,
    );
    assert_eq!(
        check(
            engine.handle.submit(request(&prompt, 1)).unwrap(),
            &prompt,
            1
        )
        .cached,
        32
    );
}

#[test]
fn a_dropped_stream_frees_its_place_in_prefill_and_in_the_queue() {
    let engine = start(Setup {
        parallel: 1,
        gated: true,
        ..Setup::default()
    });
    let gate = engine.gate.as_ref().unwrap();
    let (long, other) = (prompt(10, 200), prompt(11, 5));
    let cancelled = engine.handle.submit(request(&long, 5)).unwrap();
    let queued = engine.handle.submit(request(&long, 5)).unwrap();
    let last = engine.handle.submit(request(&other, 2)).unwrap();
    gate.send(()).unwrap();
    gate.send(()).unwrap();
    drop(cancelled);
    drop(queued);
    for _ in 0..6 {
        gate.send(()).unwrap();
    }
    check(last, &other, 2);
    let steps = engine.seen.lock().unwrap().steps.len();
    assert!(steps <= 8, "{steps} steps: the cancelled prompt went on");
}

#[test]
fn a_deadline_ends_waiting_and_running_sequences() {
    let engine = start(Setup::default());
    let mut late = request(&prompt(12, 5), 100);
    late.deadline = Some(Instant::now());
    let outcome = drain(engine.handle.submit(late).unwrap());
    assert_eq!(outcome.finish, Some(Finish::Deadline));
}

#[test]
fn a_numerical_fault_fails_its_sequence_and_no_other() {
    let engine = start(Setup {
        break_on: Some(250),
        ..Setup::default()
    });
    let good = prompt(13, 6);
    let streams = (
        engine.handle.submit(request(&good, 20)).unwrap(),
        engine.handle.submit(request(&[1, 250, 2], 20)).unwrap(),
    );
    assert!(
        drain(streams.1)
            .failed
            .is_some_and(|message| message.contains("not finite"))
    );
    check(streams.0, &good, 20);
}

#[test]
fn after_shutdown_requests_are_refused() {
    let engine = start(Setup::default());
    check(
        engine.handle.submit(request(&[1, 2, 3], 3)).unwrap(),
        &[1, 2, 3],
        3,
    );
    engine.handle.shutdown(Duration::from_secs(5));
    assert!(matches!(
        engine.handle.submit(request(&[1], 1)),
        Err(SubmitError::Stopped)
    ));
}

/// Panics in its first step.
struct Broken(Limits);

impl Model for Broken {
    fn limits(&self) -> Limits {
        self.0
    }

    fn forward(&mut self, _batch: &Batch, _logits: &mut [f32]) -> Result<(), ForwardError> {
        panic!("a broken invariant")
    }

    fn copy_block(&mut self, _from: BlockId, _to: BlockId) {}
}

#[test]
fn a_panic_of_the_model_ends_its_streams_not_the_process() {
    let bytes: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    let tokenizer = Arc::new(Tokenizer::new(VocabParts::from_ranks(bytes)).unwrap());
    let limits = Limits {
        vocab_size: tokenizer.vocab_size(),
        context_length: 64,
        max_batch_tokens: 8,
        max_output_rows: 1,
        n_blocks: 8,
        block_len: BLOCK_LEN,
    };
    let options = EngineOptions {
        parallel: 1,
        queue: 1,
        context: 32,
        deterministic: false,
    };
    let handle = EngineHandle::start(Box::new(Broken(limits)), tokenizer, options);
    let outcome = drain(handle.submit(request(&[1, 2], 1)).unwrap());
    assert!(
        outcome
            .failed
            .is_some_and(|message| message.contains("model failed"))
    );
    handle.shutdown(Duration::ZERO);
    assert!(matches!(
        handle.submit(request(&[1], 1)),
        Err(SubmitError::Stopped)
    ));
}
