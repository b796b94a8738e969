//! Views of quantised weights in file order.

use std::ops::Range;

use perigee_quant::QuantKind;

/// `n_rows` rows of `n_in` weights, one after another.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    kind: QuantKind,
    n_in: usize,
    n_rows: usize,
    row_bytes: usize,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// When `bytes` is not exactly `n_rows` rows of `n_in` weights of that kind.
    pub fn new(kind: QuantKind, n_in: usize, n_rows: usize, bytes: &'a [u8]) -> Self {
        let stack = Stack::new(kind, n_in, n_rows, 1, bytes);
        stack.item(0)
    }

    /// Weights in a row: inputs of the matrix.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Rows: outputs of the matrix.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Decodes row `row` into `out: [n_in]`.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.n_in);
        let start = row * self.row_bytes;
        self.kind
            .dequantize_row(&self.bytes[start..start + self.row_bytes], out);
    }

    /// Decodes the rows of a range into `out: [rows.len(), n_in]`.
    pub(crate) fn dequantize_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        for (row, out) in rows.zip(out.chunks_exact_mut(self.n_in)) {
            self.dequantize_row(row, out);
        }
    }
}

/// Equal matrices at a constant distance in one tensor: heads, experts.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    kind: QuantKind,
    n_in: usize,
    n_items: usize,
    row_bytes: usize,
    /// Rows from the start of an item to the start of the next.
    stride_rows: usize,
    /// The rows of each item that belong to the view.
    rows: (usize, usize),
    bytes: &'a [u8],
}

impl<'a> Stack<'a> {
    /// `n_items` matrices of `n_rows` rows each, without gaps.
    ///
    /// # Panics
    /// When `bytes` has another size than that.
    pub fn new(
        kind: QuantKind,
        n_in: usize,
        n_rows: usize,
        n_items: usize,
        bytes: &'a [u8],
    ) -> Self {
        let row_bytes = kind.row_bytes(n_in);
        let size = row_bytes
            .and_then(|row| row.checked_mul(n_rows))
            .and_then(|item| item.checked_mul(n_items));
        assert_eq!(
            size,
            Some(bytes.len()),
            "{n_items} x [{n_in}, {n_rows}] of {}",
            kind.name()
        );
        Self {
            kind,
            n_in,
            n_items,
            row_bytes: row_bytes.expect("the size was computed from it"),
            stride_rows: n_rows,
            rows: (0, n_rows),
            bytes,
        }
    }

    /// The same items, narrowed to some of the rows of each: the gate half of merged experts,
    /// the key rows of each head.
    ///
    /// # Panics
    /// When an item has fewer rows.
    pub fn narrow(self, rows: Range<usize>) -> Self {
        let (start, end) = (self.rows.0 + rows.start, self.rows.0 + rows.end);
        assert!(
            start <= end && end <= self.rows.1,
            "rows {rows:?} of {self:?}"
        );
        Self {
            rows: (start, end),
            ..self
        }
    }

    /// Matrices in the stack.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Weights in a row.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Rows of each matrix.
    pub fn n_rows(&self) -> usize {
        self.rows.1 - self.rows.0
    }

    /// One matrix.
    pub fn item(&self, item: usize) -> Matrix<'a> {
        assert!(item < self.n_items, "item {item} of {}", self.n_items);
        let first = item * self.stride_rows;
        let bytes = (first + self.rows.0) * self.row_bytes..(first + self.rows.1) * self.row_bytes;
        Matrix {
            kind: self.kind,
            n_in: self.n_in,
            n_rows: self.n_rows(),
            row_bytes: self.row_bytes,
            bytes: &self.bytes[bytes],
        }
    }
}

impl<'a> From<Matrix<'a>> for Stack<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self {
            kind: matrix.kind,
            n_in: matrix.n_in,
            n_items: 1,
            row_bytes: matrix.row_bytes,
            stride_rows: matrix.n_rows,
            rows: (0, matrix.n_rows),
            bytes: matrix.bytes,
        }
    }
}
