//! Checkpoints that are right.

use std::fs;
use std::path::Path;

use perigee_arch::{Config, Gating, KvLayout, Yarn, inventory};
use perigee_convert::{Event, Options, Plan, Report, convert};
use perigee_gguf::{Gguf, TokenId, Value};
use perigee_quant::QuantKind;
use perigee_testkit::{Reference, Vocabulary};

use crate::builder::*;
use crate::expectation::{check_packed, check_plain, encode};

/// Writes the checkpoint, converts it and opens the result.
fn converted(checkpoint: &Checkpoint, options: &Options) -> (Gguf, Report, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    checkpoint.write(folder.path());
    let out = folder.path().join("out.gguf");
    let report = convert(folder.path(), &out, options, &mut |_| ()).unwrap();
    let bytes = fs::read(&out).unwrap();
    (Gguf::open(&out).unwrap(), report, bytes)
}

fn expected_config(name: &str) -> Config {
    Config {
        name: name.to_owned(),
        n_layers: LAYERS,
        hidden: HIDDEN,
        vocab_size: VOCAB,
        context_length: 262_144,
        n_heads: HEADS,
        qk_nope_head_dim: NOPE,
        qk_rope_head_dim: ROPE,
        v_head_dim: VALUE,
        q_lora_rank: Some(Q_RANK),
        kv_lora_rank: KV_RANK,
        intermediate_size: FFN,
        first_k_dense: 1,
        n_routed_experts: EXPERTS,
        n_experts_used: 2,
        n_shared_experts: 1,
        moe_intermediate_size: EXPERT_FFN,
        gating: Gating::Sigmoid,
        norm_topk: true,
        routed_scale: 2.827,
        n_group: 1,
        topk_group: 1,
        rms_eps: 1e-5,
        rope_base: 50_000.0,
        rope_linear_factor: 1.0,
        yarn: Some(Yarn {
            factor: 64.0,
            original_context: 4096,
            beta_fast: 32.0,
            beta_slow: 1.0,
            log_multiplier: 0.1,
        }),
    }
}

#[test]
fn a_checkpoint_of_k2_6_becomes_a_model_and_its_experts_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::k2_6();
    checkpoint.write(folder.path());
    let target = tempfile::tempdir().unwrap();
    let out = target.path().join("out.gguf");
    let (mut notes, mut last) = (Vec::new(), 0);
    let options = Options {
        name: Some("Tiny K2.6".to_owned()),
        ..Options::default()
    };
    let report = convert(folder.path(), &out, &options, &mut |event| match event {
        Event::Note(note) => notes.push(note.to_owned()),
        Event::Progress { done, total, .. } => {
            assert!(last < done && done <= total);
            assert!(!out.exists(), "the file has its name before it is whole");
            last = done;
        }
        _ => {}
    })
    .unwrap();
    assert_eq!(last, report.n_bytes);
    assert_eq!(notes, report.notes);
    assert_eq!(
        notes,
        [
            "1 tensors left out of mm_projector, which is not of the text model",
            "2 tensors left out of vision_tower, which is not of the text model",
        ]
    );
    assert_eq!((report.recovered_groups, report.rounded_groups), (0, 0));
    let files: Vec<_> = fs::read_dir(target.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");

    // As `perigee inspect` reads it.
    let gguf = Gguf::open(&out).unwrap();
    let config = Config::from_metadata(gguf.metadata()).unwrap();
    assert_eq!(config, expected_config("Tiny K2.6"));
    let inventory = inventory(&gguf, &config).unwrap();
    assert_eq!(inventory.kv_layout, KvLayout::Split);
    assert!(inventory.selection_bias && !inventory.tied_head);
    assert!(inventory.ignored.is_empty(), "{:?}", inventory.ignored);
    assert_eq!(inventory.tensors.len(), report.n_tensors);

    let integers = check_packed(&checkpoint, &gguf);
    assert_eq!(integers, 2 * 3 * EXPERTS * HIDDEN * EXPERT_FFN);
    let plain = check_plain(&checkpoint, &gguf, QuantKind::Q8_0);
    // What is compared is all there is: those and three stacks in each layer of experts.
    assert_eq!(plain + 2 * 3, report.n_tensors);
    assert_eq!(gguf.tensors().len(), report.n_tensors);
    check_vocabulary(&gguf);
}

