//! `y = W·x` with quantised rows and f32 activations.
//!
//! Packed rows go to `packed/product.rs`; this is for rows in the order of the file.
//! A task takes some rows of one matrix. Rows of floats of 16 or 32 bits meet the rows of few tokens
//! as they are, and are decoded a span at a time for those of many. Of other types a tile of rows is
//! dequantised into the scratch memory of the worker and dotted with the rows of all tokens, four at a
//! time: prefill pays for decoding a row once a batch.

use std::ops::Range;

use perigee_topology::DisjointMut;

use crate::packed::{product, product_all};
use crate::simd::{
    BLOCK, Columns, FloatRows, MANY_ROWS, Panel, WORTH_MANY, accumulate_rows, dot_float_rows,
    dot_many, dot_rows,
};
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
    let task_rows = task_rows(workers, n_in, n_tokens, (w.n_items(), n_rows));
    let n_tasks = n_rows.div_ceil(task_rows);
    let y = DisjointMut::new(y);
    workers.for_each(n_tasks * w.n_items(), &|task, scratch| {
        let (item, task) = (task / n_tasks, task % n_tasks);
        let rows = task * task_rows..n_rows.min((task + 1) * task_rows);
        let row = |t| &x[x_at.row(t, item)..][..n_in];
        for_dots(
            &w.item(item),
            rows,
            (n_tokens, &row),
            scratch,
            &mut |rows, t, sums| {
                for (t, sums) in (t..).zip(sums.chunks_exact(rows.len())) {
                    let start = y_at.row(t, item) + rows.start;
                    // SAFETY: a (token, item, row) belongs to one task, and `y_at` keeps items and
                    // tokens apart (asserted above).
                    unsafe { y.range(start, rows.len()) }.copy_from_slice(sums);
                }
            },
        );
    });
}

/// Some rows of a matrix.
enum Tile<'a> {
    AsTheyAre(FloatRows<'a>),
    Decoded(Panel<'a>),
}

/// Takes dots: see [`for_dots`].
type Body<'a> = &'a mut dyn FnMut(Range<usize>, usize, &[f32]);

/// Calls `body(rows, t, sums)` with the dots `sums: [.., rows]` of some of the rows and the rows of
/// activations `x` from `t` on, for all of both.
pub(crate) fn for_dots(
    matrix: &Matrix<'_>,
    rows: Range<usize>,
    (n, x): Columns<'_, '_>,
    scratch: &mut [f32],
    body: Body<'_>,
) {
    let mut rest = rows;
    while n >= WORTH_MANY && !rest.is_empty() {
        let these = rest.start..rest.end.min(rest.start + MANY_ROWS);
        let Some(w) = matrix.float_rows(these.clone()) else {
            break;
        };
        if !dot_many(w, (n, x), scratch, &mut |t, sums| {
            body(these.clone(), t, sums)
        }) {
            break;
        }
        rest.start = these.end;
    }
    for_tiles(rest, |these| {
        let tile = match matrix.float_rows(these.clone()) {
            Some(w) => Tile::AsTheyAre(w),
            None => Tile::Decoded(dequantized_tile(matrix, these.clone(), scratch)),
        };
        for t in (0..n).step_by(BLOCK) {
            let n = BLOCK.min(n - t);
            let mut block = [[].as_slice(); BLOCK];
            for (j, row) in block[..n].iter_mut().enumerate() {
                *row = x(t + j);
            }
            let mut sums = [0.0; BLOCK * TILE_ROWS];
            let sums = &mut sums[..n * these.len()];
            match tile {
                Tile::AsTheyAre(w) => dot_float_rows(w, &block[..n], sums),
                Tile::Decoded(tile) => dot_rows(tile, &block[..n], sums),
            }
            body(these.clone(), t, sums);
        }
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
fn dequantized_tile<'a>(
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
fn for_tiles(rows: Range<usize>, mut body: impl FnMut(Range<usize>)) {
    for start in rows.clone().step_by(TILE_ROWS) {
        body(start..rows.end.min(start + TILE_ROWS));
    }
}

/// Rows of a task of a loop over `n_items` matrices of `n_rows` each, whose rows of `n_in` meet those of
/// `n_tokens`: with few tokens whole tiles, unless a few rows are work enough; with many as many as
/// these meet at once, unless threads would go without.
pub(crate) fn task_rows(
    workers: &Workers,
    n_in: usize,
    n_tokens: usize,
    (n_items, n_rows): (usize, usize),
) -> usize {
    /// Fewer rows than that are multiplied no faster.
    const LEAST: usize = 4;
    let rows = TASK_MACS.div_ceil((n_in * n_tokens).max(1));
    let mut granule = match n_tokens {
        WORTH_MANY.. => MANY_ROWS,
        _ if rows < TILE_ROWS => LEAST,
        _ => TILE_ROWS,
    };
    while granule > LEAST && n_items * n_rows.div_ceil(granule) < 2 * workers.n_threads() {
        granule /= 2;
    }
    rows.next_multiple_of(granule).min(n_rows).max(1)
}

#[cfg(test)]
mod tests;
