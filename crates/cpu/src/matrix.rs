//! Views of quantised weights, in the order of the file or packed.

use std::ops::Range;

use perigee_quant::QuantKind;
use perigee_quant::packed::{GROUP_ROWS, Layout};

use crate::simd::{FloatRows, Isa, decode_row};

/// How rows lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As in the file: one after another.
    File,
    /// In groups of 16, in the layout of the type.
    Packed,
}

impl Order {
    /// Rows that cannot be told apart without decoding.
    fn unit_rows(self) -> usize {
        match self {
            Self::File => 1,
            Self::Packed => GROUP_ROWS,
        }
    }
}

/// The numbers that quantised weights are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// Floats as they are; weights are decoded.
    F32,
    /// Integers of 8 bits with a scale per block, see [`perigee_quant::packed`].
    Int8,
}

/// `n_rows` rows of `n_in` weights.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    kind: QuantKind,
    order: Order,
    activations: Activations,
    n_in: usize,
    n_rows: usize,
    /// Bytes of a row, or of a group of packed rows.
    unit_bytes: usize,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// Rows in the order of the file, which meet floats.
    ///
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

    /// Groups of 16 rows.
    pub(crate) fn n_groups(&self) -> usize {
        self.n_rows / GROUP_ROWS
    }

    /// See [`Stack::layout`].
    pub(crate) fn layout(&self) -> Option<&'static Layout> {
        Stack::from(*self).layout()
    }

    /// A group of 16 rows in either order.
    pub(crate) fn group(&self, group: usize) -> &'a [u8] {
        let n_bytes = GROUP_ROWS / self.order.unit_rows() * self.unit_bytes;
        &self.bytes[group * n_bytes..][..n_bytes]
    }

    /// Floats that are room for a packed group.
    ///
    /// # Panics
    /// When the type has no layout.
    pub(crate) fn packed_group_len(&self) -> usize {
        let layout = self.kind.layout().expect("asked for by the caller");
        let n_bytes = layout.group_bytes(self.n_in).expect("whole blocks");
        n_bytes.div_ceil(size_of::<f32>())
    }

    /// Packs a group of rows in the order of the file into memory of
    /// [`packed_group_len`](Self::packed_group_len).
    ///
    /// # Panics
    /// When the type has no layout, or the memory is shorter.
    pub(crate) fn pack_group(&self, group: usize, packed: &mut [f32]) {
        let layout = self.kind.layout().expect("asked for by the caller");
        let n_bytes = layout.group_bytes(self.n_in).expect("whole blocks");
        // SAFETY: any bits are bytes and any bytes are floats, and bytes need no alignment.
        let (_, bytes, _) = unsafe { packed.align_to_mut() };
        layout.pack(self.kind, self.group(group), &mut bytes[..n_bytes]);
    }

    /// Decodes a row in the order of the file into `out: [n_in]`.
    ///
    /// # Panics
    /// When the weights are packed, or `out` has another length.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(self.order, Order::File, "a packed row");
        assert_eq!(out.len(), self.n_in);
        let start = row * self.unit_bytes;
        let bytes = &self.bytes[start..start + self.unit_bytes];
        decode_row(Isa::best(), self.kind, bytes, out);
    }

    /// The rows of a range, if they are floats as this machine has them, in the order of the
    /// file.
    pub(crate) fn floats(&self, rows: Range<usize>) -> Option<&'a [f32]> {
        let is_native = cfg!(target_endian = "little") && self.kind == QuantKind::F32;
        if !is_native || self.order != Order::File {
            return None;
        }
        let bytes = &self.bytes[rows.start * self.unit_bytes..rows.end * self.unit_bytes];
        // SAFETY: any four bytes are a float.
        let (before, floats, after) = unsafe { bytes.align_to() };
        (before.is_empty() && after.is_empty()).then_some(floats)
    }

    /// The rows of a range in the order of the file, of types whose rows meet floats as they are.
    pub(crate) fn float_rows(&self, rows: Range<usize>) -> Option<FloatRows<'a>> {
        if self.order != Order::File {
            return None;
        }
        let bytes = &self.bytes[rows.start * self.unit_bytes..rows.end * self.unit_bytes];
        FloatRows::new(self.kind, self.n_in, bytes)
    }

    /// Decodes the rows of a range into `out: [rows.len(), n_in]`; of packed weights whole
    /// groups only.
    pub(crate) fn dequantize_rows(&self, rows: Range<usize>, out: &mut [f32]) {
        match self.order {
            Order::File => {
                for (row, out) in rows.zip(out.chunks_exact_mut(self.n_in)) {
                    self.dequantize_row(row, out);
                }
            }
            Order::Packed => {
                let layout = self.kind.layout().expect("packed weights have one");
                let groups = rows.start / GROUP_ROWS..rows.end / GROUP_ROWS;
                assert_eq!(groups.len() * GROUP_ROWS, rows.len(), "rows {rows:?}");
                for (group, out) in groups.zip(out.chunks_exact_mut(GROUP_ROWS * self.n_in)) {
                    layout.dequantize(self.kind, self.group(group), self.n_in, out);
                }
            }
        }
    }
}

