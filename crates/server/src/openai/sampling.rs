//! Sampler fields of a request to the engine's parameters.

use perigee_engine::SamplingParams;
use perigee_tokenizer::{TokenId, Tokenizer};
use serde_json::Value;

use super::request::{LogitBias, SamplingFields};
use crate::error::ApiError;

/// Sampler settings that the command line fixes; a request's own fields win.
#[derive(Clone, Copy, Debug, Default)]
pub struct SamplingDefaults {
    /// `--temp`.
    pub temperature: Option<f32>,
    /// `--top-k`; 0 = off.
    pub top_k: Option<u32>,
    /// `--top-p`.
    pub top_p: Option<f32>,
    /// `--min-p`.
    pub min_p: Option<f32>,
    /// `--seed`.
    pub seed: Option<u64>,
}

impl SamplingDefaults {
    /// Parameters of a request that says nothing: the command line, then the vendor's
    /// recommendation for the mode (thinking 1.0 / instant 0.6, top-p 0.95) with min-p 0.01,
    /// which trims the noise tail of quantised weights.
    pub fn params(&self, thinking: bool) -> SamplingParams {
        let recommended = if thinking { 1.0 } else { 0.6 };
        SamplingParams {
            temperature: self.temperature.unwrap_or(recommended),
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(0.95),
            min_p: self.min_p.unwrap_or(0.01),
            seed: self.seed,
            ..SamplingParams::default()
        }
    }
}

impl SamplingFields {
    /// Lays the request's own fields over `base`.
    pub(crate) fn resolve(
        &self,
        base: SamplingParams,
        tokenizer: &Tokenizer,
        stop_ids: &[TokenId],
    ) -> Result<SamplingParams, ApiError> {
        let mut logit_bias = self.biases(tokenizer)?;
        if self.ignore_eos == Some(true) {
            logit_bias.extend(stop_ids.iter().map(|&id| (id, f32::NEG_INFINITY)));
        }
        // llama.cpp writes "random" as -1 or as the largest u32.
        let seed = self
            .seed
            .and_then(|seed| u64::try_from(seed).ok())
            .filter(|&seed| seed != u64::from(u32::MAX));
        let top_k = self
            .top_k
            .map(|k| u32::try_from(k.max(0)).unwrap_or(u32::MAX));
        let breakers = self
            .dry_sequence_breakers
            .clone()
            .unwrap_or(base.dry_sequence_breakers);
        Ok(SamplingParams {
            temperature: range(
                "temperature",
                self.temperature,
                0.0,
                100.0,
                base.temperature,
            )?,
            top_k: top_k.unwrap_or(base.top_k),
            top_p: range("top_p", self.top_p, 0.0, 1.0, base.top_p)?,
            min_p: range("min_p", self.min_p, 0.0, 1.0, base.min_p)?,
            typical_p: range("typical_p", self.typical_p, 0.0, 1.0, base.typical_p)?,
            repeat_penalty: range(
                "repeat_penalty",
                self.repeat_penalty,
                0.01,
                100.0,
                base.repeat_penalty,
            )?,
            repeat_last_n: self.repeat_last_n.unwrap_or(base.repeat_last_n),
            presence_penalty: range(
                "presence_penalty",
                self.presence_penalty,
                -100.0,
                100.0,
                base.presence_penalty,
            )?,
            frequency_penalty: range(
                "frequency_penalty",
                self.frequency_penalty,
                -100.0,
                100.0,
                base.frequency_penalty,
            )?,
            dry_multiplier: range(
                "dry_multiplier",
                self.dry_multiplier,
                0.0,
                100.0,
                base.dry_multiplier,
            )?,
            dry_base: range("dry_base", self.dry_base, 1.0, 100.0, base.dry_base)?,
            dry_allowed_length: self.dry_allowed_length.unwrap_or(base.dry_allowed_length),
            dry_penalty_last_n: self.dry_penalty_last_n.unwrap_or(base.dry_penalty_last_n),
            dry_sequence_breakers: breakers,
            xtc_probability: range(
                "xtc_probability",
                self.xtc_probability,
                0.0,
                1.0,
                base.xtc_probability,
            )?,
            xtc_threshold: range(
                "xtc_threshold",
                self.xtc_threshold,
                0.0,
                1.0,
                base.xtc_threshold,
            )?,
            rest_penalties: base.rest_penalties,
            logit_bias,
            seed: seed.or(base.seed),
            logprobs: self.wanted_logprobs()?,
        })
    }

    fn wanted_logprobs(&self) -> Result<Option<u32>, ApiError> {
        match (self.logprobs, self.top_logprobs) {
            (_, Some(21..)) => Err(ApiError::bad_request(
                "top_logprobs",
                "top_logprobs must be from 0 to 20",
            )),
            (Some(true), top) => Ok(Some(top.unwrap_or(0))),
            (_, _) => Ok(None),
        }
    }

    fn biases(&self, tokenizer: &Tokenizer) -> Result<Vec<(TokenId, f32)>, ApiError> {
        let bad = |message: String| ApiError::bad_request("logit_bias", message);
        let id_of = |text: &str| {
            text.parse()
                .ok()
                .filter(|&id| (id as usize) < tokenizer.vocab_size())
                .map(TokenId)
                .ok_or_else(|| {
                    bad(format!(
                        "{text:?} is not a token id below {}",
                        tokenizer.vocab_size()
                    ))
                })
        };
        let mut biases = Vec::new();
        match &self.logit_bias {
            None => {}
            Some(LogitBias::Map(map)) => {
                for (id, &bias) in map {
                    biases.push((id_of(id)?, bias));
                }
                // A map has no order; the sum of two biases on one id must not depend on it.
                biases.sort_unstable_by_key(|&(id, _)| id);
            }
            Some(LogitBias::List(list)) => {
                for (token, bias) in list {
                    let bias = match bias {
                        Value::Bool(false) => f32::NEG_INFINITY,
                        Value::Number(number) => number.as_f64().unwrap_or(0.0) as f32,
                        other => return Err(bad(format!("{other} is neither a number nor false"))),
                    };
                    match token {
                        Value::Number(number) => biases.push((id_of(&number.to_string())?, bias)),
                        Value::String(text) => biases
                            .extend(tokenizer.encode_text(text).into_iter().map(|id| (id, bias))),
                        other => {
                            return Err(bad(format!("{other} is neither a token id nor a text")));
                        }
                    }
                }
            }
        }
        Ok(biases)
    }
}

fn range(name: &str, value: Option<f32>, low: f32, high: f32, base: f32) -> Result<f32, ApiError> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(ApiError::bad_request(
            name,
            format!("{name} must be from {low} to {high}, found {value}"),
        )),
        Some(value) => Ok(value),
        None => Ok(base),
    }
}
