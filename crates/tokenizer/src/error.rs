//! Why a vocabulary is unusable.

/// A vocabulary that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The container is broken.
    #[error(transparent)]
    Gguf(#[from] perigee_gguf::Error),
    /// The file lacks a key without which there is no vocabulary.
    #[error("{key}: missing, so the file has no usable vocabulary")]
    MissingKey {
        /// Name of the metadata key.
        key: &'static str,
    },
    /// Not a byte-level BPE vocabulary.
    #[error("tokenizer.ggml.model: found {found:?}, expected \"gpt2\" (byte-level BPE)")]
    UnsupportedModel {
        /// What the file says.
        found: String,
    },
    /// Another family's way to cut text: ids would be silently wrong.
    #[error("tokenizer.ggml.pre: pre-tokenizer {found:?} is not supported, expected \"kimi-k2\"")]
    UnsupportedPreTokenizer {
        /// What the file says.
        found: String,
    },
    /// More tokens than ids.
    #[error("tokenizer.ggml.tokens: {n_tokens} tokens, more than 32-bit ids can name")]
    TooManyTokens {
        /// Length of the list.
        n_tokens: usize,
    },
    /// The two lists do not describe the same tokens.
    #[error("tokenizer.ggml.token_type: {n_types} types for {n_tokens} tokens")]
    TypeCount {
        /// Length of `tokenizer.ggml.tokens`.
        n_tokens: usize,
        /// Length of `tokenizer.ggml.token_type`.
        n_types: usize,
    },
    /// An ordinary token holds a character that stands for no byte.
    #[error("tokenizer.ggml.tokens: token {id} {text:?} is not in GPT-2 byte spelling")]
    Spelling {
        /// Which token.
        id: u32,
        /// Its text, made printable.
        text: String,
    },
    /// Text with this byte could not be encoded.
    #[error("tokenizer.ggml.tokens: no token for the single byte 0x{byte:02x}, all 256 are needed")]
    MissingByte {
        /// The first byte without a token.
        byte: u8,
    },
    /// A special id names no token.
    #[error("{key}: id {id}, but the vocabulary has {n_tokens} tokens")]
    IdOutOfRange {
        /// Name of the metadata key.
        key: &'static str,
        /// The id it holds.
        id: u32,
        /// Number of tokens.
        n_tokens: usize,
    },
}
