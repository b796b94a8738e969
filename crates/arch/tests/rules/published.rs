//! Published shapes: their sizes, their metadata there and back.

use perigee_arch::{Config, Gating, KvKind, KvLayout, ModelSpec, Yarn};
use perigee_gguf::{Gguf, Writer};
use perigee_quant::QuantKind;
use proptest::prelude::*;

const LAYOUTS: [KvLayout; 3] = [KvLayout::Split, KvLayout::Joined, KvLayout::Both];

fn spec(s: &str) -> ModelSpec {
    s.parse().unwrap_or_else(|e| panic!("{e}"))
}

fn read_back(config: &Config, layout: KvLayout) -> Config {
    let mut w = Writer::new();
    for (k, v) in config.to_metadata(layout) {
        w.metadata(&k, v);
    }
    let gguf = Gguf::from_vec("t.gguf", w.to_bytes()).unwrap();
    Config::from_metadata(gguf.metadata()).unwrap()
}

fn gib(s: &ModelSpec, l: KvLayout) -> f64 {
    s.weight_bytes(l).unwrap() as f64 / (1u64 << 30) as f64
}

#[test]
fn weights_take_the_published_bytes() {
    let base = spec("kimi-k2.6@Q8_0");
    for (kind, want) in [
        (QuantKind::Iq3K, 418.109),
        (QuantKind::Q4_0, 543.617),
        (QuantKind::Q8_0, 1016.117),
    ] {
        let s = ModelSpec {
            gate_up: kind,
            down: kind,
            ..base.clone()
        };
        assert!(
            (gib(&s, KvLayout::Split) - want).abs() < 6e-4,
            "{kind:?} {}",
            gib(&s, KvLayout::Split)
        );
    }
    let extra =
        base.weight_bytes(KvLayout::Both).unwrap() - base.weight_bytes(KvLayout::Split).unwrap();
    assert_eq!(extra, 543_686_656);
    for (l, n) in [
        (KvLayout::Split, 1096),
        (KvLayout::Joined, 1035),
        (KvLayout::Both, 1157),
    ] {
        assert_eq!(base.tensors(l).len(), n);
    }
    let r1 = spec("deepseek-r1@Q8_0");
    assert_eq!(
        (
            r1.tensors(KvLayout::Joined).len(),
            r1.tensors(KvLayout::Split).len()
        ),
        (1025, 1086)
    );
}

#[test]
fn a_configuration_written_as_metadata_is_read_back() {
    for name in [
        "kimi-k2",
        "kimi-k2-thinking",
        "kimi-k2.5",
        "kimi-k2.6",
        "deepseek-v3",
        "deepseek-r1",
        "deepseek-v2-lite",
        "moonlight",
        "tiny",
    ] {
        let c = spec(&format!("{name}@F16")).config;
        for l in LAYOUTS {
            assert_eq!(read_back(&c, l), c, "{name} {l:?}");
        }
    }
    for c in perigee_testkit::shapes::all() {
        for l in LAYOUTS {
            assert_eq!(read_back(&c, l), c);
        }
    }
    let c = spec("tiny@F32:heads=8,hidden=512,q_lora=128,dense=2,ffn=96,expert_ffn=64").config;
    assert_eq!(
        (c.n_heads, c.hidden, c.q_lora_rank, c.first_k_dense),
        (8, 512, Some(128), 2)
    );
    assert_eq!(read_back(&c, KvLayout::Split), c);
}

#[test]
fn kv_and_workspace_follow_their_formulas() {
    let c = spec("kimi-k2.6@IQ3_K").config;
    assert_eq!(c.kv_token_bytes(KvKind::F16), Some(1152 * 61));
    assert_eq!(c.kv_token_bytes(KvKind::Q8_0), Some(612 * 61));
    assert_eq!(c.kv_bytes(KvKind::F16, 262_144), Some(1152 * 61 * 262_144));
    assert_eq!(c.kv_bytes(KvKind::F16, u64::MAX), None);
    let one = 3 * 7168 + 64 + 1536 + 64 * 192 + 2 * 576 + 64 * 128 + 2 * 18432 + 384 + 8 * 2048;
    assert_eq!(c.workspace_bytes(1, 0), Some(4 * one));
    assert_eq!(c.workspace_bytes(0, 1), Some(4 * 64 * (576 + 512)));
    assert_eq!(c.workspace_bytes(u64::MAX, 0), None);
    assert_eq!(c.workspace_bytes(0, u64::MAX), None);
}

proptest! {
    #[test]
    fn any_valid_configuration_is_read_back(n_layers in 1usize..1024, dense in 0usize..1024, hidden in 1usize..1<<20, vocab in 1usize..1<<21,
        heads in 1usize..1024, nope in 1usize..2048, rope in 1usize..512, v in 1usize..4096, q in proptest::option::of(1usize..1<<20), kv in 1usize..1<<11,
        groups in 1usize..8, per in 1usize..64, tg in 0usize..8, used in 0usize..512, shared in 0usize..64, sig in any::<bool>(), norm in any::<bool>(),
        scale in 0.01f32..100.0, eps in 1e-9f32..1.0, base in 1.0f32..1e6, y in proptest::option::of((1.0f32..128.0, 1u32..1<<20, 0.1f32..64.0, 0.1f32..4.0, -1.0f32..1.0)),
        lin in 1.0f32..64.0, l in 0usize..3) {
        let topk_group = 1 + tg % (groups - 1).max(1);
        let c = Config { name: "x".into(), n_layers, hidden, vocab_size: vocab, context_length: 4096, n_heads: heads, qk_nope_head_dim: nope,
            qk_rope_head_dim: 2 * rope, v_head_dim: v, q_lora_rank: q, kv_lora_rank: kv, intermediate_size: 77, first_k_dense: dense % (n_layers + 1),
            n_routed_experts: groups * per, n_experts_used: 1 + used % (per * topk_group), n_shared_experts: shared, moe_intermediate_size: 55,
            gating: if sig { Gating::Sigmoid } else { Gating::Softmax }, norm_topk: norm, routed_scale: scale, n_group: groups, topk_group,
            rms_eps: eps, rope_base: base, rope_linear_factor: if y.is_some() { 1.0 } else { lin },
            yarn: y.map(|(factor, original_context, beta_fast, beta_slow, log_multiplier)| Yarn { factor, original_context, beta_fast, beta_slow, log_multiplier }) };
        prop_assert_eq!(read_back(&c, LAYOUTS[l]), c);
    }
}
