//! Sampler settings.

use serde::Deserialize;

/// Samplers where a request says nothing; `[sampling]` in the configuration file.
#[derive(Clone, Copy, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Temperature; 0 = always the most likely token [default: 1.0 thinking, 0.6 without]
    #[arg(long, value_name = "T", env = "PERIGEE_TEMP")]
    pub(crate) temp: Option<f32>,
    /// Keep the N most likely tokens; 0 = all [default: 0]
    #[arg(long, value_name = "N", env = "PERIGEE_TOP_K")]
    pub(crate) top_k: Option<u32>,
    /// Keep the smallest set of tokens with this probability mass [default: 0.95]
    #[arg(long, value_name = "P", env = "PERIGEE_TOP_P")]
    pub(crate) top_p: Option<f32>,
    /// Keep tokens at least this likely, relative to the best one [default: 0.01]
    #[arg(long, value_name = "P", env = "PERIGEE_MIN_P")]
    pub(crate) min_p: Option<f32>,
    /// Seed of the random numbers [default: a new one for each request]
    #[arg(long, value_name = "N", env = "PERIGEE_SEED")]
    pub(crate) seed: Option<u64>,
}

impl SamplingArgs {
    /// Fills what was not typed from the file.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            temp: self.temp.or(file.temp),
            top_k: self.top_k.or(file.top_k),
            top_p: self.top_p.or(file.top_p),
            min_p: self.min_p.or(file.min_p),
            seed: self.seed.or(file.seed),
        }
    }
}
