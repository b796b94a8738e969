//! Hyper-parameters that are zero, missing, negative, not finite, or contradict each other.

use perigee_testkit::hostile::{ARRAY, Draft, array};

use crate::verdict::{accepted_when, model, refused_when};

const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const U64: u32 = 10;
const F64: u32 = 12;

fn full(name: &str) -> String {
    format!("deepseek2.{name}")
}

fn set_u32(draft: &mut Draft, name: &str, value: u32) {
    draft.set(&full(name), U32, &value.to_le_bytes());
}

/// Every count of the model by which something is sized, divided or repeated.
const COUNTS: [&str; 14] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.kv_lora_rank",
    "attention.key_length_mla",
    "attention.value_length_mla",
    "rope.dimension_count",
    "rope.scaling.original_context_length",
    "expert_used_count",
    "expert_feed_forward_length",
];

#[test]
fn cve_2024_39720_zero_fields_are_refused() {
    for name in COUNTS {
        refused_when(|draft| set_u32(draft, name, 0), &full(name));
    }
}

#[test]
fn missing_fields_are_refused_or_have_a_default() {
    // What has a default may be absent, as published files show.
    let defaults = ["attention.head_count_kv", "vocab_size"];
    for name in COUNTS {
        let remove = |draft: &mut Draft| {
            draft
                .entries
                .retain(|entry| entry.key != full(name).as_bytes());
        };
        if defaults.contains(&name) {
            accepted_when(remove);
        } else {
            refused_when(remove, "");
        }
    }
}

#[test]
fn ghsa_7rxv_5jhh_j6xx_negative_counts_are_refused() {
    for name in COUNTS {
        for value in [-1, i32::MIN] {
            refused_when(
                |draft| draft.set(&full(name), I32, &value.to_le_bytes()),
                &full(name),
            );
        }
    }
}

