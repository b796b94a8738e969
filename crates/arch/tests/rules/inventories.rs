//! Checking the tensor list of a file.

use perigee_arch::{Config, Error, Inventory, KvLayout, expected_tensors, inventory};
use perigee_gguf::{Gguf, Value};
use perigee_quant::QuantKind;
use perigee_testkit::{Synthetic, shapes};

use crate::models::{Model, Stored, assert_names};

fn check(gguf: &Gguf) -> Result<Inventory, Error> {
    let config = Config::from_metadata(gguf.metadata()).expect("the metadata are valid");
    inventory(gguf, &config)
}

fn kimi() -> Model {
    Model::kimi()
}

fn refused(model: &Model, subject: &str) -> Error {
    let error = check(&model.gguf()).expect_err("a rule is broken");
    assert_names(&error, subject);
    error
}

fn f32_tensor(name: &str, shape: &[u64]) -> Stored {
    Stored {
        name: name.to_owned(),
        kind: QuantKind::F32,
        shape: shape.to_vec(),
        bytes: vec![0; 4 * shape.iter().product::<u64>() as usize],
    }
}

#[test]
fn every_shape_in_every_layout_passes_and_is_described() {
    for config in shapes::all() {
        for layout in [KvLayout::Split, KvLayout::Joined, KvLayout::Both] {
            let gguf = Synthetic::new(config.clone()).layout(layout).gguf();
            let found = check(&gguf).expect("the testkit's files are valid");
            assert_eq!(found.kv_layout, layout, "{}", config.name);
            assert_eq!(found.tensors.len(), gguf.tensors().len());
            assert!(found.ignored.is_empty() && !found.tied_head && !found.merged_gate_up);
        }
    }
}

#[test]
fn every_tensor_of_the_model_is_demanded_by_name() {
    let config = shapes::kimi();
    let whole = Synthetic::new(config.clone()).writer().to_bytes();
    let optional = ["output.weight", "exp_probs_b.bias", "attn_k_b", "attn_v_b"];
    for expected in expected_tensors(&config, KvLayout::Split, false, false, true) {
        if optional.iter().any(|name| expected.name.contains(name)) {
            continue;
        }
        // A name that differs in its last letter is another tensor.
        let mut bytes = whole.clone();
        let mut record = (expected.name.len() as u64).to_le_bytes().to_vec();
        record.extend_from_slice(expected.name.as_bytes());
        let at = (0..bytes.len()).find(|&i| bytes[i..].starts_with(&record));
        bytes[at.expect("the name is in the file") + record.len() - 1] = b'_';
        let gguf = Gguf::from_vec("model.gguf", bytes).expect("the container is valid");
        let error = check(&gguf).expect_err("a tensor is missing");
        assert_names(&error, &format!("tensor {} is missing", expected.name));
        assert!(matches!(error, Error::MissingTensor { .. }), "{error:?}");
    }
}

#[test]
fn a_layer_without_any_latent_projection_is_refused() {
    let model = kimi().without("blk.0.attn_k_b.weight");
    let error = refused(&model, "tensor blk.0.attn_k_b.weight is missing");
    assert!(matches!(error, Error::MissingTensor { .. }), "{error:?}");
}

#[test]
fn layers_may_not_differ_in_their_layout() {
    let model = kimi().without("blk.2.attn_v_b.weight");
    refused(&model, "tensor blk.2.attn_v_b.weight is missing");
}

#[test]
fn the_selection_bias_is_there_in_all_moe_layers_or_in_none() {
    let none = Synthetic::new(shapes::kimi())
        .without_selection_bias()
        .gguf();
    assert!(!check(&none).expect("it is optional").selection_bias);
    let some = kimi().without("blk.2.exp_probs_b.bias");
    refused(&some, "tensor blk.2.exp_probs_b.bias is missing");
}

#[test]
fn a_tensor_of_another_shape_is_refused_with_both_shapes() {
    let model = kimi()
        .without("blk.0.ffn_gate.weight")
        .with(f32_tensor("blk.0.ffn_gate.weight", &[256, 513]));
    let message = "tensor blk.0.ffn_gate.weight: shape [256, 513], expected [256, 512]";
    let error = refused(&model, message);
    assert!(matches!(error, Error::Shape { .. }), "{error:?}");
}

#[test]
fn a_transposed_matrix_is_refused() {
    let model = kimi().alter("blk.0.ffn_down.weight", |tensor| tensor.shape.reverse());
    refused(
        &model,
        "blk.0.ffn_down.weight: shape [256, 512], expected [512, 256]",
    );
}

