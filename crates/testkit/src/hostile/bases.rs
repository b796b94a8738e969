//! The valid files that attacks start from.

use perigee_arch::{Config, KvLayout};
use perigee_gguf::{Value, Writer};
use perigee_quant::QuantKind;

use super::Draft;
use crate::{Kinds, Synthetic, shapes};

/// A complete model of a hundred kilobytes: Kimi's parts, each as small as it can be.
pub fn small() -> Config {
    shrunk(shapes::kimi())
}

fn shrunk(config: Config) -> Config {
    Config {
        n_layers: 2,
        hidden: 32,
        vocab_size: 290,
        n_heads: 2,
        qk_nope_head_dim: 32,
        qk_rope_head_dim: 16,
        v_head_dim: 32,
        q_lora_rank: config.q_lora_rank.map(|_| 32),
        kv_lora_rank: 64,
        intermediate_size: 32,
        moe_intermediate_size: 32,
        ..config
    }
}

/// Valid files that differ in layout, router, encoding, value types and shape ranks.
pub fn bases() -> Vec<Draft> {
    let q8 = || Kinds::uniform(QuantKind::Q8_0);
    let models = [
        Synthetic::new(small()).kinds(q8()),
        Synthetic::new(shrunk(shapes::deepseek_v2_lite()))
            .layout(KvLayout::Both)
            .kinds(q8()),
        Synthetic::new(shrunk(shapes::deepseek_v3()))
            .layout(KvLayout::Joined)
            .kinds(q8())
            .merged_gate_up()
            .tied_head(),
    ];
    let mut bases: Vec<Draft> = models
        .iter()
        .map(|model| Draft::of(&model.to_bytes()))
        .collect();
    bases.push(container());
    bases
}

/// No model: every value type alone and in arrays, tensors of every rank.
fn container() -> Draft {
    let mut writer = Writer::new();
    writer
        .metadata("general.alignment", Value::U32(64))
        .metadata("u8", Value::U8(1))
        .metadata("i8", Value::I8(-1))
        .metadata("u16", Value::U16(1))
        .metadata("i16", Value::I16(-1))
        .metadata("i32", Value::I32(-1))
        .metadata("u64", Value::U64(1))
        .metadata("i64", Value::I64(-1))
        .metadata("f32", Value::F32(1.0))
        .metadata("f64", Value::F64(1.0))
        .metadata("bool", Value::Bool(true))
        .metadata("text", Value::from("text"))
        .metadata("texts", Value::strings(["a", "", "bcd"]));
    let mut draft = {
        writer
            .tensor("a", QuantKind::F32, &[3], vec![0; 12])
            .tensor("b", QuantKind::F16, &[2, 3], vec![0; 12])
            .tensor("c", QuantKind::Q8_0, &[32, 2, 2], vec![0; 136])
            .tensor("d", QuantKind::Q4_0, &[64, 1, 2, 1], vec![0; 72]);
        Draft::of(&writer.to_bytes())
    };
    for (type_id, len) in [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 4),
        (5, 4),
        (6, 4),
        (7, 1),
    ] {
        draft.add(
            &format!("array.{type_id}"),
            super::ARRAY,
            &super::array(type_id, 3, &vec![1; 3 * len]),
        );
    }
    for type_id in 10..=12 {
        draft.add(
            &format!("array.{type_id}"),
            super::ARRAY,
            &super::array(type_id, 3, &[1; 24]),
        );
    }
    draft
}
