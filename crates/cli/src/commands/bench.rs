//! `perigee bench`: prompt and generation speed, with llama-bench's tests and columns.

mod kernels;
mod report;
mod synthetic;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use perigee_model::{Batch, BlockId, Model, Outputs};
use perigee_tokenizer::TokenId;

use self::report::{Context, Measured, Row};
use crate::args::{BenchArgs, BenchCommand, ModelArgs};
use crate::progress::LoadProgress;
use crate::settings::{ConfigFile, ModelSettings, Source};
use crate::startup::{self, Needs, Opened};

/// One measurement: `n_prompt` tokens of prefill or `n_gen` of decode, at `depth` tokens of context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Test {
    n_prompt: usize,
    n_gen: usize,
    depth: usize,
}

/// What to measure, and how often.
#[derive(Clone, Debug)]
struct Plan {
    tests: Vec<Test>,
    repetitions: usize,
    /// Whether every token of a prompt yields logits.
    all_logits: bool,
}

/// Tokens to generate and repetitions where the user named none: for a model of their own, and
/// for random weights, of which several shapes are measured.
const DEFAULTS: (usize, usize) = (128, 5);
const SYNTHETIC_DEFAULTS: (usize, usize) = (64, 2);

/// Runs every combination and prints the table.
pub(crate) fn run(mut args: BenchArgs) -> Result<()> {
    if let Some(BenchCommand::Kernels(args)) = &args.what {
        return kernels::run(args);
    }
    // The parser forgives a missing --synthetic where a model is named, as they exclude each other.
    ensure!(
        args.write.is_none() || args.synthetic.is_some(),
        "--write needs --synthetic SPEC: only random weights can be written"
    );
    let plan = plan(&args)?;
    let file = ConfigFile::read(args.model.config.as_deref())?;
    match args.synthetic.take() {
        None => {
            let mut settings = ModelSettings::resolve(args.model.or(file.model))?;
            settings.context = Some(context(&plan, &settings)?);
            let opened = startup::open(&settings.source)?;
            let measured = measure(opened, &settings, &plan, None)?;
            print!("{}", report::render(args.output, &measured));
            Ok(())
        }
        Some(spec) => {
            // A model in the settings file is for the other commands.
            let without_model = ModelArgs {
                model: None,
                demo: false,
                ..args.model.or(file.model)
            };
            // Only a name: what is measured is made in memory and opened there.
            let source = Source::Path(spec.as_str().into());
            let mut settings = ModelSettings::with_source(source, without_model)?;
            settings.context = Some(context(&plan, &settings)?);
            match &args.write {
                Some(path) => synthetic::write(&spec, path, settings.threads),
                None => synthetic::run(&spec, &settings, &plan, args.output),
            }
        }
    }
}

fn plan(args: &BenchArgs) -> Result<Plan> {
    let (n_gen, repetitions) = match args.synthetic {
        Some(_) => SYNTHETIC_DEFAULTS,
        None => DEFAULTS,
    };
    let n_gen = args.n_gen.clone().unwrap_or(vec![n_gen]);
    let repetitions = args.repetitions.unwrap_or(repetitions);
    ensure!(
        repetitions >= 1,
        "-r {repetitions}: at least one repetition is needed"
    );
    let tests = tests(args, &n_gen);
    ensure!(
        !tests.is_empty(),
        "nothing to measure: -p and -n are both 0"
    );
    Ok(Plan {
        tests,
        repetitions,
        all_logits: args.all_logits || args.synthetic.is_some(),
    })
}

/// The context of the model: what the user asked for, or what the longest test needs.
fn context(plan: &Plan, settings: &ModelSettings) -> Result<usize> {
    let tokens = |test: &Test| test.depth + test.n_prompt + test.n_gen;
    let deepest = plan.tests.iter().map(tokens).max().unwrap_or(0);
    let context = settings.context.unwrap_or(deepest);
    ensure!(
        deepest <= context,
        "the longest test needs {deepest} tokens, -c allows {context}"
    );
    Ok(context)
}

/// Loads the model and runs all tests; `name` stands for that of the file if given.
fn measure(
    opened: Opened,
    settings: &ModelSettings,
    plan: &Plan,
    name: Option<String>,
) -> Result<Measured> {
    let progress = LoadProgress::new("loading");
    let needs = Needs {
        parallel: 1,
        output_rows: if plan.all_logits { settings.ubatch } else { 1 },
        text: false,
        context: None,
    };
    let report = |done, total| progress.set(done, total);
    let loaded = startup::load_opened(opened, settings, needs, None, &report)?;
    progress.finish();
    let context = Context {
        model: name.unwrap_or_else(|| loaded.config.name.clone()),
        size_bytes: loaded.file_bytes,
        n_params: loaded.n_params,
        threads: settings.threads,
        ubatch: settings.ubatch,
        all_logits: plan.all_logits,
    };
    let mut bench = Bench::new(loaded.model, plan.all_logits);
    let mut rows = Vec::with_capacity(plan.tests.len());
    for &test in &plan.tests {
        eprintln!("perigee: measuring {}", report::test_name(&test));
        rows.push(Row {
            test,
            seconds: bench.measure(test, plan.repetitions)?,
        });
    }
    let finite = bench.logits.iter().all(|logit| logit.is_finite());
    Ok(Measured {
        context,
        rows,
        finite,
    })
}

/// llama-bench's order: for each depth all prompts, then all generations.
fn tests(args: &BenchArgs, n_gen: &[usize]) -> Vec<Test> {
    let mut tests = Vec::new();
    for &depth in &args.n_depth {
        let prompts = args.n_prompt.iter().map(|&n_prompt| Test {
            n_prompt,
            n_gen: 0,
            depth,
        });
        let generations = n_gen.iter().map(|&n_gen| Test {
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
    /// Rows of a prompt that yield logits.
    outputs: Outputs,
    logits: Vec<f32>,
    /// State of the token generator: what the tokens are does not matter, that experts vary does.
    random: u32,
}

impl<M: Model> Bench<M> {
    fn new(model: M, all_logits: bool) -> Self {
        let limits = model.limits();
        model.bind_thread();
        let (outputs, n_rows) = match all_logits {
            true => (Outputs::All, limits.max_output_rows),
            false => (Outputs::Last, 1),
        };
        Self {
            outputs,
            blocks: (0..limits.n_blocks as u32).map(BlockId).collect(),
            batch: Batch::default(),
            logits: vec![0.0; n_rows * limits.vocab_size],
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
        self.model
            .forward(&self.batch, &mut self.logits[..n_logits])?;
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