/// Equal matrices at a constant distance in one tensor: heads, experts.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    kind: QuantKind,
    order: Order,
    activations: Activations,
    n_in: usize,
    n_items: usize,
    /// Bytes of a row, or of a group of packed rows.
    unit_bytes: usize,
    /// Rows from the start of an item to the start of the next.
    stride_rows: usize,
    /// The rows of each item that belong to the view.
    rows: (usize, usize),
    bytes: &'a [u8],
}

impl<'a> Stack<'a> {
    /// `n_items` matrices of `n_rows` rows each in the order of the file, without gaps, which meet
    /// floats.
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
        Self::in_order(kind, Order::File, (n_in, n_rows, n_items), bytes)
    }

    /// The same with packed rows, which meet integers; `None` for a type without a layout, or a number of rows that
    /// is no multiple of 16.
    ///
    /// # Panics
    /// When `bytes` has another size than [`packed_bytes`](Self::packed_bytes).
    pub fn packed(
        kind: QuantKind,
        n_in: usize,
        n_rows: usize,
        n_items: usize,
        bytes: &'a [u8],
    ) -> Option<Self> {
        Self::packed_bytes(kind, n_in, n_rows, n_items)?;
        let shape = (n_in, n_rows, n_items);
        let stack = Self::in_order(kind, Order::Packed, shape, bytes);
        Some(stack.meeting(Activations::Int8))
    }

    /// The same weights with other activations. Types without a layout, and matrices that are no
    /// whole groups of 16 rows, go on to meet floats.
    pub fn meeting(self, activations: Activations) -> Self {
        Self {
            activations,
            ..self
        }
    }

    /// Bytes of `n_items` packed matrices; `None` where they cannot be packed.
    pub fn packed_bytes(
        kind: QuantKind,
        n_in: usize,
        n_rows: usize,
        n_items: usize,
    ) -> Option<usize> {
        if !n_rows.is_multiple_of(GROUP_ROWS) {
            return None;
        }
        let group_bytes = kind.layout()?.group_bytes(n_in)?;
        (n_rows / GROUP_ROWS)
            .checked_mul(n_items)?
            .checked_mul(group_bytes)
    }

    fn in_order(
        kind: QuantKind,
        order: Order,
        (n_in, n_rows, n_items): (usize, usize, usize),
        bytes: &'a [u8],
    ) -> Self {
        let unit_bytes = match order {
            Order::File => kind.row_bytes(n_in),
            Order::Packed => kind.layout().and_then(|layout| layout.group_bytes(n_in)),
        };
        let n_units = (n_rows / order.unit_rows()).checked_mul(n_items);
        let size = unit_bytes.and_then(|unit| unit.checked_mul(n_units?));
        assert_eq!(
            size,
            Some(bytes.len()),
            "{n_items} x [{n_in}, {n_rows}] of {}",
            kind.name()
        );
        Self {
            kind,
            order,
            activations: Activations::F32,
            n_in,
            n_items,
            unit_bytes: unit_bytes.expect("the size was computed from it"),
            stride_rows: n_rows,
            rows: (0, n_rows),
            bytes,
        }
    }

    /// The same items, narrowed to some of the rows of each: the gate half of merged experts,
    /// the key rows of each head.
    ///
    /// # Panics
    /// When an item has fewer rows, or packed rows are cut within a group.
    pub fn narrow(self, rows: Range<usize>) -> Self {
        let (start, end) = (self.rows.0 + rows.start, self.rows.0 + rows.end);
        assert!(
            start <= end && end <= self.rows.1,
            "rows {rows:?} of {self:?}"
        );
        let unit = self.order.unit_rows();
        assert!(
            start.is_multiple_of(unit) && end.is_multiple_of(unit),
            "rows {rows:?} of {self:?}"
        );
        Self {
            rows: (start, end),
            ..self
        }
    }

    /// The type of the weights.
    pub(crate) fn kind(&self) -> QuantKind {
        self.kind
    }

    /// The order of the rows.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// The layout whose arithmetic weights have that meet integers.
    pub(crate) fn layout(&self) -> Option<&'static Layout> {
        let layout = self.kind.layout()?;
        let is_whole =
            self.n_rows().is_multiple_of(GROUP_ROWS) && self.n_in.is_multiple_of(layout.block_len);
        (self.activations == Activations::Int8 && is_whole).then_some(layout)
    }

    /// Groups of 16 rows of each matrix.
    pub(crate) fn n_groups(&self) -> usize {
        self.n_rows() / GROUP_ROWS
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
        let byte = |row| (first + row) / self.order.unit_rows() * self.unit_bytes;
        let bytes = byte(self.rows.0)..byte(self.rows.1);
        Matrix {
            kind: self.kind,
            order: self.order,
            activations: self.activations,
            n_in: self.n_in,
            n_rows: self.n_rows(),
            unit_bytes: self.unit_bytes,
            bytes: &self.bytes[bytes],
        }
    }
}

impl<'a> From<Matrix<'a>> for Stack<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self {
            kind: matrix.kind,
            order: matrix.order,
            activations: matrix.activations,
            n_in: matrix.n_in,
            n_items: 1,
            unit_bytes: matrix.unit_bytes,
            stride_rows: matrix.n_rows,
            rows: (0, matrix.n_rows),
            bytes: matrix.bytes,
        }
    }
}
