//! `y = W·x` with quantised rows and f32 activations.
//!
//! Packed rows go to `packed/product.rs`; this is for rows in the order of the file.
//! A task takes some rows of one matrix, dequantises a tile of them into the scratch memory of
//! its worker, and dots the tile with the rows of all tokens, four at a time: prefill pays for
//! decoding a row once a batch.

use std::ops::Range;

use perigee_topology::DisjointMut;

use crate::packed::{product, product_all};
use crate::simd::{BLOCK, Panel, accumulate_rows, dot_rows};
use crate::{Matrix, Stack, Workers};

/// Rows dequantised at a time.
pub(crate) const TILE_ROWS: usize = 16;
/// Multiplications that are worth a task of their own: some 10 µs.
const TASK_MACS: usize = 100_000;
/// Tokens of a task of the transposed product.
const TASK_TOKENS: usize = 64;

/// Scratch floats that products with matrices of up to `n_in` columns need.
pub fn scratch_len(n_in: usize) -> usize {
    TILE_ROWS * n_in
}

/// Where the rows of tokens and items are in a buffer of activations: the row of item `i` (a
/// head) of token `t` starts at `start + t · token + i · item`.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// First row.
    pub start: usize,
    /// Distance of tokens.
    pub token: usize,
    /// Distance of items within a token.
    pub item: usize,
}

impl At {
    pub(crate) fn row(&self, token: usize, item: usize) -> usize {
        self.start + token * self.token + item * self.item
    }

    /// Checks that rows of `len` do not overlap.
    fn assert_apart(&self, n_tokens: usize, n_items: usize, len: usize) {
        let token_len = n_items.saturating_sub(1) * self.item + len;
        assert!(
            (n_items <= 1 || self.item >= len) && (n_tokens <= 1 || self.token >= token_len),
            "rows of {len}, {n_items} items: {self:?}"
        );
    }
}

/// `y[t, o] = Σ_i w[o, i] · x[t, i]`; x: `[n_tokens, n_in]`, y: `[n_tokens, n_rows]`.
///
/// # Panics
/// When the lengths do not agree.
pub fn matmul(workers: &Workers, w: Matrix<'_>, x: &[f32], y: &mut [f32]) {
    let (n_in, n_out) = (w.n_in(), w.n_rows());
    assert_eq!(x.len() / n_in * n_out, y.len(), "[{n_in}, {n_out}]");
    let n_tokens = x.len() / n_in;
    let at = |token| At {
        start: 0,
        token,
        item: 0,
    };
    matmul_stack(workers, w.into(), n_tokens, (x, at(n_in)), (y, at(n_out)));
}

