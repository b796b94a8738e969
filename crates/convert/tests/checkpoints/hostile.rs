//! Checkpoints that are wrong: an error that names file and tensor, never a panic.

use std::fs;
use std::path::Path;

use perigee_convert::{Options, Plan};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::builder::*;

const DOWN: &str = "language_model.model.layers.1.mlp.experts.3.down_proj";
const NORM: &str = "language_model.model.norm.weight";

fn error_of(folder: &Path) -> String {
    match Plan::new(folder, &Options::default()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

/// The error of a checkpoint that was changed before it was written.
fn changed(change: impl FnOnce(&mut Checkpoint)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoint = Checkpoint::k2_6();
    change(&mut checkpoint);
    checkpoint.write(folder.path());
    error_of(folder.path())
}

/// The error after a change to the file that holds [`NORM`], which the error has to name.
fn changed_file(change: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let folder = tempfile::tempdir().unwrap();
    Checkpoint::k2_6().write(folder.path());
    let path = shard_of(folder.path(), NORM);
    let file = fs::read(&path).unwrap();
    fs::write(&path, change(&file)).unwrap();
    let error = error_of(folder.path());
    let rest = error.strip_prefix(&format!("{}: ", path.display()));
    rest.unwrap_or_else(|| panic!("no file in {error}"))
        .to_owned()
}

/// As [`changed_file`], for a change to the header's entry of [`NORM`].
fn changed_entry(change: impl FnOnce(&mut Json, &mut Vec<u8>)) -> String {
    changed_file(|file| {
        let (mut header, mut bytes) = split_header(file);
        change(&mut header[NORM], &mut bytes);
        with_header(&header.to_string(), &bytes)
    })
}

#[test]
fn files_that_are_cut_off_are_refused() {
    let error = changed_file(|_| vec![1, 2, 3]);
    assert_eq!(error, "3 bytes are too few for a safetensors file");
    let error = changed_file(|file| file[..100].to_vec());
    assert!(
        error.ends_with("92 remain: the file is truncated or lies"),
        "{error}"
    );
    let error = changed_file(|file| file[..file.len() - 1].to_vec());
    assert!(
        error.contains("offsets") && error.contains("truncated or lies"),
        "{error}"
    );
    let error = changed_file(|file| [file, &[0; 7]].concat());
    assert_eq!(error, "the last 7 bytes belong to no tensor");
}

#[test]
fn headers_that_lie_about_their_length_are_refused() {
    for (len, part) in [
        (u64::MAX, "at most 100000000 are allowed"),
        (99_999_999, "the header needs 99999999 bytes"),
        (20, "the header: EOF while parsing"),
        (0, "the header: EOF while parsing"),
    ] {
        let error = changed_file(|file| [&len.to_le_bytes(), &file[8..]].concat());
        assert!(error.contains(part), "{error}");
    }
    let error = changed_file(|_| with_header("[1, 2]", &[]));
    assert!(error.contains("expected an object of tensors"), "{error}");
}

#[test]
fn offsets_types_and_shapes_that_lie_are_refused() {
    let named = |part: &str| format!("tensor {NORM}: {part}");
    let error = changed_entry(|entry, _| entry["shape"] = json!([HIDDEN + 1]));
    assert_eq!(error, named("512 bytes do not hold BF16 of shape [257]"));
    let error = changed_entry(|entry, _| entry["shape"] = json!([u64::MAX, u64::MAX]));
    assert!(
        error.starts_with(&named("512 bytes do not hold")),
        "{error}"
    );
    let error = changed_entry(|entry, _| entry["shape"] = json!(vec![1; 17]));
    assert_eq!(error, named("17 dimensions"));
    let error = changed_entry(|entry, _| entry["dtype"] = json!("F32"));
    assert_eq!(error, named("512 bytes do not hold F32 of shape [256]"));
    let error = changed_entry(|entry, _| entry["dtype"] = json!("Q9"));
    assert_eq!(error, named("unknown type \"Q9\""));
    let error = changed_entry(|entry, _| entry["data_offsets"] = json!([5, 4]));
    assert!(
        error.starts_with(&named("offsets 5..4 are not in")),
        "{error}"
    );
    let error = changed_entry(|entry, _| entry["data_offsets"] = json!([0, u64::MAX]));
    assert!(error.starts_with(&named("offsets 0..")), "{error}");
    let error = changed_entry(|entry, _| entry["data_offsets"] = json!([-1, 4]));
    assert!(
        error.starts_with(&format!("the header: tensor {NORM}: invalid value")),
        "{error}"
    );
    let error = changed_entry(|entry, _| *entry = json!({"dtype": "BF16"}));
    assert!(
        error.starts_with(&format!("the header: tensor {NORM}: missing field")),
        "{error}"
    );
}

#[test]
fn bytes_that_two_tensors_or_none_have_are_refused() {
    let error = changed_entry(|entry, _| {
        let end = entry["data_offsets"][1].as_u64().unwrap();
        entry["data_offsets"] = json!([end - 514, end - 2]);
    });
    assert!(error.contains("its bytes overlap those of"), "{error}");
    let error = changed_entry(|entry, bytes| {
        // The last tensor of the file, so that only what is before it changes.
        bytes.extend([0; 520]);
        let end = bytes.len();
        entry["data_offsets"] = json!([end - 512, end]);
    });
    assert!(
        error.contains("bytes before it belong to no tensor"),
        "{error}"
    );
    let error = changed_file(|file| {
        let (header, bytes) = split_header(file);
        let header = header.to_string();
        let entry = split_header(file).0[NORM].to_string();
        let twice = format!("{}, {:?}: {entry}}}", &header[..header.len() - 1], NORM);
        with_header(&twice, &bytes)
    });
    assert!(
        error.starts_with(&format!("the header: tensor {NORM} occurs twice")),
        "{error}"
    );
}

#[test]
fn what_is_missing_is_named() {
    for part in ["packed", "scale"] {
        let name = format!("{DOWN}.weight_{part}");
        let error = changed(|checkpoint| drop(checkpoint.tensors.remove(&name)));
        assert!(
            error.ends_with(&format!("tensor {name} is missing")),
            "{error}"
        );
    }
    for name in [
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.layers.2.self_attn.kv_b_proj.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias",
    ] {
        let name = format!("language_model.{name}");
        let error = changed(|checkpoint| drop(checkpoint.tensors.remove(&name)));
        assert!(
            error.ends_with(&format!("tensor {name} is missing")),
            "{error}"
        );
    }
    for file in ["config.json", "tiktoken.model", "tokenizer_config.json"] {
        let folder = tempfile::tempdir().unwrap();
        Checkpoint::k2_6().write(folder.path());
        fs::remove_file(folder.path().join(file)).unwrap();
        assert!(error_of(folder.path()).contains(file));
    }
}

#[test]
fn tensors_of_other_shapes_and_types_are_refused() {
    let scale = format!("{DOWN}.weight_scale");
    let error = changed(|c| {
        c.put(
            &scale,
            "BF16",
            &[EXPERT_FFN / 32, HIDDEN],
            vec![0; HIDDEN * 4],
        )
    });
    assert!(
        error.ends_with(&format!(
            "tensor {scale}: shape [2, 256], expected [256, 2]"
        )),
        "{error}"
    );
    let stated = format!("{DOWN}.weight_shape");
    let lie: Vec<u8> = [256_i64, -64]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let error = changed(|c| c.put(&stated, "I64", &[2], lie));
    assert!(
        error.contains(&stated) && error.ends_with("expected [256, 64]"),
        "{error}"
    );
    let norm = |dtype, n, bytes| changed(move |c| c.put(NORM, dtype, &[n], vec![0; bytes]));
    let error = norm("F8_E4M3", HIDDEN, HIDDEN);
    assert!(
        error.ends_with("type F8_E4M3, expected BF16, F16 or F32"),
        "{error}"
    );
    let error = norm("BF16", HIDDEN - 1, 2 * HIDDEN - 2);
    assert!(error.ends_with("shape [255], expected [256]"), "{error}");
}

#[test]
fn weights_that_no_tensor_takes_are_refused() {
    for name in [
        "self_attn.q_a_proj.bias",
        "mlp.experts.3.down_proj.weight_zero_point",
    ] {
        let name = format!("language_model.model.layers.1.{name}");
        let error = changed(|c| c.put(&name, "BF16", &[1], vec![0; 2]));
        let expected = format!("tensor {name}: not a tensor of a model of this configuration");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[test]
fn an_index_names_files_of_its_folder_that_hold_what_it_says() {
    let with_index = |index: Json| {
        let folder = tempfile::tempdir().unwrap();
        Checkpoint::k2_6().write(folder.path());
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(path, index.to_string()).unwrap();
        error_of(folder.path())
    };
    for name in ["../a.safetensors", "/etc/passwd", "..", "", "a/b"] {
        let error = with_index(json!({"weight_map": {"a": name}}));
        assert!(
            error.ends_with("is no name of a file in this folder"),
            "{error}"
        );
    }
    let error = with_index(json!({"weight_map": {"a": shard_name(0)}}));
    assert!(
        error.ends_with("tensor a: the index says it is in this file, but it is not"),
        "{error}"
    );
    let error = with_index(json!({"weight_map": {"a": "b.safetensors"}}));
    assert!(error.contains("b.safetensors"), "{error}");
    let error = with_index(json!({"weight_map": 3}));
    assert!(error.contains("not an index"), "{error}");
}

#[test]
fn quantisation_of_another_kind_is_refused_by_key() {
    let group = "text_config.quantization_config.config_groups.group_0.weights.";
    for (key, value) in [
        ("num_bits", json!(8)),
        ("group_size", json!(128)),
        ("symmetric", json!(false)),
        ("type", json!("float")),
        ("strategy", json!("channel")),
        ("actorder", json!("group")),
    ] {
        let error = changed(|c| {
            c.config["text_config"]["quantization_config"]["config_groups"]["group_0"]["weights"]
                [key] = value;
        });
        assert!(
            error.contains(&format!("key {:?}", format!("{group}{key}"))),
            "{error}"
        );
    }
    for (key, value) in [("format", "int-quantized"), ("quant_method", "fp8")] {
        let error = changed(|c| c.config["text_config"]["quantization_config"][key] = value.into());
        let key = format!("key \"text_config.quantization_config.{key}\" is {value:?}");
        assert!(error.contains(&key), "{error}");
    }
    let error = changed(|c| {
        c.config["text_config"]["quantization_config"] = Json::Null;
    });
    assert!(
        error.ends_with("packed, but config.json has no quantization_config"),
        "{error}"
    );
}

#[test]
fn configurations_of_no_model_of_the_family_are_refused() {
    for (key, value, part) in [
        (
            "model_type",
            json!("llama"),
            "is \"llama\"; kimi_k2 and deepseek_v3 are supported",
        ),
        ("hidden_size", json!(-1), "is -1, expected a count"),
        ("hidden_size", json!(1_u64 << 31), "outside the range"),
        ("qk_nope_head_dim", json!(u32::MAX), "does not fit u32"),
        ("qk_nope_head_dim", json!(u64::MAX), "expected a count"),
        ("vocab_size", json!(null), "is missing"),
        ("num_experts_per_tok", json!(6), "outside the range"),
        ("moe_layer_freq", json!(2), "only 1 is supported"),
        ("scoring_func", json!("tanh"), "expected sigmoid or softmax"),
        ("rms_norm_eps", json!(0), "above 0"),
        (
            "rope_scaling",
            json!({"type": "linear"}),
            "only yarn is supported",
        ),
        ("rope_scaling", json!(3), "is not an object"),
        (
            "rope_scaling",
            json!({"type": "yarn", "mscale_all_dim": 0.7}),
            "they must be equal",
        ),
    ] {
        let error = changed(|c| c.config["text_config"][key] = value);
        assert!(error.contains(part), "{key}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever bytes a header has, planning ends, with a plan or an error.
    #[test]
    fn changed_headers_never_panic(changes in prop::collection::vec((0_usize..4000, any::<u8>()), 1..6)) {
        use std::sync::LazyLock;
        static FOLDER: LazyLock<(tempfile::TempDir, Vec<u8>)> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            Checkpoint::k2_6().write(folder.path());
            let file = fs::read(folder.path().join(shard_name(0))).unwrap();
            (folder, file)
        });
        let (folder, file) = &*FOLDER;
        let mut file = file.clone();
        for (at, byte) in changes {
            file[at] = byte;
        }
        fs::write(folder.path().join(shard_name(0)), file).unwrap();
        let _ = Plan::new(folder.path(), &Options::default());
    }
}
