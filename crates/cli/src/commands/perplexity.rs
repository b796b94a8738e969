//! `perigee perplexity`: scored as llama-perplexity does, so that the numbers compare.

mod npy;
mod score;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use perigee_model::{Batch, BlockId, Model, Outputs};
use perigee_tokenizer::TokenId;

use self::npy::NpyWriter;
use self::score::Score;
use crate::args::PerplexityArgs;
use crate::progress::LoadProgress;
use crate::settings::{ConfigFile, ModelSettings};
use crate::startup::{self, Needs};

/// Chunk length of llama-perplexity when none is given.
const DEFAULT_CHUNK: usize = 512;

/// Scores a text in chunks or ids as one sequence.
pub(crate) fn run(args: PerplexityArgs) -> Result<()> {
    let file = ConfigFile::read(args.model.config.as_deref())?;
    let mut settings = ModelSettings::resolve(args.model.or(file.model))?;
    let ids = args.token_file.as_deref().map(read_ids).transpose()?;
    if let Some(ids) = &ids {
        // The whole sequence is one context; -c only bounds it.
        let context = settings.context.get_or_insert(ids.len());
        ensure!(
            ids.len() <= *context,
            "{} ids do not fit the context of {context} tokens (-c)",
            ids.len()
        );
    }
    let progress = LoadProgress::new("loading");
    let needs = Needs {
        parallel: 1,
        output_rows: settings.ubatch,
        text: args.file.is_some(),
        context: Some(DEFAULT_CHUNK),
    };
    let loaded = startup::load(&settings, needs, &|done, total| progress.set(done, total))?;
    progress.finish();
    let mut model = loaded.model;
    let mut writer = args
        .logits_out
        .as_deref()
        .map(|path| NpyWriter::create(path, model.limits().vocab_size))
        .transpose()?;
    let score = match (ids, args.file) {
        (Some(ids), _) => sequence(&mut model, &ids, writer.as_mut())?,
        (None, Some(path)) => {
            let text =
                fs::read_to_string(&path).with_context(|| format!("--file {}", path.display()))?;
            let tokenizer = loaded.tokenizer.context("the vocabulary was not loaded")?;
            let ids = tokenizer.encode_text(&text);
            text_chunks(
                &mut model,
                &ids,
                loaded.context,
                args.chunks,
                writer.as_mut(),
            )?
        }
        (None, None) => unreachable!("the parser demands --file or --token-file"),
    };
    if let Some(writer) = writer {
        writer.finish()?;
    }
    let (perplexity, error) = score
        .perplexity()
        .context("nothing to score: fewer than two tokens")?;
    writeln!(
        io::stdout(),
        "Final estimate: PPL = {perplexity:.4} +/- {error:.5}  ({} tokens)",
        score.n_tokens()
    )?;
    Ok(())
}

/// One sequence, taken as it is; every token but the first is scored.
fn sequence(
    model: &mut impl Model,
    ids: &[TokenId],
    mut writer: Option<&mut NpyWriter>,
) -> Result<Score> {
    let mut score = Score::default();
    forward_all(model, ids, |position, logits| {
        if let Some(&next) = ids.get(position + 1) {
            score.add(logits, next);
        }
        writer.as_mut().map_or(Ok(()), |writer| writer.row(logits))
    })?;
    Ok(score)
}

/// Chunks of `n_ctx` tokens; of each, the second half is scored, as its tokens have enough context.
fn text_chunks(
    model: &mut impl Model,
    ids: &[TokenId],
    n_ctx: usize,
    most: Option<usize>,
    mut writer: Option<&mut NpyWriter>,
) -> Result<Score> {
    ensure!(n_ctx >= 4, "-c {n_ctx}: a chunk needs at least 4 tokens");
    ensure!(
        ids.len() >= 2 * n_ctx,
        "the text has {} tokens; at least {} are needed to score with -c {n_ctx}",
        ids.len(),
        2 * n_ctx
    );
    let n_chunks = (ids.len() / n_ctx).min(most.unwrap_or(usize::MAX));
    let mut score = Score::default();
    for (i, chunk) in ids.chunks_exact(n_ctx).take(n_chunks).enumerate() {
        forward_all(model, chunk, |position, logits| {
            if position >= n_ctx / 2 && position + 1 < n_ctx {
                score.add(logits, chunk[position + 1]);
            }
            writer.as_mut().map_or(Ok(()), |writer| writer.row(logits))
        })?;
        if let Some((perplexity, _)) = score.perplexity() {
            eprint!("[{}]{perplexity:.4},", i + 1);
        }
    }
    eprintln!();
    Ok(score)
}

/// Runs a sequence from position 0 in steps of the model's batch; `row` gets each position's logits.
pub(super) fn forward_all(
    model: &mut impl Model,
    ids: &[TokenId],
    mut row: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let limits = model.limits();
    let step = limits.max_batch_tokens.min(limits.max_output_rows);
    let blocks: Vec<BlockId> = (0..ids.len().div_ceil(limits.block_len) as u32)
        .map(BlockId)
        .collect();
    let mut logits = vec![0.0; step * limits.vocab_size];
    let mut batch = Batch::default();
    for (i, tokens) in ids.chunks(step).enumerate() {
        batch.clear();
        batch.push(tokens, i * step, &blocks, Outputs::All);
        let rows = &mut logits[..tokens.len() * limits.vocab_size];
        model.forward(&batch, rows)?;
        for (j, logits) in rows.chunks_exact(limits.vocab_size).enumerate() {
            row(i * step + j, logits)?;
        }
    }
    Ok(())
}

fn read_ids(path: &Path) -> Result<Vec<TokenId>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
    text.split_ascii_whitespace()
        .map(|word| {
            let id = word.parse().with_context(|| {
                format!(
                    "--token-file {}: {word:?} is not a token id",
                    path.display()
                )
            })?;
            Ok(TokenId(id))
        })
        .collect()
}
