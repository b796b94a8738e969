//! `perigee imatrix`: which columns of each matrix matter, from a text.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result, ensure};
use perigee_model::Observer;
use perigee_quantize::Activations;

use super::perplexity::forward_all;
use crate::args::ImatrixArgs;
use crate::progress::LoadProgress;
use crate::settings::{ConfigFile, ModelSettings};
use crate::startup::{self, Needs};

/// Chunk length when none is given, as of llama-imatrix.
const DEFAULT_CHUNK: usize = 512;

/// Adds up squares of inputs.
#[derive(Debug, Default)]
struct Collector {
    activations: Mutex<Activations>,
    with_head: bool,
}

impl Collector {
    fn lock(&self) -> MutexGuard<'_, Activations> {
        // Sums that a panicking thread has left are never written.
        self.activations
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Observer for Collector {
    fn inputs(&self, tensor: &str, n_items: usize, item: usize, n_in: usize, inputs: &[f32]) {
        let skipped = tensor.ends_with("ffn_gate_inp.weight")
            || !self.with_head && matches!(tensor, "output.weight" | "token_embd.weight");
        if !skipped {
            self.lock().add(tensor, n_items, item, n_in, inputs);
        }
    }
}

/// Runs the text and writes the importances.
pub(crate) fn run(args: ImatrixArgs) -> Result<()> {
    let config_file = ConfigFile::read(args.model.config.as_deref())?;
    let settings = ModelSettings::resolve(args.model.or(config_file.model))?;
    let text = fs::read_to_string(&args.file)
        .with_context(|| format!("--file {}", args.file.display()))?;
    let collector = Arc::new(Collector {
        with_head: args.process_output,
        ..Collector::default()
    });
    let needs = Needs {
        parallel: 1,
        output_rows: settings.ubatch,
        text: true,
        context: Some(DEFAULT_CHUNK),
    };
    let progress = LoadProgress::new("loading");
    let observer: Arc<dyn Observer> = Arc::clone(&collector) as _;
    let loaded = startup::load_observed(&settings, needs, Some(observer), &|done, total| {
        progress.set(done, total);
    })?;
    progress.finish();
    let mut model = loaded.model;
    let tokenizer = loaded.tokenizer.context("the vocabulary was not loaded")?;
    let ids = tokenizer.encode_text(&text);
    let n_ctx = loaded.context;
    let n_chunks = (ids.len() / n_ctx).min(args.chunks.unwrap_or(usize::MAX));
    ensure!(
        n_chunks > 0,
        "the text has {} tokens; a chunk has {n_ctx} (-c)",
        ids.len()
    );
    let write = |n_done: usize| write(&args.output, &args.file, &collector, n_done, n_ctx);
    for (i, chunk) in ids.chunks_exact(n_ctx).take(n_chunks).enumerate() {
        forward_all(&mut model, chunk, |_, _| Ok(()))?;
        eprint!("[{}/{n_chunks}]", i + 1);
        if args.output_frequency > 0 && (i + 1) % args.output_frequency == 0 {
            write(i + 1)?;
        }
    }
    eprintln!();
    write(n_chunks)?;
    let activations = collector.lock();
    let (unreached, n_matrices) = activations.unreached();
    writeln!(
        io::stdout(),
        "{} tensors from {n_chunks} chunks of {n_ctx} tokens",
        activations.len()
    )?;
    if unreached > 0 {
        writeln!(
            io::stdout(),
            "{unreached} of {n_matrices} matrices saw no token: all their columns count alike; more text reaches more experts"
        )?;
    }
    for path in &args.output {
        writeln!(io::stdout(), "wrote {}", path.display())?;
    }
    Ok(())
}

fn write(
    outputs: &[PathBuf],
    text: &std::path::Path,
    collector: &Collector,
    n_chunks: usize,
    n_ctx: usize,
) -> Result<()> {
    let name = text.file_name().unwrap_or(text.as_os_str());
    for path in outputs {
        let (n_chunks, n_ctx) = (n_chunks as u32, n_ctx as u32);
        collector
            .lock()
            .write(path, &name.to_string_lossy(), n_chunks, n_ctx)?;
    }
    Ok(())
}
