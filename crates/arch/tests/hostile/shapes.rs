//! Tensors whose shapes are not the ones that the hyper-parameters dictate.

use perigee_arch::Error;
use perigee_testkit::hostile::{Draft, bases};

use crate::verdict::{model, read, refused, refused_when};

/// Every model among the valid files.
fn models() -> Vec<Draft> {
    let all = bases().into_iter();
    all.filter(|base| read(base.to_bytes()).is_ok()).collect()
}

#[test]
fn every_dimension_of_every_tensor_is_dictated() {
    let models = models();
    assert_eq!(models.len(), 3);
    for base in models {
        for r in 0..base.records.len() {
            for d in 0..base.records[r].shape.len() {
                for change in [|n: u64| n * 2, |n: u64| n + 32, |n: u64| n.div_ceil(2)] {
                    let mut draft = base.clone();
                    let n = change(draft.records[r].shape[d]);
                    if n == draft.records[r].shape[d] {
                        continue;
                    }
                    draft.records[r].shape[d] = n;
                    // The container has something to say where bytes do not suffice.
                    refused(&draft, "tensor");
                }
            }
        }
    }
}

#[test]
fn transposed_merged_and_split_dimensions_are_refused() {
    for base in models() {
        for r in 0..base.records.len() {
            let shape = base.records[r].shape.clone();
            let mut lies = Vec::new();
            // One vector of as many weights.
            lies.push(vec![shape.iter().product()]);
            lies.push(shape.iter().rev().copied().collect());
            lies.push([&[1], &shape[..]].concat());
            if shape[0] % 64 == 0 {
                lies.push([&[shape[0] / 2, 2], &shape[1..]].concat());
            }
            for lie in lies {
                if lie == shape || lie.len() > 4 {
                    continue;
                }
                let mut draft = base.clone();
                draft.records[r].shape = lie;
                draft.records[r].type_id = 0;
                let name = String::from_utf8_lossy(&base.records[r].name).into_owned();
                let Err(error) = read(draft.to_bytes()) else {
                    panic!("{name}: {shape:?} as {:?}", draft.records[r].shape);
                };
                assert!(error.to_string().contains("tensor"), "{error}");
            }
        }
    }
}

#[test]
fn hyperparameters_that_dictate_other_shapes_are_refused() {
    let dictating = [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "vocab_size",
        "attention.head_count",
        "attention.q_lora_rank",
        "attention.kv_lora_rank",
        "attention.key_length_mla",
        "attention.value_length_mla",
        "rope.dimension_count",
        "expert_count",
        "expert_shared_count",
        "expert_feed_forward_length",
        "leading_dense_block_count",
    ];
    for name in dictating {
        for factor in [2, 4] {
            refused_when(
                |draft| {
                    let entry = draft.entry(&format!("deepseek2.{name}"));
                    let n = u32::from_le_bytes(entry.value[..].try_into().expect("32 bits"));
                    entry.value = (n.max(1) * factor).to_le_bytes().to_vec();
                },
                "",
            );
        }
    }
}

#[test]
fn a_missing_tensor_is_named() {
    for base in models() {
        // A head that is not there is the embedding, a bias that is not there is none.
        let all_three = [&b"blk.0.attn_kv_b.weight"[..], b"blk.0.attn_k_b.weight"]
            .iter()
            .all(|name| base.records.iter().any(|record| record.name == *name));
        let optional = [&b"output.weight"[..], b"blk.1.exp_probs_b.bias"];
        for r in 0..base.records.len() {
            if optional.contains(&&base.records[r].name[..]) {
                continue;
            }
            let mut draft = base.clone();
            let name = draft.records.remove(r).name;
            if all_three && name.starts_with(b"blk.0.attn_") && name.ends_with(b"_b.weight") {
                // Without the joined form there are the two others, and the other way round.
                if name != b"blk.0.attn_q_b.weight" {
                    read(draft.to_bytes()).expect("one form is enough");
                    continue;
                }
            }
            let error = refused(&draft, "is missing");
            assert!(matches!(error, Error::MissingTensor { .. }), "{error}");
        }
    }
}

#[test]
fn a_model_of_a_thousand_layers_that_has_two_is_refused() {
    refused_when(
        |draft| {
            let entry = draft.entry("deepseek2.block_count");
            entry.value = 1024_u32.to_le_bytes().to_vec();
        },
        "blk.2.",
    );
}

#[test]
fn tensors_that_nobody_asked_for_are_only_listed() {
    let mut draft = model();
    let mut extra = draft.records[0].clone();
    extra.name = b"blk.99.attn_norm.weight".to_vec();
    (extra.shape, extra.type_id) = (vec![8], 0);
    extra.offset = draft.data.len().next_multiple_of(32) as u64;
    let mut data = draft.data.to_vec();
    data.resize(extra.offset as usize + 32, 0);
    draft.data = data.into();
    draft.records.push(extra);
    let (_, inventory) = read(draft.to_bytes()).expect("nothing that the model needs is wrong");
    assert_eq!(inventory.ignored, ["blk.99.attn_norm.weight"]);
}
