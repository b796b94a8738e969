//! `perigee bench`: prompt and generation speed, with llama-bench's tests and columns.

mod report;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use perigee_model::{Batch, BlockId, Model, Outputs};
use perigee_tokenizer::TokenId;

use self::report::{Context, Row};
use crate::args::BenchArgs;
use crate::progress::LoadProgress;
use crate::settings::{ConfigFile, ModelSettings};
use crate::startup::{self, Needs};

/// One measurement: `n_prompt` tokens of prefill or `n_gen` of decode, at `depth` tokens of context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    n_prompt: usize,
    n_gen: usize,
    depth: usize,
}

/// Runs every combination and prints the table.
pub(crate) fn run(args: BenchArgs) -> Result<()> {
    ensure!(
        args.repetitions >= 1,
        "-r {}: at least one repetition is needed",
        args.repetitions
    );
    let tests = tests(&args);
    ensure!(
        !tests.is_empty(),
        "nothing to measure: -p and -n are both 0"
    );
    let deepest = tests
        .iter()
        .map(|test| test.depth + test.n_prompt + test.n_gen)
        .max()
        .unwrap_or(0);
    let file = ConfigFile::read(args.model.config.as_deref())?;
    let mut settings = ModelSettings::resolve(args.model.or(file.model))?;
    let context = *settings.context.get_or_insert(deepest);
    ensure!(
        deepest <= context,
        "the longest test needs {deepest} tokens, -c allows {context}"
    );
    let (outputs, output_rows) = if args.all_logits {
        (Outputs::All, settings.ubatch)
    } else {
        (Outputs::Last, 1)
    };
    let progress = LoadProgress::new("loading");
    let needs = Needs {
        parallel: 1,
        output_rows,
        text: false,
        context: None,
    };
    let loaded = startup::load(&settings, needs, &|done, total| progress.set(done, total))?;
    progress.finish();
    let facts = Context {
        model: loaded.config.name.clone(),
        size_bytes: loaded.file_bytes,
        n_params: loaded.n_params,
        threads: settings.threads,
        ubatch: settings.ubatch,
        all_logits: args.all_logits,
    };
    let mut bench = Bench::new(loaded.model, outputs);
    let mut rows = Vec::with_capacity(tests.len());
    for test in tests {
        eprintln!("perigee: measuring {}", report::test_name(&test));
        rows.push(Row {
            test,
            seconds: bench.measure(test, args.repetitions)?,
        });
    }
    print!("{}", report::render(args.output, &facts, &rows));
    Ok(())
}

/// llama-bench's order: for each depth all prompts, then all generations.
fn tests(args: &BenchArgs) -> Vec<Test> {
    let mut tests = Vec::new();
    for &depth in &args.n_depth {
        let prompts = args.n_prompt.iter().map(|&n_prompt| Test {
            n_prompt,
            n_gen: 0,
            depth,
        });
        let generations = args.n_gen.iter().map(|&n_gen| Test {
            n_prompt: 0,
            n_gen,
            depth,
        });
        tests.extend(
            prompts
                .chain(generations)
                .filter(|test| test.n_prompt + test.n_gen > 0),
        );
    }
    tests
}

struct Bench<M> {
    model: M,
    blocks: Vec<BlockId>,
    batch: Batch,
    /// Rows that a measured step computes to the end.
    outputs: Outputs,
    logits: Vec<f32>,
    /// State of the token generator: what the tokens are does not matter, that experts vary does.
    random: u32,
}

impl<M: Model> Bench<M> {
    fn new(model: M, outputs: Outputs) -> Self {
        let limits = model.limits();
        Self {
            blocks: (0..limits.n_blocks as u32).map(BlockId).collect(),
            batch: Batch::default(),
            outputs,
            logits: Vec::new(),
            random: 1,
            model,
        }
    }

    /// Seconds of each repetition, after one that is not counted.
    fn measure(&mut self, test: Test, repetitions: usize) -> Result<Vec<Duration>> {
        // Context is there to be attended to: rows of the cache are all that it needs.
        self.prefill(0, test.depth, Outputs::None)?;
        let mut seconds = Vec::with_capacity(repetitions);
        for repetition in 0..=repetitions {
            let started = Instant::now();
            self.prefill(test.depth, test.n_prompt, self.outputs)?;
            for i in 0..test.n_gen {
                let token = self.token();
                self.step(&[token], test.depth + i, Outputs::Last)?;
            }
            if repetition > 0 {
                seconds.push(started.elapsed());
            }
        }
        Ok(seconds)
    }

    fn prefill(&mut self, start: usize, n: usize, outputs: Outputs) -> Result<()> {
        let tokens: Vec<TokenId> = (0..n).map(|_| self.token()).collect();
        let most = self.model.limits().max_batch_tokens;
        for (i, chunk) in tokens.chunks(most).enumerate() {
            self.step(chunk, start + i * most, outputs)?;
        }
        Ok(())
    }

    fn step(&mut self, tokens: &[TokenId], start: usize, outputs: Outputs) -> Result<()> {
        self.batch.clear();
        self.batch.push(tokens, start, &self.blocks, outputs);
        let n_logits = self.batch.n_outputs() * self.model.limits().vocab_size;
        self.logits.resize(n_logits, 0.0);
        self.model.forward(&self.batch, &mut self.logits)?;
        Ok(())
    }

    fn token(&mut self) -> TokenId {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        TokenId((self.random >> 8) % self.model.limits().vocab_size as u32)
    }
}
