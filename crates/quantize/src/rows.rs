//! The rows of one tensor, encoded by several threads a piece at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use perigee_quant::{QuantKind, quantize_q4_0_symmetric};

/// Bytes of encoded rows that are in memory at once.
const PIECE_BYTES: usize = 32 << 20;
/// Rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 16;
/// The largest number of F16.
const F16_MAX: f32 = 65504.0;

/// How the rows of a tensor are encoded.
pub(crate) struct Encoding<'a> {
    pub(crate) from: QuantKind,
    pub(crate) to: QuantKind,
    pub(crate) row_len: usize,
    /// Rows of one matrix: importances change with the matrix.
    pub(crate) rows_per_matrix: usize,
    /// `[n_matrices, row_len]` or `[row_len]`.
    pub(crate) importance: Option<&'a [f32]>,
    /// For Q4_0: codes −7..=7 by the largest magnitude.
    pub(crate) symmetric: bool,
}

/// A row that cannot be encoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFinite {
    pub(crate) row: usize,
}

impl Encoding<'_> {
    /// Encodes all rows of `source`, handing over one piece after the other, in order, as long
    /// as `sink` asks for more.
    pub(crate) fn run<E: From<NotFinite>>(
        &self,
        source: &[u8],
        n_threads: usize,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let from_bytes = self.from.row_bytes(self.row_len).unwrap_or(0).max(1);
        let to_bytes = self.to.row_bytes(self.row_len).unwrap_or(0).max(1);
        let n_rows = source.len() / from_bytes;
        let rows_per_piece = (PIECE_BYTES / to_bytes).clamp(1, n_rows.max(1));
        let mut piece = vec![0; rows_per_piece * to_bytes];
        for first in (0..n_rows).step_by(rows_per_piece) {
            let rows = rows_per_piece.min(n_rows - first);
            let piece = &mut piece[..rows * to_bytes];
            let source = &source[first * from_bytes..][..rows * from_bytes];
            self.piece(source, piece, first, n_threads)?;
            sink(piece)?;
        }
        Ok(())
    }

    fn piece(
        &self,
        source: &[u8],
        out: &mut [u8],
        first: usize,
        n_threads: usize,
    ) -> Result<(), NotFinite> {
        let from_bytes = source.len() / (out.len() / self.row_out()).max(1);
        let work = source
            .chunks(ROWS_AT_ONCE * from_bytes)
            .zip(out.chunks_mut(ROWS_AT_ONCE * self.row_out()))
            .enumerate();
        let work = Mutex::new(work);
        let (failed, bad_row) = (AtomicBool::new(false), AtomicUsize::new(usize::MAX));
        let worker = || {
            let mut x = vec![0.0; self.row_len];
            while !failed.load(Ordering::Relaxed) {
                let next = {
                    // Poisoned only if another thread has panicked, which the scope reports.
                    let mut work = work.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    work.next()
                };
                let Some((chunk, (source, out))) = next else {
                    break;
                };
                let rows = source
                    .chunks_exact(from_bytes)
                    .zip(out.chunks_exact_mut(self.row_out()));
                for (i, (source, out)) in rows.enumerate() {
                    let row = first + chunk * ROWS_AT_ONCE + i;
                    if !self.row(source, &mut x, row, out) {
                        bad_row.fetch_min(row, Ordering::Relaxed);
                        failed.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..n_threads {
                scope.spawn(worker);
            }
            worker();
        });
        match bad_row.into_inner() {
            usize::MAX => Ok(()),
            row => Err(NotFinite { row }),
        }
    }

    fn row_out(&self) -> usize {
        self.to.row_bytes(self.row_len).unwrap_or(0).max(1)
    }

    /// Encodes one row; false when it holds what is no number, or would in the output.
    fn row(&self, source: &[u8], x: &mut [f32], row: usize, out: &mut [u8]) -> bool {
        self.from.dequantize_row(source, x);
        if !x.iter().all(|x| x.is_finite()) {
            return false;
        }
        // Scales are F16 at the narrowest: what fits those overflows in no type.
        let fits = x.iter().all(|x| x.abs() <= F16_MAX);
        if self.symmetric {
            quantize_q4_0_symmetric(x, out);
        } else {
            let importance = self.importance.map(|all| match all.len() {
                len if len == self.row_len => all,
                _ => &all[row / self.rows_per_matrix * self.row_len..][..self.row_len],
            });
            // The plan has only types with encoders.
            if self.to.quantize_row(x, importance, out).is_err() {
                return false;
            }
        }
        fits || {
            self.to.dequantize_row(out, x);
            x.iter().all(|x| x.is_finite())
        }
    }
}
