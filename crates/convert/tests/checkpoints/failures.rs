//! Conversions that fail half-way leave nothing behind.

use std::fs;
use std::path::Path;

use half::bf16;
use perigee_convert::{Event, Options, convert};
use perigee_gguf::Gguf;

use crate::builder::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_shard_that_vanishes_is_an_error_and_an_older_result_stays() {
    let folder = tempfile::tempdir().unwrap();
    Checkpoint::k2_6().write(folder.path());
    let target = tempfile::tempdir().unwrap();
    let out = target.path().join("out.gguf");
    fs::write(&out, "older").unwrap();
    let shard = folder.path().join(shard_name(1));
    let error = convert(folder.path(), &out, &Options::default(), &mut |event| {
        if matches!(event, Event::Progress { .. }) {
            // Again and again: the second time it is no longer there.
            let _ = fs::remove_file(&shard);
        }
    });
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(&shard.display().to_string()), "{error}");
    assert_eq!(names(target.path()), ["out.gguf"]);
    assert_eq!(fs::read(&out).unwrap(), b"older");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    Checkpoint::k2_6().write(folder.path());
    let target = tempfile::tempdir().unwrap();
    let out = target.path().join("out.gguf");
    // Every write to this device fails for want of space.
    let part = target.path().join("out.gguf.part");
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let error = convert(folder.path(), &out, &Options::default(), &mut |_| ());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("out.gguf: No space left on device"),
        "{error}"
    );
    assert!(names(target.path()).is_empty());
}

/// A checkpoint with one group of another scale.
fn with_scale(scale: f32) -> Checkpoint {
    let mut checkpoint = Checkpoint::k2_thinking();
    let name = "model.layers.2.mlp.experts.3.up_proj";
    let (integers, mut scales) = checkpoint.experts[name].clone();
    // Row 5, group 2.
    scales[5 * HIDDEN / 32 + 2] = bf16::from_f32(scale);
    checkpoint.put_packed(name, EXPERT_FFN, HIDDEN, &integers, &scales);
    checkpoint
}

#[test]
fn scales_without_an_exact_f16_are_refused_or_rounded_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    with_scale(1.0e-7).write(folder.path());
    let out = folder.path().join("out.gguf");
    let mut options = Options::default();
    let error = convert(folder.path(), &out, &options, &mut |_| ());
    let error = error.unwrap_err().to_string();
    for part in [
        "tensor model.layers.2.mlp.experts.3.up_proj.weight_scale: ",
        "of row 5, group 2 has no exact f16",
        "can be rounded",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(
        !names(folder.path())
            .iter()
            .any(|name| name.contains("gguf"))
    );

    options.round_scales = true;
    let report = convert(folder.path(), &out, &options, &mut |_| ()).unwrap();
    assert_eq!((report.recovered_groups, report.rounded_groups), (0, 1));
    let gguf = Gguf::open(&out).unwrap();
    let tensor = gguf.tensor("blk.2.ffn_up_exps.weight").unwrap();
    let group = (3 * EXPERT_FFN + 5) * HIDDEN / 32 + 2;
    let d = &gguf.bytes(tensor)[18 * group..][..2];
    // The nearest f16 is 2·2⁻²⁴.
    assert_eq!(d, 2_u16.to_le_bytes());
}

#[test]
fn scales_beyond_f16_are_refused_even_so() {
    for scale in [1e6, f32::INFINITY, f32::NAN] {
        let folder = tempfile::tempdir().unwrap();
        with_scale(scale).write(folder.path());
        let out = folder.path().join("out.gguf");
        let options = Options {
            round_scales: true,
            ..Options::default()
        };
        let error = convert(folder.path(), &out, &options, &mut |_| ());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("of row 5, group 2 has no exact f16"),
            "{error}"
        );
    }
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    for weight in [f32::NAN, f32::INFINITY] {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoint = Checkpoint::k2_6();
        let name = "language_model.model.layers.1.self_attn.kv_a_proj_with_mqa.weight";
        let tensor = checkpoint.tensors.get_mut(name).unwrap();
        let at = 2 * (7 * HIDDEN + 3);
        tensor.bytes[at..at + 2].copy_from_slice(&bf16::from_f32(weight).to_le_bytes());
        checkpoint.write(folder.path());
        let out = folder.path().join("out.gguf");
        let error = convert(folder.path(), &out, &Options::default(), &mut |_| ());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("row 7 has the weight"),
            "{error}"
        );
    }
}

#[test]
fn other_types_for_matrices_are_refused() {
    let options = Options {
        matrices: perigee_quant::QuantKind::Q6K,
        ..Options::default()
    };
    let error = convert(
        Path::new("/nowhere"),
        Path::new("/nowhere/out"),
        &options,
        &mut |_| (),
    );
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "option matrices: type Q6_K; Q8_0, BF16 and F32 are possible"
    );
}
