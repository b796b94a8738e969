//! `perigee bench`: prompt and generation speed, with llama-bench's tests and columns.

mod kernels;
mod report;
mod synthetic;

use std::io::{self, Write};
use std::ops::Range;
use std::time::Instant;

use anyhow::{Result, ensure};
use perigee_model::{Batch, BlockId, Model, Outputs};
use perigee_tokenizer::TokenId;

use self::report::{Context, Measured, Row};
use crate::args::{BenchArgs, BenchCommand, ModelArgs};
use crate::progress::LoadProgress;
use crate::settings::{ConfigFile, ModelSettings, Source};
use crate::startup::{self, Needs, Opened};

/// One measurement: `n_prompt` tokens of prefill, or `n_gen` of decode in each of `n_seqs`
/// sequences, at `depth` tokens of context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Test {
    n_prompt: usize,
    n_gen: usize,
    depth: usize,
    n_seqs: usize,
}

impl Test {
    /// Tokens of the cache that it fills.
    fn n_cached(&self) -> usize {
        self.n_seqs * (self.depth + self.n_prompt + self.n_gen)
    }
}

/// What to measure, and how often.
#[derive(Clone, Debug)]
struct Plan {
    tests: Vec<Test>,
    repetitions: usize,
    /// Whether every token of a prompt yields logits.
    all_logits: bool,
    /// Whether every repetition waits for its turn.
    turns: bool,
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
            write!(io::stdout(), "{}", report::render(args.output, &measured))?;
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
    ensure!(
        !args.parallel.contains(&0),
        "--parallel 0: at least one sequence is needed"
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
        turns: args.turns,
    })
}

/// The context of the model: what the user asked for, or what the longest test needs.
fn context(plan: &Plan, settings: &ModelSettings) -> Result<usize> {
    let deepest = plan.tests.iter().map(Test::n_cached).max().unwrap_or(0);
    let context = settings.context.unwrap_or(deepest);
    ensure!(
        deepest <= context,
        "the longest test needs {deepest} tokens of context, -c allows {context}"
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
    let parallel = plan.tests.iter().map(|test| test.n_seqs).max().unwrap_or(1);
    ensure!(
        parallel <= settings.ubatch,
        "--parallel {parallel}: more tokens than --ubatch-size {}",
        settings.ubatch
    );
    let needs = Needs {
        parallel,
        output_rows: match plan.all_logits {
            true => settings.ubatch,
            false => parallel,
        },
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
    let mut bench = Bench::new(loaded.model, plan.all_logits, parallel);
    let mut rows = Vec::with_capacity(plan.tests.len());
    for &test in &plan.tests {
        eprintln!("perigee: measuring {}", report::test_name(&test));
        rows.push(bench.measure(test, plan)?);
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
            n_seqs: 1,
        });
        let generations = n_gen.iter().flat_map(|&n_gen| {
            args.parallel.iter().map(move |&n_seqs| Test {
                n_prompt: 0,
                n_gen,
                depth,
                n_seqs,
            })
        });
        tests.extend(
            prompts
                .chain(generations)
                .filter(|test| test.n_prompt + test.n_gen > 0),
        );
    }
    tests
}

/// Says that a repetition could begin, and waits until it may.
fn await_turn() -> Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "turn")?;
    output.flush()?;
    ensure!(
        io::stdin().read_line(&mut String::new())? > 0,
        "--turns: standard input ended before the last repetition"
    );
    Ok(())
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
    fn new(model: M, all_logits: bool, parallel: usize) -> Self {
        let limits = model.limits();
        model.bind_thread();
        let (outputs, n_rows) = match all_logits {
            true => (Outputs::All, limits.max_output_rows),
            false => (Outputs::Last, parallel),
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

    /// All repetitions, after one that is not counted.
    fn measure(&mut self, test: Test, plan: &Plan) -> Result<Row> {
        // Context is there to be attended to: rows of the cache are all that it needs.
        for seq in 0..test.n_seqs {
            self.prefill(&test, seq, 0..test.depth, Outputs::None)?;
        }
        let mut row = Row {
            test,
            seconds: Vec::with_capacity(plan.repetitions),
            steps: Vec::with_capacity(plan.repetitions * test.n_gen),
        };
        for repetition in 0..=plan.repetitions {
            if plan.turns {
                await_turn()?;
            }
            let started = Instant::now();
            let prompt = test.depth..test.depth + test.n_prompt;
            self.prefill(&test, 0, prompt, self.outputs)?;
            for i in 0..test.n_gen {
                let began = Instant::now();
                self.batch.clear();
                for seq in 0..test.n_seqs {
                    let token = self.token();
                    self.push(&test, seq, &[token], test.depth + i, Outputs::Last);
                }
                self.forward()?;
                if repetition > 0 {
                    row.steps.push(began.elapsed());
                }
            }
            if repetition > 0 {
                row.seconds.push(started.elapsed());
            }
        }
        Ok(row)
    }

    /// Positions of one sequence, as many at a time as the model takes.
    fn prefill(
        &mut self,
        test: &Test,
        seq: usize,
        positions: Range<usize>,
        outputs: Outputs,
    ) -> Result<()> {
        let tokens: Vec<TokenId> = positions.clone().map(|_| self.token()).collect();
        let most = self.model.limits().max_batch_tokens;
        for (i, chunk) in tokens.chunks(most).enumerate() {
            self.batch.clear();
            self.push(test, seq, chunk, positions.start + i * most, outputs);
            self.forward()?;
        }
        Ok(())
    }

    /// Adds tokens of a sequence, which has a share of the cache to itself.
    fn push(
        &mut self,
        test: &Test,
        seq: usize,
        tokens: &[TokenId],
        start: usize,
        outputs: Outputs,
    ) {
        let share = self.blocks.len() / test.n_seqs;
        let blocks = &self.blocks[seq * share..(seq + 1) * share];
        self.batch.push(tokens, start, blocks, outputs);
    }

    fn forward(&mut self) -> Result<()> {
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
