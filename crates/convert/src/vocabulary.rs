//! `tiktoken.model` and `tokenizer_config.json` to `tokenizer.ggml.*`.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use perigee_gguf::Value;
use serde_json::Value as Json;

use crate::Error;
use crate::checkpoint::{MAX_JSON_BYTES, read_json, read_json_if_there, read_text};

mod merges;

const RANKS: &str = "tiktoken.model";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Longest rank file: Kimi's has 2.8 MB.
const MAX_RANK_BYTES: u64 = 64 << 20;
/// Longest token: the longest of Kimi's has 256 bytes. Merges take its square in time.
const MAX_TOKEN_BYTES: usize = 1024;
/// Ids after the last rank that the vendor's tokenizer names, with or without a use.
const N_CONTROLS: usize = 256;
/// Most added tokens: Kimi has 256.
const MAX_ADDED: usize = 1 << 16;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

/// The metadata of a vocabulary and what is to be said about it.
pub(crate) struct Vocabulary {
    pub(crate) entries: Vec<(String, Value)>,
    pub(crate) notes: Vec<String>,
}

/// Reads a checkpoint's vocabulary of `size` ids, as many as the embedding has rows.
pub(crate) fn read(folder: &Path, size: usize) -> Result<Vocabulary, Error> {
    let ranks = read_ranks(&folder.join(RANKS))?;
    if ranks.len() > size {
        let problem = format!("{} tokens for {size} rows of the embedding", ranks.len());
        return Err(Error::file(&folder.join(RANKS), problem));
    }
    let file = folder.join(TOKENIZER_CONFIG);
    let config = read_json(&file)?;
    let added = added_tokens(&file, &config, ranks.len())?;
    let mut notes = Vec::new();
    let beyond = added.keys().filter(|&&id| id >= size).count();
    if beyond > 0 {
        notes.push(format!(
            "{beyond} added tokens beyond the {size} rows of the embedding left out"
        ));
    }
    let (merges, unmerged) = merges::of(&ranks);
    if unmerged > 0 {
        notes.push(format!(
            "{unmerged} tokens are no merge of two others; their merges are left out"
        ));
    }
    let (tokens, types) = tokens(&ranks, &added, size);
    let mut entries = vec![
        ("tokenizer.ggml.model".to_owned(), Value::from("gpt2")),
        ("tokenizer.ggml.pre".to_owned(), Value::from("kimi-k2")),
        ("tokenizer.ggml.tokens".to_owned(), Value::strings(tokens)),
        ("tokenizer.ggml.token_type".to_owned(), types),
        ("tokenizer.ggml.merges".to_owned(), Value::strings(merges)),
    ];
    let id_of = |name: &str| {
        added
            .iter()
            .find(|(_, text)| *text == name)
            .map(|(&id, _)| id)
    };
    let mut put_id = |key: &str, id: Option<usize>| {
        if let Some(id) = id.filter(|&id| id < size) {
            // Ids are below the vocabulary's size, which the configuration bounds.
            entries.push((
                format!("tokenizer.ggml.{key}_token_id"),
                Value::U32(id as u32),
            ));
        }
    };
    let named = |key: &str| token_name(&config[key]).and_then(id_of);
    let eos = named("eos_token");
    put_id("bos", named("bos_token"));
    put_id("eos", eos);
    put_id("padding", named("pad_token"));
    put_id("unknown", named("unk_token"));
    put_id("eot", end_of_turn(folder, eos)?);
    entries.push((
        "tokenizer.ggml.add_bos_token".to_owned(),
        Value::Bool(false),
    ));
    if let Some(template) = chat_template(folder, &config)? {
        entries.push((
            "tokenizer.chat_template".to_owned(),
            Value::from(template.as_str()),
        ));
    } else {
        notes.push("no chat template in the checkpoint".to_owned());
    }
    Ok(Vocabulary { entries, notes })
}

