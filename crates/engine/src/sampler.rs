//! From logits to a token: logit bias, penalties, DRY, top-k, typical, top-p, min-p, XTC,
//! temperature, in llama.cpp's order.
//!
//! A vocabulary has 163,840 entries: nothing here sorts all of them, and after the first
//! tokens nothing allocates.

mod candidates;
mod dry;
mod logprobs;
mod penalties;
mod random;

use perigee_tokenizer::{TokenId, Tokenizer};

pub(crate) use self::candidates::Candidates;
use self::dry::Dry;
use self::penalties::Counts;
use self::random::Random;
use crate::{SamplingParams, TokenLogprobs};

/// The sampler of one sequence.
pub(crate) struct Sampler {
    params: SamplingParams,
    random: Random,
    /// Between the tokens of `rest_penalties`.
    resting: bool,
}

/// Buffers that all sequences share.
#[derive(Default)]
pub(crate) struct Scratch {
    candidates: Candidates,
    counts: Counts,
    dry: Dry,
}

/// A sampled token.
#[derive(Debug)]
pub(crate) struct Sampled {
    pub(crate) id: TokenId,
    pub(crate) logprobs: Option<Box<TokenLogprobs>>,
}

/// Why no token could be sampled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SampleError {
    /// The model computed NaN or infinity: a broken block, or an overflow.
    #[error("numerical fault: the logits are not finite")]
    NotFinite,
}

impl Sampler {
    /// A sampler at the start of a sequence. Without a seed the operating system gives one.
    pub(crate) fn new(params: &SamplingParams, tokenizer: &Tokenizer) -> Self {
        let mut params = params.clone();
        params
            .logit_bias
            .retain(|(id, _)| (id.0 as usize) < tokenizer.vocab_size());
        let random = params.seed.map_or_else(Random::from_entropy, Random::new);
        Self {
            params,
            random,
            resting: false,
        }
    }

    /// Samples from `logits` (`[vocab_size]`, overwritten). `tokens` is the whole sequence, of
    /// which the last `n_generated` were generated.
    ///
    /// # Errors
    /// A logit is not finite.
    pub(crate) fn sample(
        &mut self,
        logits: &mut [f32],
        tokens: &[TokenId],
        n_generated: usize,
        tokenizer: &Tokenizer,
        scratch: &mut Scratch,
    ) -> Result<Sampled, SampleError> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(SampleError::NotFinite);
        }
        // Of the unmodified logits, as OpenAI reports them.
        let asked = self
            .params
            .logprobs
            .map(|n| logprobs::Table::new(logits, n as usize, &mut scratch.candidates));
        for &(id, bias) in &self.params.logit_bias {
            // A ban is −∞ and stays one whatever is added to it.
            logits[id.0 as usize] += bias;
        }
        if !self.resting {
            scratch
                .counts
                .apply(&self.params, logits, tokens, n_generated, tokenizer);
            scratch.dry.apply(&self.params, logits, tokens, tokenizer);
        }
        let id = if self.params.temperature <= 0.0 || self.params.top_k == 1 {
            argmax(logits)
        } else {
            self.draw(logits, &mut scratch.candidates)
        };
        let logprobs = asked.map(|table| Box::new(table.report(id)));
        if let Some((begin, ends)) = &self.params.rest_penalties {
            self.resting = id == *begin || (self.resting && !ends.contains(&id));
        }
        Ok(Sampled { id, logprobs })
    }

    fn draw(&mut self, logits: &[f32], candidates: &mut Candidates) -> TokenId {
        let params = &self.params;
        candidates.load(logits);
        if params.top_k > 0 {
            candidates.keep_best(params.top_k as usize);
        }
        if params.typical_p < 1.0 {
            candidates.keep_typical(params.typical_p);
        }
        if params.top_p < 1.0 {
            candidates.keep_mass(params.top_p);
        }
        if params.min_p > 0.0 {
            candidates.keep_likely(params.min_p);
        }
        if params.xtc_probability > 0.0 && self.random.unit() < f64::from(params.xtc_probability) {
            candidates.exclude_top_choices(params.xtc_threshold);
        }
        candidates.draw(params.temperature, self.random.unit())
    }
}

/// The most likely token; of equals the one with the lowest id. If everything is banned, id 0.
fn argmax(logits: &[f32]) -> TokenId {
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = i;
        }
    }
    TokenId(best as u32)
}

#[cfg(test)]
mod tests;
