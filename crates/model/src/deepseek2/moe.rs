//! The feed-forward part: dense, or routed experts beside a shared one.

use perigee_arch::Config;
use perigee_cpu::{Workers, silu_mul};

use super::router::route;
use super::weights::{FeedForward, Moe, SwiGlu};
use crate::workspace::FfnBuffers;

/// `out = FFN(x)`; `x, out: [n_tokens, hidden]`.
pub(super) fn feed_forward(
    config: &Config,
    workers: &Workers,
    ffn: &FeedForward,
    buffers: &mut FfnBuffers,
    (x, out): (&[f32], &mut [f32]),
) {
    match ffn {
        FeedForward::Dense(dense) => swi_glu(workers, dense, buffers, x, out),
        FeedForward::Moe(moe) => {
            match &moe.shared {
                Some(shared) => swi_glu(workers, shared, buffers, x, out),
                None => out.fill(0.0),
            }
            add_routed(config, workers, moe, buffers, (x, out));
        }
    }
}

/// `out = W_down ( silu(W_gate x) ⊙ W_up x )`.
fn swi_glu(workers: &Workers, w: &SwiGlu, buffers: &mut FfnBuffers, x: &[f32], out: &mut [f32]) {
    let width = w.intermediate;
    let n_tokens = x.len() / w.gate.matrix().n_in();
    let gate = &mut buffers.gate[..n_tokens * width];
    let up = &mut buffers.up[..n_tokens * width];
    w.gate.forward(workers, x, gate);
    w.up.forward(workers, x, up);
    workers.pool().for_chunks(gate, width, &|t, gate| {
        silu_mul(gate, &up[t * width..][..width]);
    });
    w.down.forward(workers, gate, out);
}

/// `out += Σ_e weight_e · Expert_e(x)`.
fn add_routed(
    config: &Config,
    workers: &Workers,
    moe: &Moe,
    buffers: &mut FfnBuffers,
    (x, out): (&[f32], &mut [f32]),
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
    let activations = &mut buffers.expert_activations;
    moe.experts()
        .forward(workers, &buffers.groups, x, activations, out);
    moe.show_inputs(&buffers.groups, x, activations);
}
