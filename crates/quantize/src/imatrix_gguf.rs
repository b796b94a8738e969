//! llama.cpp's importance files: a GGUF with, for each matrix, `NAME.in_sum2` of sums of
//! squares `[n_columns, n_matrices]` and `NAME.counts` `[1, n_matrices]`, both F32.

use std::io;
use std::path::Path;

use perigee_gguf::{Gguf, Tensor, Value, Writer};
use perigee_quant::QuantKind;

use crate::{Activations, Imatrix, ImatrixError};

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Reads a file; a matrix that saw no input counts all columns alike.
pub(crate) fn read(path: &Path) -> Result<Imatrix, ImatrixError> {
    let malformed = |what: String| ImatrixError::Malformed {
        path: path.to_owned(),
        what,
    };
    let gguf = Gguf::open(path)?;
    let mut imatrix = Imatrix::default();
    for tensor in gguf.tensors() {
        let Some(name) = tensor.name.strip_suffix(SUMS) else {
            continue;
        };
        let counts = gguf
            .tensor(&format!("{name}{COUNTS}"))
            .ok_or_else(|| malformed(format!("{name} has sums and no counts")))?;
        let (Some(sums), Some(counts)) = (floats(&gguf, tensor), floats(&gguf, counts)) else {
            return Err(malformed(format!("{name} is not F32")));
        };
        if counts.is_empty() || !sums.len().is_multiple_of(counts.len()) {
            let (sums, counts) = (sums.len(), counts.len());
            return Err(malformed(format!(
                "{name} has {sums} sums and {counts} counts"
            )));
        }
        let n_columns = sums.len() / counts.len();
        let mut importance = Vec::with_capacity(sums.len());
        for (sums, &count) in sums.chunks(n_columns).zip(&counts) {
            let mean = |&sum: &f32| if count > 0.0 { sum / count } else { 1.0 };
            importance.extend(sums.iter().map(mean));
        }
        imatrix.insert(name.to_owned(), importance);
    }
    if imatrix.names().len() == 0 {
        return Err(malformed(format!(
            "a GGUF without importances: no tensor is named *{SUMS}"
        )));
    }
    let metadata = gguf.metadata();
    imatrix.n_chunks = metadata.u32("imatrix.chunk_count")?.unwrap_or(0);
    let datasets = metadata.byte_strings("imatrix.datasets")?;
    imatrix.datasets = datasets
        .unwrap_or_default()
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    Ok(imatrix)
}

fn floats(gguf: &Gguf, tensor: &Tensor) -> Option<Vec<f32>> {
    let words = gguf.bytes(tensor).as_chunks::<4>().0.iter();
    (tensor.kind == QuantKind::F32).then(|| words.map(|word| f32::from_le_bytes(*word)).collect())
}

/// Writes a file.
pub(crate) fn write(
    path: &Path,
    activations: &Activations,
    dataset: &str,
    n_chunks: u32,
    chunk_tokens: u32,
) -> io::Result<()> {
    let mut writer = Writer::new();
    writer
        .metadata("general.type", "imatrix".into())
        .metadata("imatrix.datasets", Value::strings([dataset]))
        .metadata("imatrix.chunk_count", Value::U32(n_chunks))
        .metadata("imatrix.chunk_size", Value::U32(chunk_tokens));
    let bytes = |values: &mut dyn Iterator<Item = f32>| -> Vec<u8> {
        values.flat_map(f32::to_le_bytes).collect()
    };
    for (name, sums) in &activations.sums {
        let n_matrices = sums.counts.len() as u64;
        let shape = [sums.n_columns() as u64, n_matrices];
        let squares = bytes(&mut sums.squares.iter().map(|&square| square as f32));
        writer.tensor(&format!("{name}{SUMS}"), QuantKind::F32, &shape, squares);
        let counts = bytes(&mut sums.counts.iter().map(|&count| count as f32));
        let shape = [1, n_matrices];
        writer.tensor(&format!("{name}{COUNTS}"), QuantKind::F32, &shape, counts);
    }
    writer.write(path)
}