fn check_vocabulary(gguf: &Gguf) {
    let vocabulary = Vocabulary::kimi(VOCAB);
    let metadata = gguf.metadata();
    let tokens = metadata.byte_strings("tokenizer.ggml.tokens").unwrap();
    let expected: Vec<&[u8]> = vocabulary.tokens().iter().map(String::as_bytes).collect();
    assert_eq!(tokens.unwrap(), expected);
    let id = |name| vocabulary.id(name).map(|id| id as u32);
    let stored = |key: &str| {
        metadata
            .u32(&format!("tokenizer.ggml.{key}_token_id"))
            .unwrap()
    };
    assert_eq!(stored("bos"), id("[BOS]"));
    assert_eq!(stored("eos"), id("[EOS]"));
    assert_eq!(stored("eot"), id("<|im_end|>"));
    assert_eq!(stored("padding"), id("[PAD]"));
    let template = metadata.get("tokenizer.chat_template");
    assert_eq!(template, Some(&Value::from("{{ messages }}")));
    assert_eq!(metadata.u32("general.file_type").unwrap(), Some(2));
}

#[test]
fn the_result_runs() {
    let (gguf, ..) = converted(&Checkpoint::k2_6(), &Options::default());
    let config = Config::from_metadata(gguf.metadata()).unwrap();
    let logits = Reference::new(&gguf, &config).forward(&[5, 300, 77].map(TokenId));
    assert_eq!(logits.len(), 3);
    assert!(logits.iter().flatten().all(|logit| logit.is_finite()));
}

