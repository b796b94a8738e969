//! The vocabulary.

use std::fmt;

use perigee_gguf::Metadata;
use rustc_hash::FxHashMap;
use tiktoken_rs::CoreBPE;

use crate::control::{self, CHAT_FORMAT, ENDS_OF_GENERATION, Kind};
use crate::special::Names;
use crate::split::PATTERN;
use crate::{Error, TokenId, VocabParts, spelling};

/// A vocabulary with its encoder. Cheap to share behind an `Arc`.
pub struct Tokenizer {
    /// All tokens' bytes, one after the other.
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`.
    ends: Vec<usize>,
    kinds: Vec<Kind>,
    end_of_generation: Vec<TokenId>,
    chat_template: Option<String>,
    pub(crate) names: Names,
    pub(crate) bpe: CoreBPE,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("is_kimi", &self.is_kimi())
            .field("end_of_generation", &self.end_of_generation)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads `tokenizer.ggml.*`; [`VocabParts`] lists the keys.
    ///
    /// # Errors
    /// Those of [`VocabParts::from_metadata`] and of [`Tokenizer::new`].
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, Error> {
        Self::new(VocabParts::from_metadata(metadata)?)
    }

    /// Builds the encoder from lists.
    ///
    /// Of ordinary tokens with the same bytes, the first is the one that text encodes to;
    /// of control tokens with the same name, too.
    ///
    /// # Errors
    /// The lists differ in length, an ordinary token is not in GPT-2 byte spelling, or one
    /// of the 256 single bytes has no token.
    pub fn new(parts: VocabParts) -> Result<Self, Error> {
        check_lengths(&parts)?;
        let kinds = control::classify(&parts);
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(kinds.len());
        let mut ranks = FxHashMap::default();
        let mut names = Names::default();
        for (id, (text, kind)) in (0..).zip(parts.tokens.iter().zip(&kinds)) {
            match kind {
                Kind::Ordinary => {
                    let token = spelling::unspell(text).ok_or_else(|| Error::Spelling {
                        id,
                        text: String::from_utf8_lossy(text).into_owned(),
                    })?;
                    bytes.extend_from_slice(&token);
                    // An empty token would encode nothing, for ever.
                    if !token.is_empty() {
                        ranks.entry(token).or_insert(id);
                    }
                }
                Kind::Control => {
                    bytes.extend_from_slice(text);
                    names.add(text, TokenId(id));
                }
                Kind::Unused => {}
            }
            ends.push(bytes.len());
        }
        if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key([*byte].as_slice())) {
            return Err(Error::MissingByte { byte });
        }
        let bpe = CoreBPE::new(ranks, FxHashMap::default(), PATTERN)
            .expect("the pattern is a constant and no rank occurs twice");
        Ok(Self {
            bytes,
            ends,
            kinds,
            end_of_generation: end_of_generation(parts.end_of_generation, &names),
            chat_template: parts.chat_template,
            names,
            bpe,
        })
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of an ordinary token; the spelled name of a control token. Empty for an
    /// unused id and for one out of range.
    pub fn bytes(&self, id: TokenId) -> &[u8] {
        let index = id.0 as usize;
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..end]
    }

    /// Whether the id is never produced by text: a control token or an unused row.
    pub fn is_control(&self, id: TokenId) -> bool {
        self.kinds
            .get(id.0 as usize)
            .is_some_and(|kind| *kind != Kind::Ordinary)
    }

    /// The control token with this exact spelling: `<|im_end|>`.
    pub fn control(&self, name: &str) -> Option<TokenId> {
        self.names.get(name)
    }

    /// Ids that end a generation, ascending: `<|im_end|>`, `[EOS]`, `[EOT]` where present,
    /// and those of the metadata.
    pub fn end_of_generation(&self) -> &[TokenId] {
        &self.end_of_generation
    }

    /// The file's `tokenizer.chat_template`.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// Whether the vocabulary has Kimi's message and tool tokens (so that the built-in chat
    /// format applies). Think and media tokens may still be missing, as in the first K2.
    pub fn is_kimi(&self) -> bool {
        CHAT_FORMAT.iter().all(|name| self.control(name).is_some())
    }
}

fn check_lengths(parts: &VocabParts) -> Result<(), Error> {
    let n_tokens = parts.tokens.len();
    let n_types = parts.types.len();
    if u32::try_from(n_tokens).is_err() {
        return Err(Error::TooManyTokens { n_tokens });
    }
    if n_types != 0 && n_types != n_tokens {
        return Err(Error::TypeCount { n_tokens, n_types });
    }
    Ok(())
}

fn end_of_generation(mut ids: Vec<TokenId>, names: &Names) -> Vec<TokenId> {
    ids.extend(ENDS_OF_GENERATION.iter().filter_map(|name| names.get(name)));
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests;
