//! The tokens that may still be drawn, and the samplers that thin them out.

use std::cmp::Ordering;

use perigee_tokenizer::TokenId;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    pub(crate) logit: f32,
}

/// Most likely first; of equals the lower id, so that a draw does not depend on how they were found.
fn by_likelihood(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// A set of candidates. Probabilities are softmax over the set as it stands, before temperature.
#[derive(Default)]
pub(crate) struct Candidates {
    items: Vec<Candidate>,
    keyed: Vec<(f64, Candidate)>,
}

impl Candidates {
    /// All tokens that are not banned. Banned ones have −∞; if all are, the first token stays.
    pub(crate) fn load(&mut self, logits: &[f32]) {
        self.items.clear();
        let all = logits.iter().enumerate().map(|(id, &logit)| Candidate {
            id: id as u32,
            logit,
        });
        self.items
            .extend(all.filter(|candidate| candidate.logit > f32::NEG_INFINITY));
        if self.items.is_empty() {
            self.items.push(Candidate { id: 0, logit: 0.0 });
        }
    }

    /// The candidates, in no particular order.
    pub(crate) fn items(&self) -> &[Candidate] {
        &self.items
    }

    fn max(&self) -> f32 {
        self.items
            .iter()
            .map(|candidate| candidate.logit)
            .fold(f32::NEG_INFINITY, f32::max)
    }

    /// Σ exp(logit − max), and max.
    fn sum(&self) -> (f64, f32) {
        let max = self.max();
        (
            self.items
                .iter()
                .map(|candidate| weight(candidate, max))
                .sum(),
            max,
        )
    }

    /// Top-k: the `k` most likely, most likely first.
    pub(crate) fn keep_best(&mut self, k: usize) {
        if k < self.items.len() {
            self.items.select_nth_unstable_by(k, by_likelihood);
            self.items.truncate(k);
        }
        self.items.sort_unstable_by(by_likelihood);
    }

    /// Top-p: the smallest set of the most likely whose probability reaches `mass`.
    pub(crate) fn keep_mass(&mut self, mass: f32) {
        let (sum, max) = self.sum();
        let wanted = f64::from(mass) * sum;
        // Nearly always a few dozen tokens are enough.
        let mut sorted = 0;
        let mut reached = 0.0;
        while sorted < self.items.len() {
            let more = sorted.max(64).min(self.items.len() - sorted);
            let rest = &mut self.items[sorted..];
            if more < rest.len() {
                rest.select_nth_unstable_by(more, by_likelihood);
            }
            rest[..more].sort_unstable_by(by_likelihood);
            for i in sorted..sorted + more {
                reached += weight(&self.items[i], max);
                if reached >= wanted {
                    self.items.truncate(i + 1);
                    return;
                }
            }
            sorted += more;
        }
    }

    /// Min-p: those at least `ratio` times as likely as the best.
    pub(crate) fn keep_likely(&mut self, ratio: f32) {
        let least = self.max() + ratio.ln();
        self.items.retain(|candidate| candidate.logit >= least);
    }

    /// Locally typical sampling (Meister et al., 2022): the smallest set, by closeness of −ln p
    /// to the entropy, whose probability reaches `mass`.
    pub(crate) fn keep_typical(&mut self, mass: f32) {
        let (sum, max) = self.sum();
        let log_sum = sum.ln();
        let surprise = |candidate: &Candidate| log_sum - f64::from(candidate.logit - max);
        let entropy: f64 = self
            .items
            .iter()
            .map(|c| weight(c, max) / sum * surprise(c))
            .sum();
        self.keyed.clear();
        self.keyed.extend(
            self.items
                .iter()
                .map(|c| ((surprise(c) - entropy).abs(), *c)),
        );
        let closeness = |a: &(f64, Candidate), b: &(f64, Candidate)| {
            a.0.total_cmp(&b.0).then(a.1.id.cmp(&b.1.id))
        };
        let (mut sorted, mut reached) = (0, 0.0);
        self.items.clear();
        while sorted < self.keyed.len() {
            let more = sorted.max(64).min(self.keyed.len() - sorted);
            let rest = &mut self.keyed[sorted..];
            if more < rest.len() {
                rest.select_nth_unstable_by(more, closeness);
            }
            rest[..more].sort_unstable_by(closeness);
            for (_, candidate) in &rest[..more] {
                self.items.push(*candidate);
                reached += weight(candidate, max) / sum;
                if reached >= f64::from(mass) {
                    return;
                }
            }
            sorted += more;
        }
    }

    /// XTC: of the tokens at least as likely as `threshold`, only the least likely stays.
    pub(crate) fn exclude_top_choices(&mut self, threshold: f32) {
        let (sum, max) = self.sum();
        let is_top = |candidate: &Candidate| weight(candidate, max) / sum >= f64::from(threshold);
        let least = self
            .items
            .iter()
            .copied()
            .filter(is_top)
            .max_by(by_likelihood);
        if let Some(least) = least {
            self.items
                .retain(|candidate| !is_top(candidate) || candidate.id == least.id);
        }
    }

    /// Draws with probability ∝ exp(logit / temperature); `unit` is uniform in [0, 1).
    pub(crate) fn draw(&self, temperature: f32, unit: f64) -> TokenId {
        let max = self.max();
        let scale = 1.0 / f64::from(temperature);
        let weight = |candidate: &Candidate| (f64::from(candidate.logit - max) * scale).exp();
        let sum: f64 = self.items.iter().map(weight).sum();
        let mut left = unit * sum;
        for candidate in &self.items {
            left -= weight(candidate);
            if left < 0.0 {
                return TokenId(candidate.id);
            }
        }
        // Rounding may leave a last sliver; it belongs to the last candidate.
        TokenId(self.items.last().map_or(0, |candidate| candidate.id))
    }
}

fn weight(candidate: &Candidate, max: f32) -> f64 {
    f64::from(candidate.logit - max).exp()
}
