//! Rows turned into columns of sixteen lanes.

use super::lanes::LANES;

/// `out[i, l] = rows[l][i]`, zero for the lanes without a row; `out: [len, 16]` for up to 16
/// rows of `len` each.
///
/// # Panics
/// When a row has another length than `out` has sixteens.
pub(crate) fn pack_rows(rows: &[&[f32]], out: &mut [f32]) {
    const ZEROES: [f32; 4] = [0.0; 4];
    let out = out.as_chunks_mut::<LANES>().0;
    assert!(rows.len() <= LANES && rows.iter().all(|row| row.len() == out.len()));
    let (fours, rest) = out.as_chunks_mut::<4>();
    for (i, fours) in fours.iter_mut().enumerate() {
        for first in (0..LANES).step_by(4) {
            let mut square = [&ZEROES; 4];
            for (part, row) in square.iter_mut().zip(rows.iter().skip(first)) {
                *part = row[4 * i..].first_chunk().unwrap_or(&ZEROES);
            }
            for (j, out) in fours.iter_mut().enumerate() {
                for (l, part) in square.iter().enumerate() {
                    out[first + l] = part[j];
                }
            }
        }
    }
    let done = 4 * fours.len();
    for (i, out) in rest.iter_mut().enumerate() {
        out.fill(0.0);
        for (out, row) in out.iter_mut().zip(rows) {
            *out = row[done + i];
        }
    }
}
