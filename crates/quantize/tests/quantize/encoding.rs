//! The bytes of the output.

use perigee_gguf::{Gguf, TokenId, Value, Writer};
use perigee_quant::QuantKind;
use perigee_quantize::{Options, Plan, QuantizeError, Recipe, quantize};
use perigee_testkit::{Reference, norms};

use crate::models::{
    check, description, f32_bytes, importances, kimi, mixed, model, noise, noisy, options, plan,
    run, weighted,
};

#[test]
fn every_row_is_what_its_encoder_gives() {
    let folder = tempfile::tempdir().unwrap();
    let source = kimi().gguf();
    for recipe in [
        mixed(),
        Recipe::named("Q4_X").unwrap(),
        Recipe::pure(QuantKind::Iq4Xs),
    ] {
        let path = folder.path().join("out.gguf");
        let report = run(&source, &recipe, &path, &options()).unwrap();
        assert_eq!(report.paths, std::slice::from_ref(&path));
        assert_eq!(report.n_bytes, path.metadata().unwrap().len());
        assert_eq!(report.n_resumed, 0);
        let out = Gguf::open(&path).unwrap();
        check(&source, &out, &plan(&source, &recipe), None);
    }
}

#[test]
fn the_output_computes_what_the_source_does() {
    let folder = tempfile::tempdir().unwrap();
    let synthetic = kimi();
    let (source, tokens) = (synthetic.gguf(), [1, 200, 7, 31].map(TokenId));
    let logits = |gguf: &Gguf| Reference::new(gguf, synthetic.config()).forward(&tokens);
    let wanted = logits(&source);
    for (kind, bound) in [(QuantKind::Bf16, 0.02), (QuantKind::Q8_0, 0.05)] {
        let path = folder.path().join("out.gguf");
        run(&source, &Recipe::pure(kind), &path, &options()).unwrap();
        let error = norms::nrmse(&logits(&Gguf::open(&path).unwrap()), &wanted);
        assert!(error > 0.0 && error < bound, "{}: {error}", kind.name());
    }
}

#[test]
fn importances_are_those_of_the_expert() {
    let folder = tempfile::tempdir().unwrap();
    let source = kimi().gguf();
    let imatrix = importances(&source, folder.path());
    let plan = weighted(&source, &mixed(), &imatrix);
    let path = folder.path().join("out.gguf");
    quantize(
        &source,
        &plan,
        Some(&imatrix),
        &path,
        &options(),
        &mut |_| {},
    )
    .unwrap();
    let out = Gguf::open(&path).unwrap();
    check(&source, &out, &plan, Some(&imatrix));

    let plain = folder.path().join("plain.gguf");
    run(&source, &mixed(), &plain, &options()).unwrap();
    let plain = Gguf::open(&plain).unwrap();
    let name = "blk.1.ffn_gate_exps.weight";
    let of = |gguf: &Gguf| gguf.bytes(gguf.tensor(name).unwrap()).to_vec();
    assert_ne!(of(&out), of(&plain), "importances have no effect");
}

#[test]
fn one_row_of_importances_serves_all_matrices() {
    let folder = tempfile::tempdir().unwrap();
    let name = "blk.0.ffn_up_exps.weight";
    let source = noisy("m.gguf", &[(name, &[256, 3, 4])]);
    let flat = noisy("m.gguf", &[(name, &[256, 12])]);
    let imatrix = importances(&flat, folder.path());
    let recipe = Recipe::pure(QuantKind::Q4K);
    let plan = weighted(&source, &recipe, &imatrix);
    let path = folder.path().join("out.gguf");
    quantize(
        &source,
        &plan,
        Some(&imatrix),
        &path,
        &options(),
        &mut |_| {},
    )
    .unwrap();
    let out = Gguf::open(&path).unwrap();
    check(
        &flat,
        &rename(&out, &[256, 12]),
        &weighted(&flat, &recipe, &imatrix),
        Some(&imatrix),
    );
}

