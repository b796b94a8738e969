//! What goes in and what comes out.

use std::time::{Duration, Instant};

use perigee_tokenizer::TokenId;

/// Sampler settings; the defaults switch everything off (plain sampling at temperature 1).
/// Chain: logit bias, penalties, DRY, top-k, typical, top-p, min-p, XTC, temperature.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names are llama.cpp's")]
pub struct SamplingParams {
    /// 0 = greedy: arg-max, lowest id on ties.
    pub temperature: f32,
    /// 0 = off.
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    pub typical_p: f32,
    pub repeat_penalty: f32,
    /// Tokens looked back at by `repeat_penalty`; 0 = off, -1 = whole context.
    pub repeat_last_n: i32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    pub dry_multiplier: f32,
    pub dry_base: f32,
    pub dry_allowed_length: u32,
    pub dry_penalty_last_n: i32,
    /// Token sequences that break a DRY match.
    pub dry_sequence_breakers: Vec<String>,
    pub xtc_probability: f32,
    pub xtc_threshold: f32,
    /// Repetition, presence and frequency penalties and DRY rest from this token until one of
    /// those: in the arguments of a tool call they would corrupt code.
    pub rest_penalties: Option<(TokenId, Vec<TokenId>)>,
    /// Added to the logits before anything else; −∞ bans.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// `None` = from entropy.
    pub seed: Option<u64>,
    /// Log-probabilities of the `n` best tokens beside the sampled one (unmodified logits). `None` = none at all.
    pub logprobs: Option<u32>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_penalty_last_n: -1,
            dry_sequence_breakers: ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            rest_penalties: None,
            logit_bias: Vec::new(),
            seed: None,
            logprobs: None,
        }
    }
}

/// One generation.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt; at least one token.
    pub prompt: Vec<TokenId>,
    /// Sampler settings.
    pub sampling: SamplingParams,
    /// Ids that end the generation (the id itself is reported, then [`Finish::Stop`]).
    pub stop_ids: Vec<TokenId>,
    /// Most tokens to generate; `None` = until the context ends; 0 = prefill only (cache warming).
    pub max_tokens: Option<usize>,
    /// Give up at this moment with [`Finish::Deadline`].
    pub deadline: Option<Instant>,
    /// `false` = do not read the prefix cache.
    pub cache_prompt: bool,
}

/// What happens to a sequence, in this order: `Started`, `Progress`*, `Token`*, then one of `Done` and `Failed`.
#[derive(Clone, Debug)]
pub enum Event {
    /// Admitted to the batch; `cached` prompt tokens come from the prefix cache.
    Started {
        /// Prompt tokens not computed again.
        cached: usize,
    },
    /// After a prefill chunk.
    Progress {
        /// Prompt tokens in the KV cache so far, cached ones included.
        processed: usize,
        /// Prompt tokens.
        total: usize,
    },
    /// One sampled token.
    Token {
        /// The id.
        id: TokenId,
        /// Only when asked for.
        logprobs: Option<Box<TokenLogprobs>>,
    },
    /// The end.
    Done {
        /// Why.
        finish: Finish,
        /// Counts and times.
        usage: Usage,
    },
    /// The sequence failed (numerical fault, …); the message is for the log and the client.
    Failed {
        /// What happened.
        message: String,
    },
}

/// Log-probabilities at one position.
#[derive(Clone, Debug)]
pub struct TokenLogprobs {
    /// Of the sampled token.
    pub logprob: f32,
    /// The best tokens, descending.
    pub top: Vec<(TokenId, f32)>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop id was sampled.
    Stop,
    /// `max_tokens` or the context ended it.
    Length,
    /// The request's deadline passed.
    Deadline,
}

/// Counts and times of one sequence.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Usage {
    pub prompt_tokens: usize,
    pub cached_tokens: usize,
    pub generated_tokens: usize,
    pub queue_time: Duration,
    pub prompt_time: Duration,
    pub generation_time: Duration,
}
