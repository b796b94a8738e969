//! The feed-forward part: dense, or routed experts beside a shared one.

use perigee_arch::Config;
use perigee_cpu::{ExpertGroups, ExpertPart, Experts, Workers, feed_experts};

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
    buffers.everyone.give_all(x.len() / config.hidden);
    let FfnBuffers {
        common_activations,
        everyone,
        groups,
        expert_activations,
        ..
    } = buffers;
    match ffn {
        FeedForward::Dense(dense) => {
            let dense = part(dense.expert(), everyone, common_activations);
            feed_experts(workers, [dense], x, out);
        }
        FeedForward::Moe(moe) => {
            let routed = part(moe.experts(), groups, expert_activations);
            match &moe.shared {
                Some(shared) => {
                    let shared = part(shared.expert(), everyone, common_activations);
                    feed_experts(workers, [shared, routed], x, out);
                }
                None => feed_experts(workers, [routed], x, out),
            }
        }
    }
    ffn.show_inputs(buffers, x);
}

fn part<'a>(
    experts: Experts<'a>,
    groups: &'a ExpertGroups,
    activations: &'a mut [f32],
) -> ExpertPart<'a> {
    ExpertPart {
        experts,
        groups,
        activations,
    }
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
