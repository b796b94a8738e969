//! Random rows of one tensor.

use perigee_quant::QuantKind;

use crate::scales::Template;
use crate::splitmix::stream;
use crate::{Gaussian, SplitMix};

/// Weights that are decoded to learn how large those of scale 1 are.
const SAMPLE: usize = 1 << 14;

/// Makes any row of a tensor, each from a stream of its own.
pub(crate) struct Rows {
    stream: u64,
    row_bytes: usize,
    form: Form,
}

enum Form {
    /// F32: one number after another.
    Numbers { mean: f32, deviation: f32 },
    /// Everything else: random bits between fixed scales.
    Blocks { row: Template, symmetric: bool },
}

impl Rows {
    /// Rows of `row_len` weights with this mean and standard deviation. Only F32, which norms,
    /// routers and biases are, has a mean other than 0; a type whose scales are powers of two
    /// hits the deviation within a factor of √2.
    pub(crate) fn new(
        seed: u64,
        name: &str,
        kind: QuantKind,
        row_len: usize,
        mean: f32,
        deviation: f32,
    ) -> Self {
        let row_bytes = kind
            .row_bytes(row_len)
            .expect("a spec has rows of whole blocks");
        let form = match kind {
            QuantKind::F32 => Form::Numbers { mean, deviation },
            _ => Form::Blocks {
                row: Template::new(kind, row_bytes, deviation / unit_deviation(kind)),
                symmetric: false,
            },
        };
        Self {
            stream: stream(seed, name),
            row_bytes,
            form,
        }
    }

    /// The same with codes 1 to 15 in nibbles, as Q4_0 stores integers of −7 to 7.
    pub(crate) fn symmetric(mut self) -> Self {
        if let Form::Blocks { symmetric, .. } = &mut self.form {
            *symmetric = true;
        }
        self
    }

    pub(crate) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Writes rows from `first_row` on.
    pub(crate) fn fill(&self, first_row: u64, out: &mut [u8]) {
        assert!(
            out.len().is_multiple_of(self.row_bytes),
            "{} bytes in rows of {}",
            out.len(),
            self.row_bytes
        );
        for (i, out) in (first_row..).zip(out.chunks_exact_mut(self.row_bytes)) {
            // The streams of SplitMix are one cycle: rows start at random places of it.
            let start = SplitMix::new(self.stream.wrapping_add(i)).bits();
            let mut random = SplitMix::new(start);
            match &self.form {
                Form::Numbers { mean, deviation } => {
                    let mut numbers = Gaussian::of(random);
                    for out in out.chunks_exact_mut(4) {
                        let number = numbers.value(*mean, *deviation);
                        out.copy_from_slice(&number.to_le_bytes());
                    }
                }
                Form::Blocks { row, symmetric } => {
                    random_bytes(&mut random, *symmetric, out);
                    for ((out, mask), fixed) in out.iter_mut().zip(&row.mask).zip(&row.fixed) {
                        *out = *out & mask | fixed;
                    }
                }
            }
        }
    }
}

fn random_bytes(random: &mut SplitMix, symmetric: bool, out: &mut [u8]) {
    let (words, rest) = out.as_chunks_mut::<8>();
    let mut next = || {
        let bits = random.bits();
        let bits = if symmetric { without_zeros(bits) } else { bits };
        bits.to_le_bytes()
    };
    for word in words {
        *word = next();
    }
    let last = next();
    rest.copy_from_slice(&last[..rest.len()]);
}

/// Nibbles of 0 become 8, the code of a weight of 0: no weight lies beyond ±7 scales.
fn without_zeros(bits: u64) -> u64 {
    const LOW: u64 = 0x1111_1111_1111_1111;
    let any = bits | bits >> 2;
    let any = any | any >> 1;
    bits | (!any & LOW) << 3
}

/// Root mean square of random weights of scale 1.
fn unit_deviation(kind: QuantKind) -> f32 {
    let row_bytes = kind
        .row_bytes(SAMPLE)
        .expect("a power of two is a whole number of blocks");
    let sample = Rows {
        stream: 0,
        row_bytes,
        form: Form::Blocks {
            row: Template::new(kind, row_bytes, 1.0),
            symmetric: false,
        },
    };
    let mut bytes = vec![0; row_bytes];
    sample.fill(0, &mut bytes);
    let mut weights = vec![0.0; SAMPLE];
    kind.dequantize_row(&bytes, &mut weights);
    let squares: f64 = weights.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
    (squares / SAMPLE as f64).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_the_deviation_asked_for_and_finite_weights() {
        const LEN: usize = 1 << 15;
        for &kind in QuantKind::ALL {
            let rows = Rows::new(3, "blk.0.ffn_up.weight", kind, LEN, 0.0, 0.012);
            let mut bytes = vec![0; 2 * rows.row_bytes()];
            rows.fill(5, &mut bytes);
            let mut weights = vec![0.0; LEN];
            for row in bytes.chunks_exact(rows.row_bytes()) {
                kind.dequantize_row(row, &mut weights);
                assert!(weights.iter().all(|w| w.is_finite()), "{}", kind.name());
                let moment = |f: fn(f64) -> f64| {
                    weights.iter().map(|&w| f(f64::from(w))).sum::<f64>() / LEN as f64
                };
                let (mean, deviation) = (moment(|w| w), moment(|w| w * w).sqrt());
                let off = (deviation / 0.012).log2().abs();
                let bound = match kind {
                    QuantKind::F16 | QuantKind::Bf16 | QuantKind::Mxfp4 => 0.6,
                    QuantKind::Nvfp4 => 0.3,
                    _ => 0.1,
                };
                assert!(off < bound, "{}: deviation {deviation}", kind.name());
                let bound = 0.6 * deviation;
                assert!(mean.abs() < bound, "{}: mean {mean}", kind.name());
            }
        }
    }

    #[test]
    fn rows_do_not_depend_on_how_they_are_asked_for() {
        for kind in [QuantKind::Iq3K, QuantKind::F32, QuantKind::Iq2Kl] {
            let rows = Rows::new(1, "a", kind, 512, 0.0, 1.0);
            let n = rows.row_bytes();
            let mut all = vec![0; 6 * n];
            rows.fill(10, &mut all);
            let mut two = vec![0; 2 * n];
            rows.fill(12, &mut two);
            assert_eq!(two, all[2 * n..4 * n]);
            assert_ne!(two[..n], two[n..]);
        }
    }

    #[test]
    fn symmetric_rows_have_no_code_of_zero() {
        let rows = Rows::new(1, "a", QuantKind::Q4_0, 3200, 0.0, 1.0).symmetric();
        let mut bytes = vec![0; rows.row_bytes()];
        rows.fill(0, &mut bytes);
        let mut seen = [false; 16];
        for block in bytes.chunks_exact(18) {
            for byte in &block[2..] {
                seen[usize::from(byte & 15)] = true;
                seen[usize::from(byte >> 4)] = true;
            }
        }
        assert!(!seen[0] && seen[1..].iter().all(|seen| *seen), "{seen:?}");
    }
}