#[test]
fn counts_beyond_any_model_are_refused() {
    for name in COUNTS {
        for value in [1 << 31, 1 << 32, (1 << 32) + 2, 1 << 63, u64::MAX] {
            refused_when(
                |draft| draft.set(&full(name), U64, &value.to_le_bytes()),
                &full(name),
            );
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let floats = [
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "rope.scaling.factor",
        "rope.scaling.yarn_log_multiplier",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "expert_weights_scale",
    ];
    for name in floats {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            refused_when(
                |draft| draft.set(&full(name), F32, &value.to_le_bytes()),
                &full(name),
            );
        }
        // Finite in 64 bits only.
        for value in [1e300_f64, -1e300, f64::NAN] {
            refused_when(
                |draft| draft.set(&full(name), F64, &value.to_le_bytes()),
                &full(name),
            );
        }
    }
}

#[test]
fn finite_factors_with_an_infinite_or_vanishing_product_are_refused() {
    for (factor, multiplier) in [
        (3e38_f32, 3e38_f32),
        (2.0, f32::MAX),
        (64.0, -3e38),
        (std::f32::consts::E, -1.0),
    ] {
        let mut draft = model();
        draft.set(&full("rope.scaling.factor"), F32, &factor.to_le_bytes());
        let key = full("rope.scaling.yarn_log_multiplier");
        draft.set(&key, F32, &multiplier.to_le_bytes());
        let result = crate::verdict::read(draft.to_bytes());
        // Just above 0 is a scale; `read` asserts that it is one.
        if let Err(error) = result {
            assert!(error.to_string().contains("softmax scale"), "{error}");
        }
    }
}

#[test]
fn frequencies_stay_finite_at_the_edges_of_the_rotation() {
    for base in [1.0_f32, 1.000_001, f32::MAX] {
        for factor in [1.0_f32, 3e38] {
            for beta in [1e-45_f32, 1.0, 3e38] {
                accepted_when(|draft| {
                    for (name, value) in [
                        ("rope.freq_base", base),
                        ("rope.scaling.factor", factor),
                        ("rope.scaling.yarn_beta_fast", beta),
                        ("rope.scaling.yarn_beta_slow", beta),
                        ("rope.scaling.yarn_log_multiplier", 0.1),
                    ] {
                        draft.set(&full(name), F32, &value.to_le_bytes());
                    }
                });
            }
        }
    }
    for base in [0.0_f32, 1e-45, 0.999] {
        refused_when(
            |draft| draft.set(&full("rope.freq_base"), F32, &base.to_le_bytes()),
            "at least 1",
        );
    }
}

#[test]
fn lists_per_layer_of_another_length_are_refused() {
    for name in ["attention.head_count", "feed_forward_length"] {
        for n in [0, 1, 3, 1000] {
            let values: Vec<u8> = (0..n).flat_map(|_| 2_u32.to_le_bytes()).collect();
            refused_when(
                |draft| draft.set(&full(name), ARRAY, &array(U32, n, &values)),
                "one value for each layer",
            );
        }
    }
    accepted_when(|draft| {
        let values = [2_u32.to_le_bytes(), 2_u32.to_le_bytes()].concat();
        draft.set(
            &full("attention.head_count"),
            ARRAY,
            &array(U32, 2, &values),
        );
    });
    // The number of layers itself, which the lists are measured by.
    let list = array(U32, 2, &[2, 0, 0, 0, 2, 0, 0, 0]);
    refused_when(
        |draft| draft.set(&full("block_count"), ARRAY, &list),
        "expected an integer",
    );
}

#[test]
fn a_list_per_layer_of_other_elements_is_refused() {
    // As many elements, each narrower or wider or no number: never read as if 32 bits wide.
    for (element, bytes) in [
        (0, &[2_u8, 3][..]),
        (6, &[0; 8]),
        (7, &[1, 1]),
        (11, &[255; 16]),
    ] {
        refused_when(
            |draft| {
                draft.set(
                    &full("attention.head_count"),
                    ARRAY,
                    &array(element, 2, bytes),
                )
            },
            &full("attention.head_count"),
        );
    }
}

#[test]
fn more_experts_used_than_there_are_are_refused() {
    for used in [9, 1024, 1025, u32::MAX] {
        refused_when(
            |draft| set_u32(draft, "expert_used_count", used),
            "expert_used_count",
        );
    }
}

#[test]
fn groups_of_experts_are_counted() {
    let grouped = |groups: u32, used: u32, experts: u32| {
        move |draft: &mut Draft| {
            set_u32(draft, "expert_group_count", groups);
            set_u32(draft, "expert_group_used_count", used);
            set_u32(draft, "expert_used_count", experts);
        }
    };
    // What files without grouping say, with and without the keys.
    for (groups, used) in [(1, 1), (1, 0), (0, 0), (0, 1)] {
        let (config, _) = accepted_when(grouped(groups, used, 8));
        assert_eq!((config.n_group, config.topk_group), (1, 1));
    }
    let (config, _) = accepted_when(grouped(4, 3, 6));
    assert_eq!((config.n_group, config.topk_group), (4, 3));
    // With grouping some groups are used and some are not.
    for used in [0, 4, 5, u32::MAX] {
        refused_when(grouped(4, used, 2), "expert_group_used_count");
    }
    refused_when(
        |draft| {
            set_u32(draft, "expert_group_count", 4);
            let key = full("expert_group_used_count");
            draft.entries.retain(|entry| entry.key != key.as_bytes());
        },
        "expert_group_used_count",
    );
    refused_when(grouped(3, 1, 2), "expert_group_count");
    refused_when(grouped(16, 1, 1), "expert_group_count");
    refused_when(grouped(4, 1, 3), "fewer experts than a token uses");
}

#[test]
fn head_counts_divide() {
    for n_kv in [3, 4, 1024] {
        refused_when(
            |draft| set_u32(draft, "attention.head_count_kv", n_kv),
            "attention.head_count_kv",
        );
    }
}

#[test]
fn the_rotated_part_is_even_and_shorter_than_the_head() {
    for n in [1, 3, 47, 48, 50, 4096] {
        refused_when(
            |draft| set_u32(draft, "rope.dimension_count", n),
            "rope.dimension_count",
        );
    }
}

#[test]
fn more_dense_layers_than_layers_are_refused() {
    for n in [3, 1024, u32::MAX] {
        refused_when(
            |draft| set_u32(draft, "leading_dense_block_count", n),
            "leading_dense_block_count",
        );
    }
}
