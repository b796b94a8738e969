//! From the times of small models to that of the whole one.
//!
//! Three models are measured, in all of which layers have their true dimensions:
//!
//! - A: the described one, some dense and some MoE layers and a small head;
//! - B: the same without MoE layers;
//! - C: B with the head of the whole model.
//!
//! A MoE layer takes (A − B) / its number of MoE layers; the whole model takes C, which is all
//! of it but the MoE layers, plus that time for each of them. Nothing is scaled by a count of
//! bytes or operations.

use std::fmt::Write as _;

use perigee_arch::{Config, KvLayout, ModelSpec, Role};
use perigee_cpu::ReadBandwidth;
use perigee_topology::Machine;
use serde_json::{Value, json};

use super::super::report::{self, Measured, Row};
use crate::args::BenchFormat;

/// A model to be measured.
pub(super) struct Shape {
    pub(super) spec: ModelSpec,
    pub(super) name: String,
}

/// What is to be measured, what has been, and what follows from it.
pub(super) struct Estimate {
    spec_text: String,
    whole_text: String,
    spec: ModelSpec,
    whole: ModelSpec,
    /// Why nothing follows for the whole model.
    obstacle: Option<String>,
    pub(super) bandwidth: Option<ReadBandwidth>,
    /// The shapes, measured, in their order.
    pub(super) models: Vec<Measured>,
}

impl Estimate {
    pub(super) fn new(
        spec_text: &str,
        spec: &ModelSpec,
        whole_text: &str,
        whole: &ModelSpec,
    ) -> Self {
        Self {
            spec_text: spec_text.to_owned(),
            whole_text: whole_text.to_owned(),
            obstacle: obstacle(&spec.config, &whole.config),
            spec: spec.clone(),
            whole: whole.clone(),
            bandwidth: None,
            models: Vec::new(),
        }
    }

