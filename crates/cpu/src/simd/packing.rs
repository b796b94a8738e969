//! Rows turned into columns of sixteen lanes.

use super::lanes::LANES;

/// `out[i, l] = rows[l][i]`, zero for the lanes without a row; `out: [len, 16]` for up to 16
/// rows of `len` each.
///
/// # Panics
/// When a row has another length than `out` has sixteens.
pub(crate) fn pack_rows(rows: &[&[f32]], out: &mut [f32]) {
    let out = out.as_chunks_mut::<LANES>().0;
    let len = out.len();
    assert!(rows.len() <= LANES && rows.iter().all(|row| row.len() == len));
    let mut done = 0;
    if let Some(rows) = rows.first_chunk::<LANES>() {
        let (fours, _) = out.as_chunks_mut::<4>();
        let rows = rows.map(|row| &row.as_chunks::<4>().0[..fours.len()]);
        for (i, fours) in fours.iter_mut().enumerate() {
            for first in [0, 4, 8, 12] {
                let [a, b, c, d] = [0, 1, 2, 3].map(|l| &rows[first + l][i]);
                for (out, column) in fours.iter_mut().zip(transposed([a, b, c, d])) {
                    out[first..first + 4].copy_from_slice(&column);
                }
            }
        }
        done = 4 * fours.len();
    }
    for (i, out) in out.iter_mut().enumerate().skip(done) {
        out.fill(0.0);
        for (out, row) in out.iter_mut().zip(rows) {
            *out = row[i];
        }
    }
}

/// The columns of four rows of four.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(rows: [&[f32; 4]; 4]) -> [[f32; 4]; 4] {
    use std::arch::x86_64::*;
    let mut columns = [[0.0; 4]; 4];
    // SAFETY: SSE is part of x86-64; loads and stores of four floats each, unaligned.
    unsafe {
        let [a, b, c, d] = rows.map(|row| _mm_loadu_ps(row.as_ptr()));
        let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        let values = [
            _mm_movelh_ps(ab_low, cd_low),
            _mm_movehl_ps(cd_low, ab_low),
            _mm_movelh_ps(ab_high, cd_high),
            _mm_movehl_ps(cd_high, ab_high),
        ];
        for (column, value) in columns.iter_mut().zip(values) {
            _mm_storeu_ps(column.as_mut_ptr(), value);
        }
    }
    columns
}

/// The columns of four rows of four.
#[cfg(not(target_arch = "x86_64"))]
fn transposed(rows: [&[f32; 4]; 4]) -> [[f32; 4]; 4] {
    std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
}

#[cfg(test)]
mod tests;