/// Lines of a token in base64 and its rank. Ranks are ids, so that none may be left out.
fn read_ranks(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let text = read_text(path, MAX_RANK_BYTES)?;
    let mut by_rank = BTreeMap::new();
    let mut known = rustc_hash::FxHashSet::default();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let fail = |problem: &str| Error::file(path, format!("line {number}: {problem}"));
        let (token, rank) = line
            .trim()
            .split_once(' ')
            .ok_or_else(|| fail("expected a token and its rank"))?;
        let token = BASE64_STANDARD
            .decode(token)
            .map_err(|_| fail("the token is not base64"))?;
        let rank: usize = rank.parse().map_err(|_| fail("the rank is no number"))?;
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(fail("a token has 1 to 1024 bytes"));
        }
        if !known.insert(token.clone()) {
            return Err(fail("the token occurs twice"));
        }
        if by_rank.insert(rank, token).is_some() {
            return Err(fail("the rank occurs twice"));
        }
    }
    for (expected, &rank) in by_rank.keys().enumerate() {
        if rank != expected {
            return Err(Error::file(path, format!("no token has rank {expected}")));
        }
    }
    if by_rank.is_empty() {
        return Err(Error::file(path, "no tokens"));
    }
    Ok(by_rank.into_values().collect())
}

/// Names by id from `added_tokens_decoder`.
fn added_tokens(
    file: &Path,
    config: &Json,
    n_ranks: usize,
) -> Result<BTreeMap<usize, String>, Error> {
    const KEY: &str = "added_tokens_decoder";
    let fail = |problem: String| Error::Key {
        file: file.to_owned(),
        key: KEY.to_owned(),
        problem,
    };
    let mut added = BTreeMap::new();
    let mut names = rustc_hash::FxHashSet::default();
    let Some(decoder) = config.get(KEY) else {
        return Ok(added);
    };
    let decoder = decoder
        .as_object()
        .ok_or_else(|| fail("is not an object".to_owned()))?;
    if decoder.len() > MAX_ADDED {
        return Err(fail(format!("has {} tokens", decoder.len())));
    }
    for (id, token) in decoder {
        let number: usize = id
            .parse()
            .map_err(|_| fail(format!("has the id {id:?}, which is no number")))?;
        let name = token_name(token).ok_or_else(|| fail(format!("has no content for {id}")))?;
        if number < n_ranks {
            return Err(fail(format!("names {id}, an id of {RANKS}")));
        }
        if !names.insert(name) {
            return Err(fail(format!("has {name:?} twice")));
        }
        added.insert(number, name.to_owned());
    }
    Ok(added)
}

/// A token given by its text or by an object with it.
fn token_name(token: &Json) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// Texts and types of all ids: ranks in byte spelling, then the names of the control tokens,
/// given ones or the vendor's for those in reserve, then rows without a meaning.
fn tokens(ranks: &[Vec<u8>], added: &BTreeMap<usize, String>, size: usize) -> (Vec<String>, Value) {
    let mut tokens: Vec<String> = ranks.iter().map(|token| merges::spell(token)).collect();
    let mut types = vec![NORMAL; ranks.len()];
    for id in ranks.len()..size {
        let (token, kind) = match added.get(&id) {
            Some(name) => (name.clone(), CONTROL),
            None if id < ranks.len() + N_CONTROLS => (format!("<|reserved_token_{id}|>"), CONTROL),
            None => (format!("[PAD{id}]"), UNUSED),
        };
        tokens.push(token);
        types.push(kind);
    }
    (tokens, Value::array(types.into_iter().map(Value::I32)))
}

/// The token that ends a turn: what `generation_config.json` stops at besides `[EOS]`.
fn end_of_turn(folder: &Path, eos: Option<usize>) -> Result<Option<usize>, Error> {
    let Some(generation) = read_json_if_there(&folder.join("generation_config.json"))? else {
        return Ok(None);
    };
    let ids = match &generation["eos_token_id"] {
        Json::Array(ids) => ids.clone(),
        id => vec![id.clone()],
    };
    let ids = ids
        .iter()
        .filter_map(|id| usize::try_from(id.as_u64()?).ok());
    Ok(ids.into_iter().find(|&id| Some(id) != eos))
}

/// The file, or the key of `tokenizer_config.json` in older checkpoints.
fn chat_template(folder: &Path, config: &Json) -> Result<Option<String>, Error> {
    let file = folder.join("chat_template.jinja");
    if file.exists() {
        return read_text(&file, MAX_JSON_BYTES).map(Some);
    }
    Ok(config["chat_template"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests;
