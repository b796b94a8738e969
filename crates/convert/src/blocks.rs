//! The work cut into pieces that follow each other in the file, each encoded on its own.

use half::{bf16, f16};
use perigee_quant::QuantKind;

use crate::Error;
use crate::int4::{self, GROUP, PACKED_BYTES, Tally};
use crate::plan::{Heads, Origin, Packed, Planned};
use crate::safetensors::{Dtype, Located};

/// Weights of a piece: a few megabytes, so that reads are long and memory is small.
const PIECE: usize = 1 << 20;

/// One piece of a tensor: rows of one of its matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Index of the tensor in the plan.
    pub(crate) tensor: usize,
    /// Head or expert.
    matrix: usize,
    first_row: usize,
    n_rows: usize,
}

/// All pieces of all tensors in the order of the file.
pub(crate) fn pieces(tensors: &[Planned]) -> impl Iterator<Item = Piece> {
    tensors
        .iter()
        .enumerate()
        .flat_map(|(tensor, planned)| of_tensor(tensor, planned))
}

fn of_tensor(tensor: usize, planned: &Planned) -> impl Iterator<Item = Piece> + use<> {
    let shape = &planned.declared.shape;
    let (row_len, rows) = (shape[0] as usize, shape.get(1).map_or(1, |&n| n as usize));
    let matrices = shape.get(2).map_or(1, |&n| n as usize);
    let step = match planned.origin {
        // Transposed as a whole.
        Origin::KeyHeads(..) => rows,
        _ => (PIECE / row_len).max(1),
    };
    (0..matrices).flat_map(move |matrix| {
        (0..rows).step_by(step).map(move |first_row| Piece {
            tensor,
            matrix,
            first_row,
            n_rows: step.min(rows - first_row),
        })
    })
}

/// Reads and encodes one piece.
pub(crate) fn encode(
    planned: &Planned,
    piece: Piece,
    round_scales: bool,
) -> Result<(Vec<u8>, Tally), Error> {
    let (kind, row_len) = (planned.declared.kind, planned.declared.shape[0] as usize);
    let plain = |source: &Located, first_row| {
        let rows = Rows {
            source,
            row_len,
            first: first_row,
            n: piece.n_rows,
        };
        Ok((rows.encode(kind)?, Tally::default()))
    };
    match &planned.origin {
        Origin::Rows(source) => plain(source, piece.first_row),
        Origin::Experts(experts) => plain(&experts[piece.matrix], piece.first_row),
        Origin::ValueHeads(source, Heads { key, value }) => {
            plain(source, piece.matrix * (key + value) + key + piece.first_row)
        }
        Origin::KeyHeads(source, heads) => {
            let bytes = transposed_keys(source, *heads, &piece, kind)?;
            Ok((bytes, Tally::default()))
        }
        Origin::PackedExperts(experts) => {
            packed(&experts[piece.matrix], row_len, &piece, round_scales)
        }
    }
}

/// Consecutive rows of a matrix in the checkpoint.
struct Rows<'a> {
    source: &'a Located,
    row_len: usize,
    first: usize,
    n: usize,
}

impl Rows<'_> {
    fn encode(&self, kind: QuantKind) -> Result<Vec<u8>, Error> {
        encode_rows(self.source, &self.floats()?, self.row_len, kind, self.first)
    }

    fn floats(&self) -> Result<Vec<f32>, Error> {
        floats(
            self.source,
            self.first * self.row_len,
            self.n * self.row_len,
        )
    }
}

/// `n` weights from weight `first` of a tensor of floats.
fn floats(source: &Located, first: usize, n: usize) -> Result<Vec<f32>, Error> {
    let dtype = source.tensor.dtype;
    // Only tensors of floats are planned; another type would read nothing.
    let width = dtype.float_bytes().unwrap_or(0);
    let bytes = source.read((first * width) as u64, n * width)?;
    let pairs = || bytes.as_chunks::<2>().0.iter();
    Ok(match dtype {
        Dtype::Bf16 => pairs().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => pairs().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        _ => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|&b| f32::from_le_bytes(b)).collect()
        }
    })
}

/// Encodes rows; `first_row` is for messages.
fn encode_rows(
    source: &Located,
    weights: &[f32],
    row_len: usize,
    kind: QuantKind,
    first_row: usize,
) -> Result<Vec<u8>, Error> {
    // Beyond this a scale of Q8_0, or the weight itself, is not finite.
    let limit = match kind {
        QuantKind::Q8_0 => 127.0 * f16::MAX.to_f32(),
        QuantKind::Bf16 => bf16::MAX.to_f32(),
        _ => f32::MAX,
    };
    let row_bytes = kind
        .row_bytes(row_len)
        .ok_or_else(|| source.error(format!("rows of {row_len} have no {} form", kind.name())))?;
    let mut out = vec![0; weights.len() / row_len * row_bytes];
    let rows = weights
        .chunks_exact(row_len)
        .zip(out.chunks_exact_mut(row_bytes));
    for (row, (x, bytes)) in rows.enumerate() {
        if let Some(wrong) = x.iter().find(|x| x.is_nan() || x.abs() > limit) {
            let row = first_row + row;
            return Err(source.error(format!(
                "row {row} has the weight {wrong}, which {} cannot hold",
                kind.name()
            )));
        }
        kind.quantize_row(x, None, bytes)
            .map_err(|error| source.error(error.to_string()))?;
    }
    Ok(out)
}

/// The key rows of one head as columns: `rank` rows of `key`.
fn transposed_keys(
    source: &Located,
    heads: Heads,
    piece: &Piece,
    kind: QuantKind,
) -> Result<Vec<u8>, Error> {
    let (rank, key) = (piece.n_rows, heads.key);
    let first = piece.matrix * (heads.key + heads.value);
    let rows = floats(source, first * rank, key * rank)?;
    let mut columns = vec![0.0; rows.len()];
    for (d, row) in rows.chunks_exact(rank).enumerate() {
        for (l, &x) in row.iter().enumerate() {
            columns[l * key + d] = x;
        }
    }
    encode_rows(source, &columns, key, kind, first)
}

fn packed(
    matrix: &Packed,
    row_len: usize,
    piece: &Piece,
    round_scales: bool,
) -> Result<(Vec<u8>, Tally), Error> {
    let groups = row_len / GROUP;
    let row_bytes = groups * PACKED_BYTES;
    let codes = matrix.codes.read(
        (piece.first_row * row_bytes) as u64,
        piece.n_rows * row_bytes,
    )?;
    let scales = floats(
        &matrix.scales,
        piece.first_row * groups,
        piece.n_rows * groups,
    )?;
    let out_bytes = groups * (2 + GROUP / 2);
    let mut out = vec![0; piece.n_rows * out_bytes];
    let mut tally = Tally::default();
    let rows = codes
        .chunks_exact(row_bytes)
        .zip(scales.chunks_exact(groups));
    for (row, ((codes, scales), out)) in rows.zip(out.chunks_exact_mut(out_bytes)).enumerate() {
        let row_tally = int4::repack_row(codes, scales, round_scales, out).map_err(|inexact| {
            let (row, group) = (piece.first_row + row, inexact.group);
            let hint = if inexact.scale.abs() < 1.0 {
                "; scales can be rounded if that is asked for"
            } else {
                ""
            };
            matrix.scales.error(format!(
                "the scale {:e} of row {row}, group {group} has no exact f16, which Q4_0 needs{hint}",
                inexact.scale
            ))
        })?;
        tally.add(row_tally);
    }
    Ok((out, tally))
}