#[test]
fn a_text_model_on_its_own_gives_the_same_tensors() {
    let named = Options {
        name: Some("same".to_owned()),
        ..Options::default()
    };
    let (.., nested) = converted(&Checkpoint::k2_6(), &named);
    let (_, report, alone) = converted(&Checkpoint::k2_thinking(), &named);
    assert!(nested == alone, "the files differ");
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn matrices_can_keep_their_type() {
    for kind in [QuantKind::Bf16, QuantKind::F32] {
        let checkpoint = Checkpoint::k2_6();
        let options = Options {
            matrices: kind,
            ..Options::default()
        };
        let (gguf, ..) = converted(&checkpoint, &options);
        check_plain(&checkpoint, &gguf, kind);
        check_packed(&checkpoint, &gguf);
    }
}

#[test]
fn experts_that_are_not_packed_become_what_other_matrices_become() {
    let checkpoint = Checkpoint::plain();
    let (gguf, ..) = converted(&checkpoint, &Options::default());
    check_plain(&checkpoint, &gguf, QuantKind::Q8_0);
    for (part, columns) in [("gate", HIDDEN), ("up", HIDDEN), ("down", EXPERT_FFN)] {
        let names =
            (0..EXPERTS).map(|e| format!("model.layers.2.mlp.experts.{e}.{part}_proj.weight"));
        let weights: Vec<f32> = names.flat_map(|name| checkpoint.weights(&name)).collect();
        let tensor = gguf
            .tensor(&format!("blk.2.ffn_{part}_exps.weight"))
            .unwrap();
        let expected = encode(&weights, columns, QuantKind::Q8_0);
        assert!(gguf.bytes(tensor) == expected, "{part}");
    }
}

#[test]
fn rows_that_are_no_whole_number_of_blocks_keep_their_values() {
    let mut checkpoint = Checkpoint::plain();
    // Heads of 24: the transposed keys have rows of as many.
    checkpoint.config["qk_nope_head_dim"] = (NOPE - 8).into();
    for layer in 0..LAYERS {
        for (name, rows, columns) in [
            ("q_b_proj", HEADS * (NOPE - 8 + ROPE), Q_RANK),
            ("kv_b_proj", HEADS * (NOPE - 8 + VALUE), KV_RANK),
        ] {
            let name = format!("model.layers.{layer}.self_attn.{name}.weight");
            let bytes = checkpoint.tensors[&name].bytes[..2 * rows * columns].to_vec();
            checkpoint.put(&name, "BF16", &[rows, columns], bytes);
        }
    }
    let (gguf, report, _) = converted(&checkpoint, &Options::default());
    assert_eq!(
        gguf.tensor("blk.1.attn_k_b.weight").unwrap().kind,
        QuantKind::Bf16
    );
    assert_eq!(
        gguf.tensor("blk.1.attn_v_b.weight").unwrap().kind,
        QuantKind::Q8_0
    );
    assert_eq!(
        report.notes[0],
        "blk.0.attn_k_b.weight stays BF16: rows of 24 are no whole number of Q8_0 blocks"
    );
}

#[test]
fn the_number_of_threads_does_not_show() {
    let with = |threads| {
        let options = Options {
            threads,
            name: Some("same".to_owned()),
            ..Options::default()
        };
        converted(&Checkpoint::k2_6(), &options).2
    };
    let one = with(1);
    assert!(one == with(3) && one == with(0));
}

#[test]
fn a_plan_writes_nothing_and_knows_the_size() {
    let folder = tempfile::tempdir().unwrap();
    Checkpoint::k2_6().write(folder.path());
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let before = names();
    let plan = Plan::new(folder.path(), &Options::default()).unwrap();
    assert_eq!(names(), before);
    let out = folder.path().join("out.gguf");
    let report = convert(folder.path(), &out, &Options::default(), &mut |_| ()).unwrap();
    assert_eq!(plan.n_bytes(), report.n_bytes);
    assert_eq!(plan.tensors.len(), report.n_tensors);
    let folder_name = folder.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(plan.config.name, folder_name);
}

#[test]
fn draft_layers_and_tied_heads_are_left_out() {
    let mut checkpoint = Checkpoint::plain();
    checkpoint.config["tie_word_embeddings"] = true.into();
    checkpoint.put("model.layers.3.eh_proj.weight", "BF16", &[2], vec![0; 4]);
    checkpoint.put(
        "model.layers.1.self_attn.rotary_emb.inv_freq",
        "F32",
        &[1],
        vec![0; 4],
    );
    let (gguf, report, _) = converted(&checkpoint, &Options::default());
    assert!(gguf.tensor("output.weight").is_none());
    assert_eq!(
        report.notes,
        [
            "1 tensors left out of layer 3, which only drafts further tokens",
            "1 tensors left out of the head, which is the embedding",
        ]
    );
}

#[test]
fn a_checkpoint_in_one_file_needs_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::k2_thinking();
    checkpoint.write(folder.path());
    fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
    let tensors: Vec<_> = checkpoint.tensors.iter().collect();
    let single = folder.path().join("model.safetensors");
    fs::write(single, safetensors_file(&tensors)).unwrap();
    let out = folder.path().join("out.gguf");
    convert(folder.path(), &out, &Options::default(), &mut |_| ()).unwrap();
    check_packed(&checkpoint, &Gguf::open(&out).unwrap());
}

/// The writer of these tests writes what the format's own library reads.
#[test]
fn the_checkpoints_of_these_tests_are_safetensors_files() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::k2_6();
    checkpoint.write(folder.path());
    let mut n = 0;
    for shard in 0..3 {
        let bytes = fs::read(Path::join(folder.path(), shard_name(shard))).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, view) in file.tensors() {
            assert_eq!(view.data(), checkpoint.tensors[&name].bytes, "{name}");
            n += 1;
        }
    }
    assert_eq!(n, checkpoint.tensors.len());
}
