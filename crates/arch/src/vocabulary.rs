//! What a file says of its tokens, against the rows of its embedding.

use perigee_gguf::{Metadata, Value};

use crate::{Config, Error};

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
/// Lists that have one element for each token.
const PER_TOKEN: [&str; 2] = ["tokenizer.ggml.token_type", "tokenizer.ggml.scores"];

/// Checks lengths of lists, ids of special tokens, and the form of merges. A file without a
/// token list has no vocabulary to check.
pub(crate) fn check(metadata: &Metadata, config: &Config) -> Result<(), Error> {
    let Some(Value::Array(tokens)) = metadata.get(TOKENS) else {
        // Of another type: its reader says so.
        return metadata.byte_strings(TOKENS).map(drop).map_err(Error::from);
    };
    if tokens.strings().is_none() {
        metadata.byte_strings(TOKENS)?;
    }
    let expected = tokens.len() as u64;
    let wrong = |what: String, found: u64| Error::Vocabulary {
        file: metadata.file().to_owned(),
        what,
        found,
        expected,
    };
    if config.vocab_size as u64 != expected {
        let rows = config.vocab_size as u64;
        return Err(wrong("the embedding rows are".to_owned(), rows));
    }
    for key in PER_TOKEN {
        if let Some(Value::Array(list)) = metadata.get(key)
            && list.len() as u64 != expected
        {
            return Err(wrong(
                format!("the elements of {key} are"),
                list.len() as u64,
            ));
        }
    }
    let special = metadata
        .iter()
        .map(|(key, _)| key)
        .filter(|key| key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id"));
    for key in special {
        if let Some(id) = metadata.u32(key)?
            && u64::from(id) >= expected
        {
            return Err(wrong(format!("{key} is"), id.into()));
        }
    }
    check_merges(metadata)
}

/// Each merge joins two tokens, neither of them empty, with a space between.
fn check_merges(metadata: &Metadata) -> Result<(), Error> {
    let Some(Value::Array(merges)) = metadata.get(MERGES) else {
        return Ok(());
    };
    let pair = |merge: &[u8]| {
        // A space may be the first byte of a token, never the only one.
        let space = merge.iter().skip(1).position(|&byte| byte == b' ');
        space.is_some_and(|at| at + 2 < merge.len())
    };
    let broken = merges
        .strings()
        .and_then(|mut all| all.position(|merge| !pair(merge)));
    match broken {
        None => Ok(()),
        Some(index) => Err(Error::Merge {
            file: metadata.file().to_owned(),
            index,
        }),
    }
}
