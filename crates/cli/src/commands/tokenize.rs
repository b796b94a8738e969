//! `perigee tokenize`.

use std::io::{Read as _, Write as _};
use std::{fs, io};

use anyhow::{Context as _, Result};
use perigee_tokenizer::Tokenizer;

use crate::args::TokenizeArgs;
use crate::settings::Source;
use crate::startup;

/// Prints one token a line (`id`, tab, text), or the ids alone.
pub(crate) fn run(args: &TokenizeArgs) -> Result<()> {
    let source = match &args.model {
        Some(path) => Source::Path(path.clone()),
        None => Source::Demo,
    };
    let gguf = startup::open_container(&source)?;
    let tokenizer = Tokenizer::from_metadata(gguf.metadata())?;
    let text = match (&args.prompt, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => {
            fs::read_to_string(path).with_context(|| format!("--file {}", path.display()))?
        }
        (None, None) => {
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .context("reading standard input")?;
            text
        }
    };
    let ids = match args.parse_special {
        true => tokenizer.encode(&tokenizer.parse_special(&text)),
        false => tokenizer.encode_text(&text),
    };
    let mut out = io::stdout().lock();
    if args.ids {
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        writeln!(out, "{}", ids.join(" "))?;
        return Ok(());
    }
    for &id in &ids {
        writeln!(
            out,
            "{:>7}\t{:?}",
            id.0,
            String::from_utf8_lossy(tokenizer.bytes(id))
        )?;
    }
    writeln!(out, "{} tokens", ids.len())?;
    Ok(())
}
