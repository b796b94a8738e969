//! Reading hyper-parameters.

use perigee_arch::{Config, Error, Gating, KvLayout, Yarn};
use perigee_gguf::{Gguf, Value, Writer};
use perigee_testkit::{Synthetic, shapes};

use crate::models::{Keys, assert_names};

fn per_layer(values: &[u32]) -> Value {
    Value::array(values.iter().copied().map(Value::U32))
}

#[test]
fn every_shape_of_the_family_is_read_as_it_was_written() {
    for config in shapes::all() {
        let gguf = Synthetic::new(config.clone()).gguf();
        assert_eq!(Keys::of(&gguf).accepted(), config);
    }
}

#[test]
fn another_architecture_is_named() {
    let keys = Keys::kimi().set_full("general.architecture", Value::from("llama"));
    let error = keys.refused("\"llama\" is not supported");
    assert!(matches!(error, Error::Architecture { .. }), "{error:?}");
    let error = Keys::kimi()
        .without_full("general.architecture")
        .refused("\"none\"");
    assert!(matches!(error, Error::Architecture { .. }), "{error:?}");
}

#[test]
fn every_key_without_a_default_is_demanded_by_name() {
    let needed = [
        "block_count",
        "embedding_length",
        "attention.head_count",
        "rope.dimension_count",
        "expert_used_count",
        "expert_feed_forward_length",
        "feed_forward_length",
        "rope.scaling.original_context_length",
        "context_length",
        "attention.kv_lora_rank",
        "attention.layer_norm_rms_epsilon",
        "vocab_size",
    ];
    for name in needed {
        let full = format!("\"deepseek2.{name}\" is missing");
        let error = Keys::kimi().without(name).refused(&full);
        assert!(matches!(error, Error::MissingKey { .. }), "{error:?}");
    }
    for (mla, plain) in [
        ("attention.key_length_mla", "attention.key_length"),
        ("attention.value_length_mla", "attention.value_length"),
    ] {
        let error = Keys::kimi().without(mla).without(plain).refused(plain);
        assert!(matches!(error, Error::MissingKey { .. }), "{error:?}");
    }
}

#[test]
fn keys_with_a_default_may_be_absent() {
    let config = Keys::kimi()
        .without("attention.head_count_kv")
        .without("attention.q_lora_rank")
        .without("leading_dense_block_count")
        .without("expert_shared_count")
        .without("expert_weights_scale")
        .without("expert_weights_norm")
        .without("expert_gating_func")
        .without("expert_group_count")
        .without("expert_group_used_count")
        .without("rope.freq_base")
        .without("rope.scaling.yarn_beta_fast")
        .without("rope.scaling.yarn_beta_slow")
        .without("rope.scaling.yarn_log_multiplier")
        .without_full("general.name")
        .accepted();
    let yarn = Yarn {
        factor: 64.0,
        original_context: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        log_multiplier: 0.0,
    };
    let expected = Config {
        name: "unnamed".to_owned(),
        q_lora_rank: None,
        first_k_dense: 0,
        n_shared_experts: 0,
        routed_scale: 1.0,
        norm_topk: false,
        gating: Gating::Softmax,
        rope_base: 10_000.0,
        yarn: Some(yarn),
        ..shapes::kimi()
    };
    assert_eq!(config, expected);
}

#[test]
fn zero_means_none_where_converters_write_it() {
    let config = Keys::kimi()
        .set("attention.q_lora_rank", Value::U32(0))
        .set("expert_weights_scale", Value::F32(0.0))
        .set("expert_gating_func", Value::U32(0))
        .set("expert_group_count", Value::U32(0))
        .set("expert_group_used_count", Value::U32(0))
        .accepted();
    assert_eq!((config.q_lora_rank, config.routed_scale), (None, 1.0));
    assert_eq!((config.n_group, config.topk_group), (1, 1));
    assert_eq!(config.gating, Gating::Softmax);
}

#[test]
fn a_model_without_experts_is_dense_throughout() {
    let config = Keys::kimi()
        .without("expert_count")
        .without("expert_used_count")
        .without("expert_feed_forward_length")
        .accepted();
    assert_eq!(config.n_routed_experts, 0);
    assert!((0..config.n_layers).all(|layer| !config.is_moe(layer)));
}

#[test]
fn counts_outside_the_range_of_the_family_are_refused() {
    let cases: [(&str, u32); 27] = [
        ("block_count", 0),
        ("block_count", 1025),
        ("embedding_length", 0),
        ("embedding_length", (1 << 20) + 1),
        ("attention.head_count", 0),
        ("attention.head_count", 1025),
        ("attention.head_count_kv", 0),
        ("attention.key_length_mla", 0),
        ("attention.key_length_mla", 4097),
        ("attention.value_length_mla", 0),
        ("rope.dimension_count", 1),
        ("rope.dimension_count", 4097),
        ("expert_count", 1025),
        ("expert_used_count", 0),
        ("expert_used_count", 9),
        ("expert_feed_forward_length", 0),
        ("expert_gating_func", 3),
        ("expert_group_count", 1025),
        ("expert_group_used_count", 2),
        ("expert_shared_count", 65),
        ("leading_dense_block_count", 4),
        ("feed_forward_length", 0),
        ("context_length", 0),
        ("context_length", (1 << 28) + 1),
        ("attention.kv_lora_rank", 0),
        ("vocab_size", (1 << 21) + 1),
        ("rope.scaling.original_context_length", 0),
    ];
    for (name, value) in cases {
        let subject = format!("deepseek2.{name} is {value}");
        let error = Keys::kimi().set(name, Value::U32(value)).refused(&subject);
        assert!(matches!(error, Error::Range { .. }), "{error:?}");
    }
}