/// The only tensor of a model in another shape.
fn rename(gguf: &Gguf, shape: &[u64]) -> Gguf {
    let tensor = &gguf.tensors()[0];
    let mut writer = Writer::new();
    writer.tensor(
        &tensor.name,
        tensor.kind,
        shape,
        gguf.bytes(tensor).to_vec(),
    );
    Gguf::from_vec("renamed.gguf", writer.to_bytes()).unwrap()
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let source = kimi().gguf();
    let of = |n_threads: usize| {
        let path = folder.path().join(format!("{n_threads}.gguf"));
        let options = Options {
            n_threads,
            ..options()
        };
        run(&source, &mixed(), &path, &options).unwrap();
        std::fs::read(path).unwrap()
    };
    let one = of(1);
    for n_threads in [0, 2, 4, 64] {
        assert!(of(n_threads) == one, "{n_threads} threads");
    }
}

#[test]
fn metadata_is_kept_and_says_what_the_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let source = kimi().gguf();
    for (recipe, file_type) in [("q8_0", Some(7)), ("q4_k", Some(15)), ("iq3_k", None)] {
        let path = folder.path().join("out.gguf");
        run(&source, &Recipe::named(recipe).unwrap(), &path, &options()).unwrap();
        let out = Gguf::open(&path).unwrap();
        assert_eq!(description(&out), description(&source), "{recipe}");
        let metadata = out.metadata();
        assert_eq!(
            metadata.u32("general.quantization_version").unwrap(),
            Some(2)
        );
        assert_eq!(
            metadata.u32("general.file_type").unwrap(),
            file_type,
            "{recipe}"
        );
    }
}

#[test]
fn alignment_of_any_width_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for value in [
        Value::U32(256),
        Value::U64(256),
        Value::U16(256),
        Value::I32(256),
    ] {
        let mut writer = Writer::new();
        writer.metadata("general.alignment", Value::U32(256));
        writer.tensor(
            "a.weight",
            QuantKind::F32,
            &[64, 3],
            f32_bytes(&noise(1, 192)),
        );
        writer.tensor(
            "b.weight",
            QuantKind::F32,
            &[64, 5],
            f32_bytes(&noise(2, 320)),
        );
        let bytes = with_alignment(writer.to_bytes(), &value);
        let source = Gguf::from_vec("aligned.gguf", bytes).unwrap();
        let path = folder.path().join("out.gguf");
        let recipe = Recipe::pure(QuantKind::Q8_0);
        run(&source, &recipe, &path, &options()).unwrap();
        let out = Gguf::open(&path).unwrap();
        assert_eq!(out.metadata().u32("general.alignment").unwrap(), Some(256));
        check(&source, &out, &plan(&source, &recipe), None);
    }
}

/// A file whose only metadata entry, an alignment of 256, is written as another integer.
fn with_alignment(mut bytes: Vec<u8>, value: &Value) -> Vec<u8> {
    let at = 24 + 8 + "general.alignment".len();
    let (id, encoded): (u32, Vec<u8>) = match *value {
        Value::U16(v) => (2, v.to_le_bytes().to_vec()),
        Value::U32(v) => (4, v.to_le_bytes().to_vec()),
        Value::I32(v) => (5, v.to_le_bytes().to_vec()),
        Value::U64(v) => (10, v.to_le_bytes().to_vec()),
        _ => unreachable!("no integer"),
    };
    // The header is shorter than one unit of alignment: its padding takes up the difference.
    let data = bytes.split_off(256);
    bytes.splice(at..at + 8, [id.to_le_bytes().to_vec(), encoded].concat());
    bytes.resize(256, 0);
    bytes.extend(data);
    bytes
}

