//! The feed-forward part: dense, or routed experts beside a shared one.

use perigee_arch::Config;
use perigee_cpu::{ExpertPart, Workers, feed_experts};

use super::router::route;
use super::weights::{FeedForward, Moe};
use crate::workspace::FfnBuffers;

/// `out = FFN(x)`; `x, out: [n_tokens, hidden]`.
pub(super) fn feed_forward(
    config: &Config,
    workers: &Workers,
    ffn: &FeedForward,
    buffers: &mut FfnBuffers,
    (x, out): (&[f32], &mut [f32]),
) {
    if let FeedForward::Moe(moe) = ffn {
        route_tokens(config, workers, moe, buffers, x);
    }
    let n_tokens = x.len() / config.hidden;
    buffers.everyone.give_all(n_tokens);
    let common = match ffn {
        FeedForward::Dense(dense) => Some(&**dense),
        FeedForward::Moe(moe) => moe.shared.as_ref(),
    };
    let common = common.map(|w| ExpertPart {
        experts: w.expert(),
        groups: &buffers.everyone,
        activations: &mut buffers.common_activations[..n_tokens * w.intermediate],
    });
    let routed = match ffn {
        FeedForward::Dense(_) => None,
        FeedForward::Moe(moe) => Some(ExpertPart {
            experts: moe.experts(),
            groups: &buffers.groups,
            activations: &mut buffers.expert_activations,
        }),
    };
    match (common, routed) {
        (Some(common), Some(routed)) => feed_experts(workers, [common, routed], x, out),
        (Some(only), None) | (None, Some(only)) => feed_experts(workers, [only], x, out),
        (None, None) => unreachable!("an FFN is dense or routed"),
    }
    ffn.show_inputs(buffers, x);
}

/// Sorts the tokens by the experts that the router selects for them.
fn route_tokens(
    config: &Config,
    workers: &Workers,
    moe: &Moe,
    buffers: &mut FfnBuffers,
    x: &[f32],
) {
    let (n_experts, top_k) = (config.n_routed_experts, config.n_experts_used);
    let n_tokens = x.len() / config.hidden;
    let logits = &mut buffers.router_logits[..n_tokens * n_experts];
    let routes = &mut buffers.routes[..n_tokens * top_k];
    moe.router.forward(workers, x, logits);
    let bias = moe.selection_bias.as_deref();
    workers.for_chunks(routes, top_k, |t, routes, scratch| {
        let logits = &logits[t * n_experts..][..n_experts];
        route(config, logits, bias, scratch, routes);
    });
    buffers.groups.group(routes, top_k);
}
