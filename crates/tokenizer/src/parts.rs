//! The pieces a vocabulary is built from.

use perigee_gguf::Metadata;

use crate::{Error, TokenId, kimi_control_names, spell_bytes};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const TEMPLATE: &str = "tokenizer.chat_template";

/// Metadata keys whose ids end a generation. A missing key means none: engines that
/// substitute a default id 11 stop at every comma.
const END_KEYS: [&str; 2] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];

const TYPE_NORMAL: u32 = 1;
const TYPE_CONTROL: u32 = 3;

/// A vocabulary as lists, before any check. [`Tokenizer::new`](crate::Tokenizer::new)
/// checks them; files go through
/// [`Tokenizer::from_metadata`](crate::Tokenizer::from_metadata).
///
/// Required of a file: `tokenizer.ggml.model` = `gpt2`, `tokenizer.ggml.pre` = `kimi-k2`
/// and `tokenizer.ggml.tokens`. Optional: `tokenizer.ggml.token_type`,
/// `tokenizer.ggml.eos_token_id`, `tokenizer.ggml.eot_token_id`,
/// `tokenizer.chat_template`. Merges and BOS are not read: the order of the ordinary
/// tokens is the order of the merges, and nothing is ever prepended.
#[derive(Clone, Debug, Default)]
pub struct VocabParts {
    /// Token texts by id: ordinary tokens in GPT-2 byte spelling ([`spell_bytes`]),
    /// control tokens plainly. All 256 single bytes must be among the ordinary ones;
    /// any number of longer ordinary tokens may follow in merge order.
    pub tokens: Vec<Vec<u8>>,
    /// Token types of the GGUF specification, one per token, or empty for all normal.
    pub types: Vec<u32>,
    /// Ids that end a generation beside `<|im_end|>`, `[EOS]` and `[EOT]`.
    pub end_of_generation: Vec<TokenId>,
    /// Jinja source of the chat format.
    pub chat_template: Option<String>,
}

impl VocabParts {
    /// Reads the keys of a file.
    ///
    /// # Errors
    /// A required key is missing, a key has another type, the vocabulary is not byte-level
    /// BPE, text is cut by other rules than Kimi's, or a special id names no token.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, Error> {
        let model = metadata
            .str(MODEL)?
            .ok_or(Error::MissingKey { key: MODEL })?;
        if model != "gpt2" {
            let found = model.to_owned();
            return Err(Error::UnsupportedModel { found });
        }
        let pre = metadata.str(PRE)?.ok_or(Error::MissingKey { key: PRE })?;
        if pre != "kimi-k2" {
            let found = pre.to_owned();
            return Err(Error::UnsupportedPreTokenizer { found });
        }
        let tokens = metadata
            .byte_strings(TOKENS)?
            .ok_or(Error::MissingKey { key: TOKENS })?;
        Ok(Self {
            end_of_generation: end_ids(metadata, tokens.len())?,
            tokens: tokens.into_iter().map(<[u8]>::to_vec).collect(),
            types: metadata.u32s(TYPES)?.unwrap_or_default(),
            chat_template: metadata.str(TEMPLATE)?.map(str::to_owned),
        })
    }

    /// The vocabulary of Kimi-K2.5 and K2.6 over the byte strings of a vendor rank file,
    /// in rank order: their spellings, then the 256 control tokens.
    pub fn from_ranks<I>(ranks: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut tokens: Vec<Vec<u8>> = ranks
            .into_iter()
            .map(|bytes| spell_bytes(bytes.as_ref()).into_bytes())
            .collect();
        let mut types = vec![TYPE_NORMAL; tokens.len()];
        tokens.extend(
            kimi_control_names(tokens.len())
                .into_iter()
                .map(String::into_bytes),
        );
        types.resize(tokens.len(), TYPE_CONTROL);
        Self {
            tokens,
            types,
            ..Self::default()
        }
    }
}

fn end_ids(metadata: &Metadata, n_tokens: usize) -> Result<Vec<TokenId>, Error> {
    let mut ids = Vec::new();
    for key in END_KEYS {
        let Some(id) = metadata.u32(key)? else {
            continue;
        };
        if id as usize >= n_tokens {
            return Err(Error::IdOutOfRange { key, id, n_tokens });
        }
        ids.push(TokenId(id));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
