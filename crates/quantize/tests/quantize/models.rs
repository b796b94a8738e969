//! What the tests share: models, runs, and the bytes that a run should give.

use std::path::Path;

use perigee_gguf::{Gguf, Tensor, Value, Writer};
use perigee_quant::{QuantKind, quantize_q4_0_symmetric};
use perigee_quantize::{
    Activations, Imatrix, Options, Plan, QuantizeError, Recipe, Report, Selection, quantize,
};
use perigee_testkit::{SplitMix, Synthetic, shapes};

/// A small Kimi in F32.
pub(crate) fn kimi() -> Synthetic {
    Synthetic::new(shapes::kimi())
}

/// A recipe of several types, one of them with long blocks.
pub(crate) fn mixed() -> Recipe {
    let text = "ffn_(gate|up)_exps = q4_K\nffn_down_exps = q4_0\ntoken_embd = f16\nrest = q8_0";
    Recipe::parse_file(text).unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        n_threads: 2,
        keep_split: false,
        fingerprint: "test".to_owned(),
    }
}

pub(crate) fn keep_split() -> Options {
    Options {
        keep_split: true,
        ..options()
    }
}

pub(crate) fn plan(source: &Gguf, recipe: &Recipe) -> Plan {
    Plan::new(source, recipe, None, false).unwrap()
}

/// Runs without importances and without watching.
pub(crate) fn run(
    source: &Gguf,
    recipe: &Recipe,
    out: &Path,
    options: &Options,
) -> Result<Report, QuantizeError> {
    let plan = plan(source, recipe);
    quantize(source, &plan, None, out, options, &mut |_| {})
}

/// `n` values that are neither round nor alike.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut mix = SplitMix::new(seed);
    let mut value = || (mix.bits() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0;
    (0..n).map(|_| value()).collect()
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().copied().flat_map(f32::to_le_bytes).collect()
}

/// A model in memory of F32 tensors.
pub(crate) fn model(name: &str, tensors: &[(&str, &[u64], Vec<f32>)]) -> Gguf {
    let mut writer = Writer::new();
    writer.metadata("general.name", "fixture".into());
    for (name, shape, values) in tensors {
        writer.tensor(name, QuantKind::F32, shape, f32_bytes(values));
    }
    Gguf::from_vec(name, writer.to_bytes()).unwrap()
}

/// A model in memory of F32 tensors of noise.
pub(crate) fn noisy(name: &str, tensors: &[(&str, &[u64])]) -> Gguf {
    let tensors: Vec<_> = tensors
        .iter()
        .zip(1..)
        .map(|(&(name, shape), seed)| {
            let n = shape.iter().product::<u64>();
            (name, shape, noise(seed, n as usize))
        })
        .collect();
    model(name, &tensors)
}

/// Importances of every matrix of a model, of its own for each expert, as a file holds them.
pub(crate) fn importances(source: &Gguf, folder: &Path) -> Imatrix {
    let mut activations = Activations::default();
    for (tensor, seed) in source.tensors().iter().zip(1000..) {
        if tensor.shape.len() < 2 {
            continue;
        }
        let columns = tensor.shape[0] as usize;
        let matrices = tensor.shape[2..].iter().product::<u64>() as usize;
        for matrix in 0..matrices {
            let inputs = noise(seed + 7919 * matrix as u64, 2 * columns);
            activations.add(&tensor.name, matrices, matrix, columns, &inputs);
        }
    }
    let path = folder.join("imatrix.gguf");
    activations.write(&path, "noise", 2, 512).unwrap();
    Imatrix::read(&path).unwrap()
}

/// A plan with importances for all tensors.
pub(crate) fn weighted(source: &Gguf, recipe: &Recipe, imatrix: &Imatrix) -> Plan {
    Plan::new(source, recipe, Some((imatrix, &Selection::All)), false).unwrap()
}

/// What a tensor should become, row by row.
pub(crate) fn expected(
    source: &Gguf,
    tensor: &Tensor,
    to: QuantKind,
    importance: Option<&[f32]>,
    symmetric: bool,
) -> Vec<u8> {
    let bytes = source.bytes(tensor);
    if to == tensor.kind {
        return bytes.to_vec();
    }
    let (columns, rows) = (tensor.shape[0] as usize, tensor.shape[1] as usize);
    let row_bytes = tensor.kind.row_bytes(columns).unwrap();
    let mut encoded = Vec::new();
    let mut x = vec![0.0; columns];
    for (i, row) in bytes.chunks(row_bytes).enumerate() {
        tensor.kind.dequantize_row(row, &mut x);
        let mut out = vec![0; to.row_bytes(columns).unwrap()];
        if symmetric && to == QuantKind::Q4_0 {
            quantize_q4_0_symmetric(&x, &mut out);
        } else {
            let of_matrix = importance.map(|all| &all[i / rows * columns..][..columns]);
            to.quantize_row(&x, of_matrix, &mut out).unwrap();
        }
        encoded.extend(out);
    }
    encoded
}

/// Checks every tensor of `out` against [`expected`].
pub(crate) fn check(source: &Gguf, out: &Gguf, plan: &Plan, imatrix: Option<&Imatrix>) {
    assert_eq!(source.tensors().len(), out.tensors().len());
    for ((from, to), planned) in source
        .tensors()
        .iter()
        .zip(out.tensors())
        .zip(&plan.tensors)
    {
        assert_eq!((&from.name, &from.shape), (&to.name, &to.shape));
        assert_eq!(to.kind, planned.declared.kind, "{}", to.name);
        let matrices = from.shape.iter().skip(2).product();
        let found =
            imatrix.and_then(|all| all.columns(&from.name, matrices, from.shape[0]).unwrap());
        let importance = found.filter(|_| planned.weighted);
        let wanted = expected(source, from, to.kind, importance, plan.symmetric_q4_0);
        assert!(out.bytes(to) == wanted, "bytes of {}", to.name);
    }
}

/// Metadata by key, without those that describe the file and not the model.
pub(crate) fn description(gguf: &Gguf) -> Vec<(String, Value)> {
    let about_file = ["general.file_type", "general.quantization_version"];
    let kept = gguf.metadata().iter();
    let kept = kept.filter(|(key, _)| !key.starts_with("split.") && !about_file.contains(key));
    kept.map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}

/// Names of the files of a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