#[test]
fn floats_must_be_finite_and_in_range() {
    let cases = [
        ("attention.layer_norm_rms_epsilon", 0.0),
        ("attention.layer_norm_rms_epsilon", f32::NAN),
        ("rope.freq_base", -1.0),
        ("rope.freq_base", f32::INFINITY),
        ("rope.scaling.factor", 0.5),
        ("rope.scaling.factor", f32::NAN),
        ("rope.scaling.yarn_beta_fast", 0.0),
        ("rope.scaling.yarn_beta_slow", -1.0),
        ("rope.scaling.yarn_log_multiplier", f32::NAN),
        ("expert_weights_scale", f32::INFINITY),
    ];
    for (name, value) in cases {
        let subject = format!("deepseek2.{name} is {value}");
        let error = Keys::kimi().set(name, Value::F32(value)).refused(&subject);
        assert!(matches!(error, Error::Range { .. }), "{error:?}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let cases = [
        (
            "attention.head_count_kv",
            3,
            "it must divide the head count",
        ),
        ("rope.dimension_count", 63, "it must be even"),
        ("rope.dimension_count", 192, "less than the key length"),
        ("expert_group_count", 3, "it must divide the expert count"),
    ];
    for (name, value, rule) in cases {
        let error = Keys::kimi().set(name, Value::U32(value)).refused(rule);
        assert_names(&error, &format!("deepseek2.{name} is {value}"));
    }
    let error = Keys::kimi()
        .set("expert_group_count", Value::U32(4))
        .set("expert_group_used_count", Value::U32(2))
        .refused("fewer experts than a token uses");
    assert_names(&error, "deepseek2.expert_group_used_count is 2");
}

#[test]
fn another_kind_of_rope_scaling_is_refused() {
    let keys = Keys::kimi().set("rope.scaling.type", Value::from("longrope"));
    let error =
        keys.refused("deepseek2.rope.scaling.type is longrope; expected none, linear or yarn");
    assert!(matches!(error, Error::Range { .. }), "{error:?}");
}

#[test]
fn linear_scaling_and_none_are_read() {
    let linear = Keys::kimi()
        .set("rope.scaling.type", Value::from("linear"))
        .accepted();
    assert_eq!((linear.yarn, linear.rope_linear_factor), (None, 64.0));
    for none in ["none", ""] {
        let none = Keys::kimi()
            .set("rope.scaling.type", Value::from(none))
            .accepted();
        assert_eq!((none.yarn, none.rope_linear_factor), (None, 1.0));
    }
}

#[test]
fn a_key_of_another_type_is_refused_by_the_container() {
    for (name, value) in [
        ("block_count", Value::F32(3.0)),
        ("block_count", Value::I32(-1)),
        ("rope.freq_base", Value::from("50000")),
        ("expert_weights_norm", Value::U32(1)),
        ("rope.scaling.type", Value::U32(1)),
    ] {
        let error = Keys::kimi().set(name, value).refused(name);
        assert!(matches!(error, Error::Gguf(_)), "{error:?}");
    }
}

#[test]
fn integers_of_any_width_are_the_same_number() {
    let widths = [
        Value::U8(3),
        Value::U16(3),
        Value::I32(3),
        Value::I64(3),
        Value::U64(3),
    ];
    for value in widths {
        let config = Keys::kimi().set("block_count", value).accepted();
        assert_eq!(config.n_layers, 3);
    }
    let config = Keys::kimi()
        .set("rope.freq_base", Value::F64(50_000.0))
        .accepted();
    assert_eq!(config, shapes::kimi());
    let config = Keys::kimi()
        .set("rope.freq_base", Value::U32(50_000))
        .accepted();
    assert_eq!(config, shapes::kimi());
}

#[test]
fn a_list_per_layer_must_be_uniform() {
    let keys = |values: &[u32]| Keys::kimi().set("attention.head_count", per_layer(values));
    assert_eq!(keys(&[4, 4, 4]).accepted(), shapes::kimi());
    let error = keys(&[4, 4, 8]).refused("deepseek2.attention.head_count");
    assert_names(&error, "it must be the same in all layers");
    let error = keys(&[]).refused("deepseek2.attention.head_count");
    assert_names(&error, "one value for each layer is needed");
}

#[test]
fn both_ways_to_state_head_sizes_mean_the_same() {
    for layout in [KvLayout::Split, KvLayout::Joined, KvLayout::Both] {
        let gguf = Synthetic::new(shapes::kimi()).layout(layout).gguf();
        let config = Config::from_metadata(gguf.metadata()).expect("a valid file");
        assert_eq!(config, shapes::kimi(), "{layout:?}");
        let stated = gguf.metadata().u32("deepseek2.attention.key_length");
        let absorbed = layout == KvLayout::Split;
        assert_eq!(
            stated.expect("an integer"),
            Some(if absorbed { 576 } else { 192 })
        );
        assert_eq!((config.qk_head_dim(), config.latent_dim()), (192, 576));
    }
}

#[test]
fn the_vocabulary_size_may_come_from_the_token_list() {
    let keys = Keys::kimi()
        .without("vocab_size")
        .set_full("tokenizer.ggml.tokens", Value::strings(["a", "b", "c"]));
    assert_eq!(keys.accepted().vocab_size, 3);
    let empty = Keys::kimi()
        .without("vocab_size")
        .set_full("tokenizer.ggml.tokens", Value::array([]));
    empty.refused("deepseek2.vocab_size");
}

#[test]
fn a_file_without_any_metadata_is_no_model() {
    let gguf = Gguf::from_vec("model.gguf", Writer::new().to_bytes()).expect("a valid container");
    let error = Config::from_metadata(gguf.metadata()).expect_err("no architecture");
    assert_names(&error, "architecture \"none\"");
}
