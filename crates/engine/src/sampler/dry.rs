//! DRY: penalises the token that would extend a repetition of what was said before
//! (p-e-w's proposal in text-generation-webui, 2024; here as in llama.cpp).

use perigee_tokenizer::{TokenId, Tokenizer};
use rustc_hash::FxHashMap;

use crate::SamplingParams;

/// Buffers of the search.
#[derive(Default)]
pub(crate) struct Dry {
    reversed: Vec<TokenId>,
    /// `matches[i]`: how many tokens the sequence ending `i` back has in common with its end.
    matches: Vec<usize>,
    longest: FxHashMap<TokenId, usize>,
}

impl Dry {
    /// Subtracts `multiplier · base^(n − allowed)` from each token that would continue a
    /// repetition of `n ≥ allowed` tokens. Repetitions do not cross breakers or control tokens.
    pub(crate) fn apply(
        &mut self,
        params: &SamplingParams,
        logits: &mut [f32],
        tokens: &[TokenId],
        tokenizer: &Tokenizer,
    ) {
        if params.dry_multiplier <= 0.0 || params.dry_base < 1.0 || params.dry_penalty_last_n == 0 {
            return;
        }
        let window = usize::try_from(params.dry_penalty_last_n)
            .unwrap_or(usize::MAX)
            .min(tokens.len());
        self.reversed.clear();
        self.reversed
            .extend(tokens[tokens.len() - window..].iter().rev());
        let breaks = |id: TokenId| {
            tokenizer.is_control(id)
                || params.dry_sequence_breakers.iter().any(|breaker| {
                    !breaker.is_empty() && contains(tokenizer.bytes(id), breaker.as_bytes())
                })
        };
        let reach = self.reversed.iter().take_while(|&&id| !breaks(id)).count();
        let allowed = params.dry_allowed_length as usize;
        if reach < allowed.max(1) {
            return;
        }
        self.match_ends();
        self.longest.clear();
        for i in 1..self.reversed.len() {
            let n = self.matches[i].min(reach);
            let next = self.reversed[i - 1];
            if n >= allowed.max(1) && !tokenizer.is_control(next) {
                let longest = self.longest.entry(next).or_default();
                *longest = (*longest).max(n);
            }
        }
        for (&id, &n) in &self.longest {
            let exponent = (n - allowed.min(n)) as f32;
            logits[id.0 as usize] -=
                params.dry_multiplier * params.dry_base.powf(exponent).min(f32::MAX / 1e6);
        }
    }

    /// The Z function of the reversed window: common prefix lengths with itself shifted, in linear time.
    fn match_ends(&mut self) {
        let s = &self.reversed;
        self.matches.clear();
        self.matches.resize(s.len(), 0);
        let (mut left, mut right) = (0, 0);
        for i in 1..s.len() {
            let mut n = if i < right {
                self.matches[i - left].min(right - i)
            } else {
                0
            };
            while i + n < s.len() && s[n] == s[i + n] {
                n += 1;
            }
            if i + n > right {
                (left, right) = (i, i + n);
            }
            self.matches[i] = n;
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
