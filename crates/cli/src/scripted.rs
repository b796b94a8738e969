//! `perigee serve --scripted FILE`: a script in JSON to a model that follows it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use perigee_engine::scripted::{Rule, Script, ScriptedModel};
use perigee_model::Limits;
use perigee_server::ModelCard;
use perigee_tokenizer::Tokenizer;
use serde::Deserialize;

use crate::commands::serve::Served;
use crate::settings::Source;
use crate::startup;

/// `{"rules": [{"when", "say", "token_ms"?, "prompt_token_us"?}], "otherwise"?}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    rules: Vec<ScriptRule>,
    #[serde(default)]
    otherwise: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptRule {
    when: String,
    say: String,
    /// Milliseconds of each generated token.
    #[serde(default)]
    token_ms: u64,
    /// Microseconds of each prompt token.
    #[serde(default)]
    prompt_token_us: u64,
}

/// A model that follows the script, over the vocabulary of the embedded model.
pub(crate) fn load(path: &Path, context: Option<usize>, parallel: usize) -> Result<Served> {
    const BLOCK_LEN: usize = 16;
    let name = || format!("--scripted {}", path.display());
    let text = std::fs::read_to_string(path).with_context(name)?;
    let file: ScriptFile = serde_json::from_str(&text).with_context(name)?;
    let rules = file.rules.into_iter().map(|rule| Rule {
        when: rule.when,
        say: rule.say,
        token_delay: Duration::from_millis(rule.token_ms),
        prompt_token_delay: Duration::from_micros(rule.prompt_token_us),
    });
    let script = Script {
        rules: rules.collect(),
        otherwise: file.otherwise,
    };
    let gguf = startup::open_container(&Source::Demo)?;
    let tokenizer = Arc::new(Tokenizer::from_metadata(gguf.metadata())?);
    let context = context.unwrap_or(131_072);
    let limits = Limits {
        vocab_size: tokenizer.vocab_size(),
        context_length: context,
        max_batch_tokens: 256,
        max_output_rows: parallel,
        n_blocks: context.div_ceil(BLOCK_LEN) + parallel,
        block_len: BLOCK_LEN,
    };
    let model = ScriptedModel::new(&tokenizer, &script, limits)
        .context("the vocabulary of the embedded model is not Kimi's")?;
    let card = ModelCard {
        context_trained: context,
        hidden: 0,
        n_params: 0,
        file_bytes: 0,
        notice: None,
    };
    Ok((Box::new(model), tokenizer, context, card, true))
}
