//! Models described without a file.

use perigee_arch::{Config, Error, KvLayout, ModelSpec};
use perigee_quant::QuantKind;

fn spec(text: &str) -> ModelSpec {
    text.parse().expect("a valid spec")
}

fn refused(text: &str, problem: &str) {
    let error = text.parse::<ModelSpec>().expect_err("a rule is broken");
    assert!(matches!(error, Error::Spec { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&format!("{text:?}")),
        "{message:?} does not quote {text:?}"
    );
    assert!(
        message.contains(problem),
        "{message:?} says nothing of {problem:?}"
    );
}

#[test]
fn every_recipe_names_three_kinds() {
    use QuantKind::{Bf16, F16, F32, Iq3K, Iq4K, Q4_0, Q8_0};
    let recipes = [
        ("F32", [F32, F32, F32]),
        ("F16", [F16, F16, F16]),
        ("BF16", [Bf16, Bf16, Bf16]),
        ("Q8_0", [Q8_0, Q8_0, Q8_0]),
        ("Q4_0", [Q4_0, Q4_0, Q8_0]),
        ("IQ4_K", [Iq4K, Iq4K, Q8_0]),
        ("IQ3_K", [Iq3K, Q4_0, Q8_0]),
        ("Q4_X", [Q4_0, Q4_0, Q8_0]),
        ("iq3_k", [Iq3K, Q4_0, Q8_0]),
    ];
    for (name, kinds) in recipes {
        let spec = spec(&format!("kimi-k2.6@{name}"));
        assert_eq!([spec.gate_up, spec.down, spec.rest], kinds, "{name}");
        assert_eq!(spec.symmetric_q4_0, name == "Q4_X");
    }
}

#[test]
fn overrides_change_what_they_name_and_nothing_else() {
    let plain = spec("kimi-k2.6@F16").config;
    let changed = spec("kimi-k2.6@F16:layers=2,vocab=4096,experts=16,used=4,ctx=8192").config;
    let expected = Config {
        n_layers: 2,
        vocab_size: 4096,
        n_routed_experts: 16,
        n_experts_used: 4,
        context_length: 8192,
        ..plain
    };
    assert_eq!(changed, expected);
}

#[test]
fn the_shapes_are_those_of_the_published_models() {
    type Row = (&'static str, [usize; 8]);
    // layers, hidden, heads, dense width, experts, expert width, context, vocabulary
    let rows: [Row; 8] = [
        (
            "kimi-k2",
            [61, 7168, 64, 18_432, 384, 2048, 131_072, 163_840],
        ),
        (
            "kimi-k2-thinking",
            [61, 7168, 64, 18_432, 384, 2048, 262_144, 163_840],
        ),
        (
            "kimi-k2.5",
            [61, 7168, 64, 18_432, 384, 2048, 262_144, 163_840],
        ),
        (
            "kimi-k2.6",
            [61, 7168, 64, 18_432, 384, 2048, 262_144, 163_840],
        ),
        (
            "deepseek-v3",
            [61, 7168, 128, 18_432, 256, 2048, 163_840, 129_280],
        ),
        (
            "deepseek-r1",
            [61, 7168, 128, 18_432, 256, 2048, 163_840, 129_280],
        ),
        (
            "deepseek-v2-lite",
            [27, 2048, 16, 10_944, 64, 1408, 163_840, 102_400],
        ),
        ("moonlight", [27, 2048, 16, 11_264, 64, 1408, 8192, 163_840]),
    ];
    for (name, expected) in rows {
        let c = spec(&format!("{name}@Q8_0")).config;
        let found = [
            c.n_layers,
            c.hidden,
            c.n_heads,
            c.intermediate_size,
            c.n_routed_experts,
            c.moe_intermediate_size,
            c.context_length,
            c.vocab_size,
        ];
        assert_eq!((c.name.as_str(), found), (name, expected));
    }
}

#[test]
fn the_published_iq3_k_file_of_kimi_k2_6_has_q4_0_down_projections() {
    let bytes = spec("kimi-k2.6@IQ3_K").weight_bytes(KvLayout::Split);
    let gib = bytes.expect("it fits u64") as f64 / f64::from(1 << 30);
    assert!((459.0..461.0).contains(&gib), "{gib} GiB");
}

#[test]
fn a_smaller_model_lowers_the_counts_that_it_bounds() {
    let config = spec("deepseek-v3@F16:layers=2").config;
    assert_eq!((config.n_layers, config.first_k_dense), (2, 2));
    let config = spec("kimi-k2.6@F16:experts=4").config;
    assert_eq!((config.n_routed_experts, config.n_experts_used), (4, 4));
}

#[test]
fn a_broken_spec_is_quoted_with_its_problem() {
    refused("", "SHAPE@RECIPE");
    refused("kimi-k2.6", "SHAPE@RECIPE");
    refused("kimi-k3@F16", "unknown shape \"kimi-k3\" (known: kimi-k2, ");
    refused("kimi-k2.6@Q9_9", "unknown recipe \"Q9_9\" (known: F32, ");
    refused("kimi-k2.6@", "unknown recipe \"\"");
    refused("kimi-k2.6@F16:", "\"\" is not KEY=N");
    refused("kimi-k2.6@F16:layers", "\"layers\" is not KEY=N");
    refused("kimi-k2.6@F16:depth=3", "unknown key \"depth\"");
    refused("kimi-k2.6@F16:layers=0", "layers=0 is not in 1..=1024");
    refused("kimi-k2.6@F16:layers=2,layers=3", "layers occurs twice");
    refused("kimi-k2.6@F16:vocab=many", "vocab=\"many\" is not a number");
    refused("kimi-k2.6@F16:ctx=99999999999999999999", "is not a number");
    refused("moonlight@F16:q_lora=64", "q_lora");
    refused("kimi-k2.6@IQ3_K:expert_ffn=100", "rows of 100 weights");
}

#[test]
fn overrides_that_contradict_each_other_are_refused() {
    refused("deepseek-v3@F16:layers=2,dense=3", "3 dense layers of 2");
    refused("deepseek-v3@F16:experts=12", "12 experts in 8 groups");
    refused(
        "kimi-k2.6@F16:experts=4,used=8",
        "8 experts used, but 4 can be",
    );
    refused("deepseek-v3@F16:experts=8", "8 experts used, but 4 can be");
}