    /// A, and B and C if they are needed and differ.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        let mut specs = vec![self.spec.clone()];
        if self.obstacle.is_none() {
            let mut shallow = self.spec.clone();
            shallow.config.n_layers = shallow.config.first_k_dense;
            let mut wide = shallow.clone();
            wide.config.vocab_size = self.whole.config.vocab_size;
            specs.push(shallow.clone());
            if wide != shallow {
                specs.push(wide);
            }
        }
        let letters = ["A", "B", "C"];
        let named = specs.into_iter().zip(letters).map(|(spec, letter)| {
            let c = &spec.config;
            let (dense, moe) = (c.first_k_dense, n_moe(c));
            let name = format!(
                "{letter}: {}, {dense} dense + {moe} MoE, vocab {}",
                c.name, c.vocab_size
            );
            Shape { spec, name }
        });
        named.collect()
    }

    /// Seconds of test number `test` for A, B and C: the fastest repetitions.
    fn seconds(&self, test: usize) -> [f64; 3] {
        let last = self.models.len() - 1;
        [0, 1, 2].map(|model| self.models[last.min(model)].rows[test].fastest())
    }

    /// Tokens per second of the whole model in test number `test`.
    fn whole_rate(&self, test: usize) -> Option<f64> {
        if self.obstacle.is_some() {
            return None;
        }
        let [a, b, c] = self.seconds(test);
        // Where the layers are so small that noise is all there is, they take no time.
        let layer = (a - b).max(0.0) / n_moe(&self.spec.config) as f64;
        let seconds = c + n_moe(&self.whole.config) as f64 * layer;
        Some(self.rows()[test].n_tokens() as f64 / seconds)
    }

    /// The tests of A.
    fn rows(&self) -> &[Row] {
        &self.models[0].rows
    }

    fn decode(&self) -> Option<usize> {
        self.rows()
            .iter()
            .position(|row| row.test.n_gen > 0 && row.test.n_seqs == 1)
    }

    fn prefill(&self) -> Option<usize> {
        self.rows().iter().position(|row| row.test.n_prompt > 0)
    }

    /// The share of the bandwidth that reading the weights at this rate takes.
    fn fraction(&self, bytes_per_token: f64, rate: f64) -> Option<f64> {
        let bandwidth = self.bandwidth?.best;
        Some(bytes_per_token * rate / bandwidth)
    }

    /// Why the numbers cannot be right.
    fn doubts(&self) -> Vec<String> {
        /// More than reading the same bandwidth twice differs by.
        const MOST: f64 = 1.1;
        let mut doubts = Vec::new();
        if self.obstacle.is_none() {
            for (i, row) in self.rows().iter().enumerate() {
                let [a, b, _] = self.seconds(i);
                if a <= b {
                    let name = report::test_name(&row.test);
                    doubts.push(format!(
                        "{name}: A, which has more layers, was faster than B"
                    ));
                }
            }
        }
        let decode = self.decode();
        let part = decode.map(|test| (self.rows()[test].rate(), &self.spec));
        let whole = decode.and_then(|test| Some((self.whole_rate(test)?, &self.whole)));
        for (rate, spec) in part.into_iter().chain(whole) {
            let fraction = self.fraction(bytes_per_token(spec), rate);
            if let Some(fraction) = fraction.filter(|fraction| *fraction > MOST) {
                let percent = 100.0 * fraction;
                doubts.push(format!(
                    "{rate:.2} tokens/s would take {percent:.0} % of the bandwidth that was measured"
                ));
            }
        }
        doubts
    }

    pub(super) fn render(&self, format: BenchFormat) -> String {
        match format {
            BenchFormat::Md => self.text(),
            BenchFormat::Json => format!("{:#}\n", self.json()),
            BenchFormat::Csv => report::csv(&self.tests()),
        }
    }

    /// The objects of A's tests, with the estimate for the whole model.
    fn tests(&self) -> Vec<Value> {
        let mut objects = report::objects(&self.models[0]);
        for (i, object) in objects.iter_mut().enumerate() {
            object["extrapolated_ts"] = json!(self.whole_rate(i));
        }
        objects
    }

    fn json(&self) -> Value {
        let decode = self.decode().map(|test| self.rows()[test].rate());
        let prefill = self.prefill().map(|test| self.rows()[test].rate());
        let gb_s = |rate: fn(&ReadBandwidth) -> f64| self.bandwidth.as_ref().map(|b| rate(b) / 1e9);
        let bytes = bytes_per_token(&self.spec);
        let shapes: Vec<Value> = self.models[1..]
            .iter()
            .map(|model| json!({"model": model.context.model, "tests": report::objects(model)}))
            .collect();
        json!({
            "spec": self.spec_text,
            "decode_tokens_per_second": decode,
            "prefill_tokens_per_second": prefill,
            "bytes_per_token": bytes.round() as u64,
            "measured_bandwidth_gb_s": gb_s(|b| b.best),
            "measured_bandwidth_median_gb_s": gb_s(|b| b.median),
            "bandwidth_fraction": decode.and_then(|rate| self.fraction(bytes, rate)),
            "extrapolated": self.whole_json(),
            "not_extrapolated": self.obstacle,
            "doubts": self.doubts(),
            "tests": self.tests(),
            "other_shapes": shapes,
        })
    }

    fn whole_json(&self) -> Value {
        if self.obstacle.is_some() {
            return Value::Null;
        }
        let decode = self.decode().and_then(|test| self.whole_rate(test));
        let prefill = self.prefill().and_then(|test| self.whole_rate(test));
        let bytes = bytes_per_token(&self.whole);
        let config = &self.whole.config;
        json!({
            "spec": self.whole_text,
            "n_layers": config.n_layers,
            "n_moe_layers": n_moe(config),
            "vocab_size": config.vocab_size,
            "weight_bytes": self.whole.weight_bytes(KvLayout::Split),
            "bytes_per_token": bytes.round() as u64,
            "decode_tokens_per_second": decode,
            "prefill_tokens_per_second": prefill,
            "bandwidth_fraction": decode.and_then(|rate| self.fraction(bytes, rate)),
        })
    }

    fn text(&self) -> String {
        let mut text = report::markdown(&self.models);
        if let Some(bandwidth) = self.bandwidth {
            let threads = self.models[0].context.threads;
            let (best, median) = (bandwidth.best / 1e9, bandwidth.median / 1e9);
            let _ = writeln!(
                text,
                "\nRead bandwidth with {threads} threads: {best:.1} GB/s ({median:.1} median)."
            );
        }
        let decode = self.decode().map(|test| self.rows()[test].rate());
        let _ = writeln!(text, "A {}", self.traffic(&self.spec, decode));
        match &self.obstacle {
            Some(obstacle) => {
                let _ = writeln!(text, "No estimate for {}: {obstacle}.", self.whole_text);
            }
            None => self.arithmetic(&mut text),
        }
        let doubts = self.doubts();
        for doubt in &doubts {
            let _ = writeln!(text, "Warning: {doubt}.");
        }
        if !doubts.is_empty() {
            text += "Something else used cores or memory meanwhile, or the model is too small: \
                     measure again on a quiet machine, with more repetitions (-r).\n";
        }
        text
    }

    /// `reads 1.2 GB of weights for a token; 10 tokens/s are 12 GB/s, 60 % of the bandwidth.`
    fn traffic(&self, spec: &ModelSpec, rate: Option<f64>) -> String {
        let bytes = bytes_per_token(spec);
        let mut text = format!("reads {:.3} GB of weights for a token", bytes / 1e9);
        if let Some((rate, fraction)) =
            rate.and_then(|rate| Some((rate, self.fraction(bytes, rate)?)))
        {
            let _ = write!(
                text,
                "; {rate:.2} tokens/s are {:.1} GB/s, {:.0} % of the bandwidth",
                bytes * rate / 1e9,
                100.0 * fraction,
            );
        }
        text + "."
    }

    fn arithmetic(&self, text: &mut String) {
        let (part, whole) = (&self.spec.config, &self.whole.config);
        let (few, all) = (n_moe(part), n_moe(whole));
        let last = if self.models.len() > 2 { "C" } else { "B" };
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let _ = write!(
            text,
            "\n{}: {} dense + {all} MoE layers, vocab {}",
            self.whole_text, whole.first_k_dense, whole.vocab_size
        );
        if let Some(bytes) = self.whole.weight_bytes(KvLayout::Split) {
            let _ = write!(text, ", {:.0} GB of weights", gb(bytes));
            if let Some(limit) = Machine::memory_limit() {
                let _ = write!(text, " (this machine has {:.0} GB of memory)", gb(limit));
            }
        }
        let _ = writeln!(
            text,
            ".\nEstimate: {last} + {all} × (A − B) / {few}, in milliseconds a token, fastest repetitions:\n"
        );
        let _ = writeln!(
            text,
            "| test            |          A |          B |          {last} |      whole |        t/s |\n\
             | --------------: | ---------: | ---------: | ---------: | ---------: | ---------: |"
        );
        for (i, row) in self.rows().iter().enumerate() {
            let n_tokens = row.n_tokens() as f64;
            let [a, b, c] = self.seconds(i).map(|seconds| 1e3 * seconds / n_tokens);
            let rate = self.whole_rate(i).unwrap_or(f64::NAN);
            let _ = writeln!(
                text,
                "| {:>15} | {a:>10.3} | {b:>10.3} | {c:>10.3} | {:>10.3} | {rate:>10.3} |",
                report::test_name(&row.test),
                1e3 / rate,
            );
        }
        let decode = self.decode().and_then(|test| self.whole_rate(test));
        let _ = writeln!(
            text,
            "\nThe whole model {}",
            self.traffic(&self.whole, decode)
        );
    }
}