#[test]
fn symmetric_q4_0_keeps_the_integers_of_int4_grids() {
    let folder = tempfile::tempdir().unwrap();
    let name = "blk.0.ffn_up_exps.weight";
    // As quantisation-aware training leaves them: integers −7..=7 times a scale for 32, in
    // which the largest may be missing on one side only.
    let codes: Vec<i32> = (0..64 * 6).map(|i| (i * 7 + i / 32) % 15 - 7).collect();
    let scales = [0.5, 0.0078125, 3.0, 0.25, 1.0, 2.0];
    let values: Vec<f32> = codes
        .iter()
        .zip(0..)
        .map(|(&code, i)| code as f32 * scales[i / 32 % 6])
        .collect();
    let source = model("m.gguf", &[(name, &[64, 3, 2], values.clone())]);
    let imatrix = importances(&source, folder.path());
    let recipe = Recipe::named("Q4_X").unwrap();
    let plan = weighted(&source, &recipe, &imatrix);
    let path = folder.path().join("out.gguf");
    quantize(
        &source,
        &plan,
        Some(&imatrix),
        &path,
        &options(),
        &mut |_| {},
    )
    .unwrap();
    let out = Gguf::open(&path).unwrap();
    let tensor = out.tensor(name).unwrap();
    assert_eq!(tensor.kind, QuantKind::Q4_0);
    let mut decoded = vec![0.0; 64 * 6];
    let rows = out
        .bytes(tensor)
        .chunks(QuantKind::Q4_0.row_bytes(64).unwrap());
    for (row, x) in rows.zip(decoded.chunks_mut(64)) {
        QuantKind::Q4_0.dequantize_row(row, x);
    }
    assert_eq!(decoded, values);
}

#[test]
fn a_quantised_source_is_decoded_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("q8_0.gguf");
    run(
        &kimi().gguf(),
        &Recipe::pure(QuantKind::Q8_0),
        &first,
        &options(),
    )
    .unwrap();
    let source = Gguf::open(&first).unwrap();
    let plan = Plan::new(&source, &mixed(), None, true).unwrap();
    let path = folder.path().join("out.gguf");
    quantize(&source, &plan, None, &path, &options(), &mut |_| {}).unwrap();
    check(&source, &Gguf::open(&path).unwrap(), &plan, None);
}

#[test]
fn progress_only_grows_and_stays_within_the_total() {
    let folder = tempfile::tempdir().unwrap();
    let source = kimi().gguf();
    let plan = plan(&source, &mixed());
    let path = folder.path().join("out.gguf");
    let total: u64 = source
        .tensors()
        .iter()
        .map(|tensor| tensor.n_bytes as u64)
        .sum();
    let (mut last, mut calls) = (0, 0);
    quantize(&source, &plan, None, &path, &options(), &mut |at| {
        assert_eq!(at.total, total);
        assert!(
            last <= at.done && at.done <= total,
            "{} after {last}",
            at.done
        );
        assert!(source.tensor(at.tensor).is_some());
        (last, calls) = (at.done, calls + 1);
    })
    .unwrap();
    assert!(calls >= source.tensors().len());
}

#[test]
fn weights_that_a_type_cannot_hold_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.gguf");
    let of = |kind, weight| {
        let mut values = noise(1, 32 * 200);
        values[32 * 123 + 5] = weight;
        // Of several rows at fault the first is named.
        values[32 * 190] = weight;
        let source = model("m.gguf", &[("a.weight", &[32, 200], values)]);
        run(&source, &Recipe::pure(kind), &path, &options()).map(|_| Gguf::open(&path).unwrap())
    };
    use QuantKind::{Bf16, F16, Q4_0, Q8_0};
    let too_large = [
        (F16, 65520.0),
        (F16, -1e9),
        (Bf16, f32::MAX),
        (Q8_0, 1e9),
        (Q4_0, 1e30),
        (F16, f32::INFINITY),
        (Q8_0, f32::NEG_INFINITY),
        (Bf16, f32::NAN),
    ];
    for (kind, weight) in too_large {
        let Err(error) = of(kind, weight) else {
            panic!("{} holds {weight}", kind.name());
        };
        assert!(
            matches!(error, QuantizeError::NotFinite { row: 123, .. }),
            "{error}"
        );
    }
    for (kind, weight) in [(F16, 65504.0), (F16, 65519.0), (Bf16, 1e38), (Q8_0, 1e6)] {
        let out = of(kind, weight).unwrap();
        let mut rows = out
            .bytes(&out.tensors()[0])
            .chunks(kind.row_bytes(32).unwrap());
        let mut x = [0.0; 32];
        kind.dequantize_row(rows.nth(123).unwrap(), &mut x);
        assert!(
            (x[5] / weight - 1.0).abs() < 0.01,
            "{} {}",
            kind.name(),
            x[5]
        );
    }
}
