//! Kimi-K2.6 by numbers: the tensors of a published file and what they take.

use perigee_arch::{Config, Expected, KvLayout, Role, expected_tensors};
use perigee_quant::QuantKind;
use perigee_testkit::shapes;

fn tensors() -> Vec<Expected> {
    let config = Config {
        n_layers: 61,
        hidden: 7168,
        vocab_size: 163_840,
        n_heads: 64,
        q_lora_rank: Some(1536),
        intermediate_size: 18_432,
        n_routed_experts: 384,
        moe_intermediate_size: 2048,
        ..shapes::kimi()
    };
    expected_tensors(&config, KvLayout::Split, false, false, true)
}

/// Norms, router and bias in F32, routed experts in IQ3_K, the rest in Q8_0.
fn n_bytes(tensor: &Expected) -> u64 {
    let kind = match tensor.role {
        Role::Norm | Role::Router => QuantKind::F32,
        Role::RoutedExperts => QuantKind::Iq3K,
        _ => QuantKind::Q8_0,
    };
    let (row_len, rows) = tensor.shapes[0]
        .split_first()
        .expect("no tensor is a scalar");
    let row_bytes = kind.row_bytes(*row_len as usize).expect("whole blocks");
    row_bytes as u64 * rows.iter().product::<u64>()
}

#[test]
fn kimi_k2_6_has_1096_tensors() {
    assert_eq!(tensors().len(), 1096);
}

#[test]
fn kimi_k2_6_with_routed_experts_in_iq3_k_takes_418_gib() {
    let total: u64 = tensors().iter().map(n_bytes).sum();
    let gib = total as f64 / f64::from(1 << 30);
    assert!((gib - 418.109).abs() < 0.001, "{gib} GiB");
}