fn n_moe(config: &Config) -> usize {
    config.n_layers - config.first_k_dense
}

/// Why the times of this model say nothing about the whole one: only depth and vocabulary may
/// differ.
fn obstacle(part: &Config, whole: &Config) -> Option<String> {
    let same = Config {
        n_layers: whole.n_layers,
        vocab_size: whole.vocab_size,
        context_length: whole.context_length,
        first_k_dense: whole.first_k_dense,
        ..part.clone()
    };
    let (dense, wanted) = (part.first_k_dense, whole.first_k_dense);
    if same != *whole {
        Some("its layers have other dimensions; only layers, vocab and ctx may be named".to_owned())
    } else if dense != wanted || dense == 0 {
        Some(format!(
            "{dense} dense layers are measured, it has {wanted}"
        ))
    } else if part.n_layers == dense {
        let least = dense + 1;
        Some(format!("no MoE layer is measured; name layers={least}"))
    } else {
        None
    }
}

/// Bytes of weights that generating one token reads: of routed experts those that are used, of
/// the embedding one row.
fn bytes_per_token(spec: &ModelSpec) -> f64 {
    let config = &spec.config;
    let tensors = spec.tensors(KvLayout::Split);
    let bytes = tensors.iter().map(|(tensor, kind)| {
        let (row_len, dims) = tensor.shapes[0].split_first().expect("tensors have rows");
        let row_bytes = kind.row_bytes(*row_len as usize).unwrap_or(0) as f64;
        let rows: f64 = dims.iter().map(|&n| n as f64).product();
        let share = match tensor.role {
            Role::RoutedExperts => config.n_experts_used as f64 / config.n_routed_experts as f64,
            Role::Embedding => 1.0 / config.vocab_size as f64,
            _ => 1.0,
        };
        row_bytes * rows * share
    });
    bytes.sum()
}

#[cfg(test)]
mod tests;
