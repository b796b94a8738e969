//! SwiGLU, dense or as a mixture of experts.

use super::matrix::{Matrix, dot, load, load_vector};
use perigee_arch::{Config, Gating};
use perigee_gguf::Gguf;

/// One layer's FFN.
pub(super) enum FeedForward {
    Dense(SwiGlu),
    Experts {
        router: Box<Router>,
        experts: Vec<SwiGlu>,
        shared: Option<SwiGlu>,
    },
}

/// down( silu(gate · f) ⊙ (up · f) ).
pub(super) struct SwiGlu {
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

/// Scores, selection and weights of the routed experts.
pub(super) struct Router {
    weight: Matrix,
    /// Added to the scores for the selection only.
    bias: Option<Vec<f64>>,
    config: Config,
}

impl FeedForward {
    pub(super) fn new(gguf: &Gguf, c: &Config, layer: usize) -> Self {
        let name = |role: &str| format!("blk.{layer}.{role}");
        if !c.is_moe(layer) {
            return Self::Dense(SwiGlu::load(gguf, c, &name("ffn"), "", c.intermediate_size));
        }
        let bias = name("exp_probs_b.bias");
        let bias = gguf
            .tensor(&bias)
            .map(|t| load_vector(gguf, &t.name, c.n_routed_experts));
        let shared_len = c.n_shared_experts * c.moe_intermediate_size;
        Self::Experts {
            router: Box::new(Router {
                weight: load(
                    gguf,
                    &name("ffn_gate_inp.weight"),
                    c.n_routed_experts,
                    c.hidden,
                ),
                bias,
                config: c.clone(),
            }),
            experts: experts(gguf, c, &name("ffn")),
            shared: (shared_len > 0)
                .then(|| SwiGlu::load(gguf, c, &name("ffn"), "_shexp", shared_len)),
        }
    }

    pub(super) fn forward(&self, f: &[f64]) -> Vec<f64> {
        match self {
            Self::Dense(ffn) => ffn.forward(f),
            Self::Experts {
                router,
                experts,
                shared,
            } => {
                let mut out = match shared {
                    Some(shared) => shared.forward(f),
                    None => vec![0.0; f.len()],
                };
                for (expert, weight) in router.route(f) {
                    for (out, y) in out.iter_mut().zip(experts[expert].forward(f)) {
                        *out += weight * y;
                    }
                }
                out
            }
        }
    }
}

impl SwiGlu {
    fn load(gguf: &Gguf, c: &Config, prefix: &str, suffix: &str, len: usize) -> Self {
        let name = |part: &str| format!("{prefix}_{part}{suffix}.weight");
        Self {
            gate: load(gguf, &name("gate"), len, c.hidden),
            up: load(gguf, &name("up"), len, c.hidden),
            down: load(gguf, &name("down"), c.hidden, len),
        }
    }

    fn forward(&self, f: &[f64]) -> Vec<f64> {
        let gate = self.gate.times(f);
        let up = self.up.times(f);
        let hidden: Vec<f64> = gate
            .iter()
            .zip(&up)
            .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
            .collect();
        self.down.times(&hidden)
    }
}

/// The routed experts, from separate or merged gate and up.
fn experts(gguf: &Gguf, c: &Config, prefix: &str) -> Vec<SwiGlu> {
    let (n, len, hidden) = (c.n_routed_experts, c.moe_intermediate_size, c.hidden);
    let name = |part: &str| format!("{prefix}_{part}_exps.weight");
    let slice = |m: &Matrix, start: usize, rows: usize, cols: usize| {
        Matrix::from_values(cols, m.rows(start, rows).to_vec())
    };
    let down = load(gguf, &name("down"), n * hidden, len);
    if gguf.tensor(&name("gate_up")).is_some() {
        let merged = load(gguf, &name("gate_up"), n * 2 * len, hidden);
        let expert = |e: usize| SwiGlu {
            gate: slice(&merged, e * 2 * len, len, hidden),
            up: slice(&merged, e * 2 * len + len, len, hidden),
            down: slice(&down, e * hidden, hidden, len),
        };
        return (0..n).map(expert).collect();
    }
    let gate = load(gguf, &name("gate"), n * len, hidden);
    let up = load(gguf, &name("up"), n * len, hidden);
    let expert = |e: usize| SwiGlu {
        gate: slice(&gate, e * len, len, hidden),
        up: slice(&up, e * len, len, hidden),
        down: slice(&down, e * hidden, hidden, len),
    };
    (0..n).map(expert).collect()
}

impl Router {
    /// The chosen experts with their weights (DeepSeek-V3, arXiv 2412.19437, equations
    /// 12–16; the group limit as in its inference code).
    fn route(&self, f: &[f64]) -> Vec<(usize, f64)> {
        let c = &self.config;
        let logits: Vec<f64> = (0..c.n_routed_experts)
            .map(|e| dot(self.weight.row(e), f))
            .collect();
        let scores = scores(&logits, c.gating);
        let biased = match &self.bias {
            Some(bias) => scores.iter().zip(bias).map(|(s, b)| s + b).collect(),
            None => scores.clone(),
        };
        let allowed = allowed_experts(&biased, c);
        let chosen = largest(&biased, &allowed, c.n_experts_used);
        let sum: f64 = chosen.iter().map(|&e| scores[e]).sum();
        let divisor = if c.norm_topk { sum } else { 1.0 };
        let scale = f64::from(c.routed_scale) / divisor;
        chosen.into_iter().map(|e| (e, scores[e] * scale)).collect()
    }
}

fn scores(logits: &[f64], gating: Gating) -> Vec<f64> {
    match gating {
        Gating::Sigmoid => logits.iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect(),
        Gating::Softmax => {
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
            logits.iter().map(|l| (l - max).exp() / sum).collect()
        }
    }
}

/// The experts of the best groups; a group counts as much as its two best experts.
fn allowed_experts(biased: &[f64], c: &Config) -> Vec<usize> {
    if c.n_group <= 1 {
        return (0..biased.len()).collect();
    }
    let group_len = biased.len() / c.n_group;
    let group_score = |group: &[f64]| {
        let all: Vec<usize> = (0..group.len()).collect();
        largest(group, &all, 2)
            .iter()
            .map(|&e| group[e])
            .sum::<f64>()
    };
    let group_scores: Vec<f64> = biased.chunks(group_len).map(group_score).collect();
    let groups: Vec<usize> = (0..c.n_group).collect();
    let kept = largest(&group_scores, &groups, c.topk_group);
    kept.iter()
        .flat_map(|g| g * group_len..(g + 1) * group_len)
        .collect()
}

/// The `n` candidates with the largest values; the lower index first among equals.
fn largest(values: &[f64], candidates: &[usize], n: usize) -> Vec<usize> {
    let mut order = candidates.to_vec();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(n);
    order
}

#[cfg(test)]
mod tests {
    use super::{allowed_experts, largest};
    use crate::shapes;

    #[test]
    fn equal_scores_select_the_lower_index() {
        assert_eq!(largest(&[1.0, 3.0, 3.0, 2.0], &[0, 1, 2, 3], 2), [1, 2]);
    }

    #[test]
    fn a_group_is_kept_for_the_sum_of_its_two_best() {
        let config = shapes::deepseek_v3();
        // Four groups of two; group 1 has the best expert but not the best pair.
        let scores = [0.6, 0.6, 0.9, 0.0, 0.5, 0.55, 0.1, 0.2];
        let mut kept = allowed_experts(&scores, &config);
        kept.sort_unstable();
        assert_eq!(kept, [0, 1, 4, 5]);
    }
}
