//! What each tensor of the file must hold, straight from the definition of the layout.

use perigee_gguf::Gguf;
use perigee_quant::QuantKind;

use crate::builder::{
    Checkpoint, EXPERT_FFN, EXPERTS, HEADS, HIDDEN, KV_RANK, LAYERS, NOPE, VALUE,
};

/// Compares every tensor but packed experts, bytes for bytes; matrices are of type `matrices`.
/// Returns how many.
pub(crate) fn check_plain(checkpoint: &Checkpoint, gguf: &Gguf, matrices: QuantKind) -> usize {
    let mut list: Vec<(String, Vec<f32>, usize, QuantKind)> = Vec::new();
    let weights = |name: &str| checkpoint.weights(name);
    let mut add = |name: &str, weights: Vec<f32>, row_len: usize, kind: QuantKind| {
        list.push((name.to_owned(), weights, row_len, kind));
    };
    let f32 = QuantKind::F32;
    add(
        "token_embd.weight",
        weights("model.embed_tokens.weight"),
        HIDDEN,
        matrices,
    );
    add(
        "output_norm.weight",
        weights("model.norm.weight"),
        HIDDEN,
        f32,
    );
    add("output.weight", weights("lm_head.weight"), HIDDEN, matrices);
    for layer in 0..LAYERS {
        let hf = |name: &str| weights(&format!("model.layers.{layer}.{name}.weight"));
        let pairs = [
            ("attn_norm", "input_layernorm", f32),
            ("ffn_norm", "post_attention_layernorm", f32),
            ("attn_q_a", "self_attn.q_a_proj", matrices),
            ("attn_q_a_norm", "self_attn.q_a_layernorm", f32),
            ("attn_q_b", "self_attn.q_b_proj", matrices),
            ("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa", matrices),
            ("attn_kv_a_norm", "self_attn.kv_a_layernorm", f32),
            ("attn_output", "self_attn.o_proj", matrices),
        ];
        let moe = [
            ("ffn_gate_inp", "mlp.gate", f32),
            ("ffn_gate_shexp", "mlp.shared_experts.gate_proj", matrices),
            ("ffn_up_shexp", "mlp.shared_experts.up_proj", matrices),
            ("ffn_down_shexp", "mlp.shared_experts.down_proj", matrices),
        ];
        let dense = [
            ("ffn_gate", "mlp.gate_proj", matrices),
            ("ffn_up", "mlp.up_proj", matrices),
            ("ffn_down", "mlp.down_proj", matrices),
        ];
        let ffn: &[_] = if layer == 0 { &dense } else { &moe };
        for &(name, source, kind) in pairs.iter().chain(ffn) {
            let name = format!("blk.{layer}.{name}.weight");
            let row_len = gguf.tensor(&name).unwrap().shape[0] as usize;
            add(&name, hf(source), row_len, kind);
        }
        if layer > 0 {
            let bias = format!("model.layers.{layer}.mlp.gate.e_score_correction_bias");
            let name = format!("blk.{layer}.exp_probs_b.bias");
            add(&name, weights(&bias), EXPERTS, f32);
        }
        let kv_b = hf("self_attn.kv_b_proj");
        let (mut k_b, mut v_b) = (Vec::new(), Vec::new());
        for head in 0..HEADS {
            let first = head * (NOPE + VALUE);
            for l in 0..KV_RANK {
                k_b.extend((0..NOPE).map(|d| kv_b[(first + d) * KV_RANK + l]));
            }
            for e in 0..VALUE {
                v_b.extend((0..KV_RANK).map(|l| kv_b[(first + NOPE + e) * KV_RANK + l]));
            }
        }
        add(&format!("blk.{layer}.attn_k_b.weight"), k_b, NOPE, matrices);
        add(
            &format!("blk.{layer}.attn_v_b.weight"),
            v_b,
            KV_RANK,
            matrices,
        );
    }
    for (name, weights, row_len, kind) in &list {
        let tensor = gguf
            .tensor(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(tensor.kind, *kind, "{name}");
        assert_eq!(tensor.shape[0] as usize, *row_len, "{name}");
        let expected = encode(weights, *row_len, *kind);
        assert!(gguf.bytes(tensor) == expected, "{name} holds other bytes");
    }
    list.len()
}

/// Rows one after the other.
pub(crate) fn encode(weights: &[f32], row_len: usize, kind: QuantKind) -> Vec<u8> {
    let row_bytes = kind.row_bytes(row_len).unwrap();
    let mut out = vec![0; weights.len() / row_len * row_bytes];
    for (x, bytes) in weights.chunks(row_len).zip(out.chunks_mut(row_bytes)) {
        kind.quantize_row(x, None, bytes).unwrap();
    }
    out
}

/// Compares every packed integer and every scale, bit for bit, and what they decode to.
/// Returns how many integers.
pub(crate) fn check_packed(checkpoint: &Checkpoint, gguf: &Gguf) -> usize {
    let mut n = 0;
    for layer in 1..LAYERS {
        for (part, columns, rows) in [
            ("gate", HIDDEN, EXPERT_FFN),
            ("up", HIDDEN, EXPERT_FFN),
            ("down", EXPERT_FFN, HIDDEN),
        ] {
            let name = format!("blk.{layer}.ffn_{part}_exps.weight");
            let tensor = gguf.tensor(&name).unwrap();
            assert_eq!(tensor.kind, QuantKind::Q4_0, "{name}");
            let shape = [columns as u64, rows as u64, EXPERTS as u64];
            assert_eq!(tensor.shape, shape, "{name}");
            let mut blocks = gguf.bytes(tensor).chunks_exact(18);
            for expert in 0..EXPERTS {
                let module = format!("{}model.layers.{layer}.mlp.experts", checkpoint.prefix);
                let (integers, scales) =
                    &checkpoint.experts[&format!("{module}.{expert}.{part}_proj")];
                for (group, scale) in integers.chunks_exact(32).zip(scales) {
                    let block = blocks.next().unwrap();
                    let d = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
                    assert_eq!(d.to_bits(), scale.to_f32().to_bits(), "{name}");
                    let mut decoded = [0.0; 32];
                    QuantKind::Q4_0.dequantize_row(block, &mut decoded);
                    for (i, &q) in group.iter().enumerate() {
                        let nibble = block[2 + i % 16] >> (4 * (i / 16)) & 15;
                        assert_eq!(i8::try_from(nibble).unwrap() - 8, q, "{name}");
                        assert_eq!(decoded[i], f32::from(q) * scale.to_f32(), "{name}");
                    }
                    n += group.len();
                }
            }
            assert!(blocks.next().is_none(), "{name}");
        }
    }
    n
}