#[test]
fn a_norm_that_is_not_f32_is_refused() {
    let model = kimi().alter("blk.1.ffn_norm.weight", |tensor| {
        tensor.kind = QuantKind::F16;
        tensor.bytes.truncate(2 * 256);
    });
    let error = refused(
        &model,
        "tensor blk.1.ffn_norm.weight: type F16, expected F32",
    );
    assert!(matches!(error, Error::NotF32 { .. }), "{error:?}");
}

#[test]
fn a_selection_bias_that_is_not_f32_is_refused() {
    let model = kimi().alter("blk.1.exp_probs_b.bias", |tensor| {
        tensor.kind = QuantKind::Bf16;
        tensor.bytes.truncate(2 * 8);
    });
    let error = refused(&model, "blk.1.exp_probs_b.bias: type BF16");
    assert!(matches!(error, Error::NotF32 { .. }), "{error:?}");
}

#[test]
fn a_token_list_of_another_length_than_the_embedding_is_refused() {
    let model = kimi().set("tokenizer.ggml.tokens", Value::strings(["a", "b"]));
    let error = refused(
        &model,
        "the embedding rows are 512, but the vocabulary has 2 tokens",
    );
    assert!(matches!(error, Error::Vocabulary { .. }), "{error:?}");
}

#[test]
fn a_special_token_outside_the_vocabulary_is_refused() {
    for key in ["bos", "eos", "padding", "unknown", "eot"] {
        let key = format!("tokenizer.ggml.{key}_token_id");
        let last = kimi().set(&key, Value::U32(511));
        check(&last.gguf()).expect("the last token is one");
        let error = refused(&kimi().set(&key, Value::U32(512)), &format!("{key} is 512"));
        assert!(matches!(error, Error::Vocabulary { .. }), "{error:?}");
    }
}

#[test]
fn a_file_without_a_tokenizer_passes() {
    let gguf = kimi().gguf();
    let config = Config::from_metadata(gguf.metadata()).expect("valid metadata");
    let mut writer = perigee_gguf::Writer::new();
    for tensor in gguf.tensors() {
        let bytes = gguf.bytes(tensor).to_vec();
        writer.tensor(&tensor.name, tensor.kind, &tensor.shape, bytes);
    }
    let bare = Gguf::from_vec("model.gguf", writer.to_bytes()).expect("a valid container");
    inventory(&bare, &config).expect("nobody else's vocabulary contradicts it");
}

#[test]
fn latent_projections_pass_flat_and_per_head() {
    let flat = |tensor: &mut Stored| {
        let [inner, rows, heads] = tensor.shape[..] else {
            panic!("per head")
        };
        tensor.shape = vec![inner, rows * heads];
    };
    let model = kimi()
        .alter("blk.0.attn_k_b.weight", flat)
        .alter("blk.1.attn_v_b.weight", flat);
    let found = check(&model.gguf()).expect("both forms hold the same bytes");
    assert_eq!(found.kv_layout, KvLayout::Split);
    let wrong = kimi().alter("blk.0.attn_k_b.weight", |tensor| tensor.shape.swap(0, 1));
    refused(
        &wrong,
        "shape [512, 128, 4], expected [128, 512, 4] or [128, 2048]",
    );
}

#[test]
fn trailing_dimensions_of_one_carry_no_meaning() {
    let model = kimi().alter("output_norm.weight", |tensor| tensor.shape.push(1));
    check(&model.gguf()).expect("the same vector");
}

#[test]
fn a_head_may_be_tied_to_the_embedding() {
    let gguf = Synthetic::new(shapes::kimi()).tied_head().gguf();
    assert!(check(&gguf).expect("a valid form").tied_head);
}

#[test]
fn gate_and_up_may_be_one_tensor() {
    let gguf = Synthetic::new(shapes::kimi()).merged_gate_up().gguf();
    assert!(check(&gguf).expect("a valid form").merged_gate_up);
}

#[test]
fn tensors_that_the_model_does_not_use_are_listed_and_ignored() {
    let model = kimi()
        .with(f32_tensor("blk.3.nextn.eh_proj.weight", &[4]))
        .with(f32_tensor("rope_freqs.weight", &[32]));
    let found = check(&model.gguf()).expect("unknown tensors harm nobody");
    assert_eq!(
        found.ignored,
        ["blk.3.nextn.eh_proj.weight", "rope_freqs.weight"]
    );
}
