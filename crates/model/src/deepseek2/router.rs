//! Which experts a token goes to, with which weights.
//!
//! DeepSeek-V3 (arXiv 2412.19437, 2.1.2): scores are sigmoids, a bias takes part in the
//! selection only, and the weights are the selected scores, normalised and scaled. All in f32:
//! near-equal scores make the selection sensitive to anything less.

use perigee_arch::{Config, Gating};
use perigee_cpu::{Route, sigmoid, softmax};

/// Guards the normaliser where every selected sigmoid underflows.
const MIN_WEIGHT_SUM: f32 = 1e-20;

/// Scratch floats of [`route`].
pub(super) fn scratch_len(config: &Config) -> usize {
    2 * config.n_routed_experts + config.n_group
}

/// Selects `routes.len()` experts by `logits: [n_routed_experts]`, with [`scratch_len`] floats. Of equal scores the lower index wins.
pub(super) fn route(
    config: &Config,
    logits: &[f32],
    bias: Option<&[f32]>,
    scratch: &mut [f32],
    routes: &mut [Route],
) {
    let (scores, scratch) = scratch.split_at_mut(logits.len());
    let (biased, worths) = scratch.split_at_mut(logits.len());
    scores.copy_from_slice(logits);
    match config.gating {
        Gating::Softmax => softmax(scores),
        Gating::Sigmoid => scores.iter_mut().for_each(|score| *score = sigmoid(*score)),
    }
    for (i, (biased, score)) in biased.iter_mut().zip(&*scores).enumerate() {
        let score = score + bias.map_or(0.0, |bias| bias[i]);
        // NaN marks what has been taken; a score that is one comes last. The token is lost
        // either way, and its logits will tell.
        *biased = if score.is_nan() {
            f32::NEG_INFINITY
        } else {
            score
        };
    }
    if config.n_group > 1 {
        mask_groups(biased, &mut worths[..config.n_group], config.topk_group);
    }
    for route in routes.iter_mut() {
        let expert = best(biased).unwrap_or(0);
        biased[expert] = f32::NAN;
        *route = Route {
            expert: expert as u32,
            weight: scores[expert],
        };
    }
    let mut factor = config.routed_scale;
    if config.norm_topk {
        let sum: f32 = routes.iter().map(|route| route.weight).sum();
        factor /= sum.max(MIN_WEIGHT_SUM);
    }
    for route in routes {
        route.weight *= factor;
    }
}

/// Index of the largest number, the first of equals.
fn best(values: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (i, value) in values.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|best| *value > values[best]) {
            best = Some(i);
        }
    }
    best
}

/// Sets all but the `n_kept` best groups to −∞; of equal groups the lower index is better.
/// `worths: [n_group]` is scratch memory.
fn mask_groups(biased: &mut [f32], worths: &mut [f32], n_kept: usize) {
    let group_len = biased.len() / worths.len();
    for (worth, group) in worths.iter_mut().zip(biased.chunks_exact(group_len)) {
        *worth = group_worth(group);
    }
    for (i, group) in biased.chunks_exact_mut(group_len).enumerate() {
        let own = worths[i];
        let is_better = |(j, other): (usize, &f32)| *other > own || (*other == own && j < i);
        let n_better = worths
            .iter()
            .enumerate()
            .filter(|group| is_better(*group))
            .count();
        if n_better >= n_kept {
            group.fill(f32::NEG_INFINITY);
        }
    }
}

/// The sum of the two largest scores.
fn group_worth(scores: &[f32]) -> f32 {
    let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for score in scores {
        if *score > first {
            (first, second) = (*score, first);
        } else if *score > second {
            second = *score;
        }
    }
    if scores.len() == 1 {
        first
    } else {
        first + second
    }
}

#[cfg(test)]
mod tests;