/// [`matmul`] of the same rows with several matrices. Those that meet integers are one parallel loop,
/// for which the rows are rounded once.
///
/// # Panics
/// When the lengths do not agree.
pub fn matmul_all<const N: usize>(
    workers: &Workers,
    x: &[f32],
    products: [(Matrix<'_>, &mut [f32]); N],
) {
    for (w, y) in &products {
        let (n_in, n_out) = (w.n_in(), w.n_rows());
        assert_eq!(n_in, products[0].0.n_in());
        assert_eq!(x.len() / n_in * n_out, y.len(), "[{n_in}, {n_out}]");
    }
    if products.iter().any(|(w, _)| w.layout().is_none()) {
        for (w, y) in products {
            matmul(workers, w, x, y);
        }
        return;
    }
    product_all(workers, x, products);
}

/// `y[t, h, o] = Σ_i w[h][o, i] · x[t, h, i]`: one matrix per item (head).
///
/// # Panics
/// When a row is outside its buffer.
pub fn matmul_stack(
    workers: &Workers,
    w: Stack<'_>,
    n_tokens: usize,
    (x, x_at): (&[f32], At),
    (y, y_at): (&mut [f32], At),
) {
    let (n_in, n_rows) = (w.n_in(), w.n_rows());
    y_at.assert_apart(n_tokens, w.n_items(), n_rows);
    if w.layout().is_some() {
        return product(workers, w, n_tokens, (x, x_at), (y, y_at));
    }
    let task_rows = task_rows(n_in * n_tokens, n_rows);
    let n_tasks = n_rows.div_ceil(task_rows);
    let y = DisjointMut::new(y);
    workers.for_each(n_tasks * w.n_items(), &|task, scratch| {
        let (item, task) = (task / n_tasks, task % n_tasks);
        let matrix = w.item(item);
        let end = n_rows.min((task + 1) * task_rows);
        for_tiles(task * task_rows..end, |rows| {
            let tile = dequantized_tile(&matrix, rows.clone(), scratch);
            for t in (0..n_tokens).step_by(BLOCK) {
                let tokens = BLOCK.min(n_tokens - t);
                let mut block = [[].as_slice(); BLOCK];
                for (j, row) in block[..tokens].iter_mut().enumerate() {
                    *row = &x[x_at.row(t + j, item)..][..n_in];
                }
                let mut sums = [0.0; BLOCK * TILE_ROWS];
                let sums = &mut sums[..tokens * rows.len()];
                dot_rows(tile, &block[..tokens], sums);
                for (j, sums) in sums.chunks_exact(rows.len()).enumerate() {
                    let start = y_at.row(t + j, item) + rows.start;
                    // SAFETY: a (token, item, row) belongs to one task, and `y_at` keeps items
                    // and tokens apart (asserted above).
                    unsafe { y.range(start, rows.len()) }.copy_from_slice(sums);
                }
            }
        });
    });
}

/// `y[t, h, i] = Σ_o x[t, h, o] · w[h][o, i]`: the product with the transposed matrices, from the
/// same rows.
///
/// # Panics
/// When a row is outside its buffer.
pub fn matmul_stack_transposed(
    workers: &Workers,
    w: Stack<'_>,
    n_tokens: usize,
    (x, x_at): (&[f32], At),
    (y, y_at): (&mut [f32], At),
) {
    let (n_out, n_rows) = (w.n_in(), w.n_rows());
    y_at.assert_apart(n_tokens, w.n_items(), n_out);
    let n_tasks = n_tokens.div_ceil(TASK_TOKENS);
    let y = DisjointMut::new(y);
    workers.for_each(n_tasks * w.n_items(), &|task, scratch| {
        let (item, task) = (task / n_tasks, task % n_tasks);
        let matrix = w.item(item);
        let end = n_tokens.min((task + 1) * TASK_TOKENS);
        for_tiles(0..n_rows, |rows| {
            let tile = dequantized_tile(&matrix, rows.clone(), scratch);
            for t in task * TASK_TOKENS..end {
                let p = &x[x_at.row(t, item) + rows.start..][..rows.len()];
                // SAFETY: a (token, item) belongs to one task, and `y_at` keeps items and tokens
                // apart (asserted above).
                let out = unsafe { y.range(y_at.row(t, item), n_out) };
                if rows.start == 0 {
                    out.fill(0.0);
                }
                accumulate_rows(&[p], tile, n_out, out, n_out);
            }
        });
    });
}

/// Rows as floats: where they are if they are floats, else decoded into the head of the scratch
/// memory.
pub(crate) fn dequantized_tile<'a>(
    matrix: &Matrix<'a>,
    rows: Range<usize>,
    scratch: &'a mut [f32],
) -> Panel<'a> {
    let n_rows = rows.len();
    let values = matrix.floats(rows.clone()).unwrap_or_else(|| {
        let values = &mut scratch[..n_rows * matrix.n_in()];
        matrix.dequantize_rows(rows, values);
        values
    });
    Panel {
        values,
        n_rows,
        stride: matrix.n_in(),
    }
}

/// Calls `body` with consecutive ranges of up to [`TILE_ROWS`].
pub(crate) fn for_tiles(rows: Range<usize>, mut body: impl FnMut(Range<usize>)) {
    for start in rows.clone().step_by(TILE_ROWS) {
        body(start..rows.end.min(start + TILE_ROWS));
    }
}

/// Rows of a task, when a row costs `row_macs`: whole tiles, unless a few rows are work enough.
pub(crate) fn task_rows(row_macs: usize, n_rows: usize) -> usize {
    let rows = TASK_MACS.div_ceil(row_macs.max(1));
    let granule = if rows < TILE_ROWS { 4 } else { TILE_ROWS };
    rows.next_multiple_of(granule).min(n_rows).max(1)
}

#[cfg(test)]
mod tests;
