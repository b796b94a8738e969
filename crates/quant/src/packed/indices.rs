//! How indices that stand for four or eight columns each are stored.

use super::codes::VECTOR;
use super::{CHUNK_LEN, GROUP_ROWS};
use crate::super_block::SUPER_BLOCK;

/// Columns that have a byte of marks.
const MARKED: usize = 8;
/// Bytes of marks of a row in 32 columns.
const MARKS: usize = CHUNK_LEN / MARKED;

/// What is stored beside the indices of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Nothing.
    None,
    /// A bit for each column: its value is negated.
    Signs,
    /// A bit for each point of eight columns: this is added to its values.
    Shifts(i8),
    /// A bit for each 32 columns: this is added to their indices.
    Offset(u32),
}

/// Indices of some columns each.
///
/// With n points for 32 columns of a row: n / 4 vectors with the low bytes of indices, byte
/// `4r + p` of vector v being that of point `4v + p` of row r; for each of these vectors a u64 for
/// every higher bit of its indices, bit `4r + p`; then the marks. [`Marks::Signs`] are a u64 for
/// each quad, bit `4r + c`; [`Marks::Shifts`] a u16 for each point, bit r; [`Marks::Offset`] is
/// one u16, bit r.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indices {
    /// Columns of a point: 4 or 8.
    pub width: usize,
    /// Bits of an index above the lowest eight.
    pub high_bits: usize,
    /// What else there is.
    pub marks: Marks,
}

// In `Parts`, the codes of a chunk are the low bytes of its indices, as many bytes with their
// high bits, and a byte of marks for every eight columns.
impl Indices {
    /// Points of a row in 32 columns.
    const fn n_points(&self) -> usize {
        CHUNK_LEN / self.width
    }

    /// Bytes of a row in 32 columns, in `Parts`.
    pub(super) const fn per_chunk(&self) -> usize {
        2 * self.n_points() + MARKS
    }

    /// Offset of the high bits of indices in a chunk.
    pub const fn high_offset(&self) -> usize {
        VECTOR * self.n_points() / 4
    }

    /// Offset of the marks in a chunk.
    pub const fn marks_offset(&self) -> usize {
        self.high_offset() + VECTOR / 8 * self.high_bits * self.n_points() / 4
    }

    /// Bytes of a chunk.
    pub const fn chunk_bytes(&self) -> usize {
        self.marks_offset()
            + match self.marks {
                Marks::None => 0,
                Marks::Signs => GROUP_ROWS * CHUNK_LEN / 8,
                Marks::Shifts(_) => GROUP_ROWS * MARKS / 8,
                Marks::Offset(_) => GROUP_ROWS / 8,
            }
    }

    /// See `Codes::for_bits`; `start` is the place of the chunk.
    #[inline(always)]
    pub(super) fn for_bits(
        &self,
        start: usize,
        r: usize,
        mut body: impl FnMut(usize, u8, u32, u32, usize),
    ) {
        let n = self.n_points();
        for p in 0..n {
            let (vector, at) = (p / 4, 4 * r + p % 4);
            body(p, 255, 0, 0, start + VECTOR * vector + at);
            for k in 0..self.high_bits {
                let mask = start + self.high_offset() + 8 * (vector * self.high_bits + k);
                body(n + p, 1, k as u32, at as u32 % 8, mask + at / 8);
            }
        }
        let start = start + self.marks_offset();
        for g in 0..MARKS {
            match self.marks {
                Marks::None => {}
                Marks::Signs => {
                    for half in 0..2 {
                        let mask = start + 8 * (2 * g + half);
                        body(
                            2 * n + g,
                            15,
                            4 * half as u32,
                            4 * (r as u32 % 2),
                            mask + r / 2,
                        );
                    }
                }
                Marks::Shifts(_) => body(2 * n + g, 1, 0, r as u32 % 8, start + 2 * g + r / 8),
                Marks::Offset(_) if g > 0 => {}
                Marks::Offset(_) => body(2 * n, 1, 0, r as u32 % 8, start + r / 8),
            }
        }
    }

    /// The place of the low byte of point `p` of a block, and that of its high bits.
    #[inline]
    fn places(&self, p: usize) -> [usize; 2] {
        let n = self.n_points();
        let low = p / n * self.per_chunk() + p % n;
        [low, low + n]
    }

    /// The place of the marks of the eight columns `g` of a block.
    #[inline]
    fn place_of_marks(&self, g: usize) -> usize {
        g / MARKS * self.per_chunk() + 2 * self.n_points() + g % MARKS
    }

    /// The index of point `p` of a block.
    #[inline]
    pub(crate) fn index(&self, codes: &[u8; SUPER_BLOCK], p: usize) -> u16 {
        u16::from_le_bytes(self.places(p).map(|at| codes[at]))
    }

    #[inline]
    pub(crate) fn set_index(&self, codes: &mut [u8; SUPER_BLOCK], p: usize, index: u16) {
        for (at, byte) in self.places(p).into_iter().zip(index.to_le_bytes()) {
            codes[at] = byte;
        }
    }

    /// The marks of the eight columns `g` of a block.
    #[inline]
    pub(crate) fn marks(&self, codes: &[u8; SUPER_BLOCK], g: usize) -> u8 {
        codes[self.place_of_marks(g)]
    }

    #[inline]
    pub(crate) fn set_marks(&self, codes: &mut [u8; SUPER_BLOCK], g: usize, marks: u8) {
        codes[self.place_of_marks(g)] = marks;
    }

    /// Makes of the values of all columns of a block what their marks say.
    #[inline(always)]
    pub(super) fn mark_all(&self, codes: &[u8; SUPER_BLOCK], values: &mut [i8; SUPER_BLOCK]) {
        for (g, values) in values.as_chunks_mut::<MARKED>().0.iter_mut().enumerate() {
            let marks = self.marks(codes, g);
            match self.marks {
                Marks::Signs => {
                    for (i, value) in values.iter_mut().enumerate() {
                        let sign = -((marks >> i & 1) as i8);
                        *value = (*value ^ sign).wrapping_sub(sign);
                    }
                }
                Marks::Shifts(by) => {
                    let by = if marks & 1 == 1 { by } else { 0 };
                    values.iter_mut().for_each(|value| *value += by);
                }
                Marks::None | Marks::Offset(_) => {}
            }
        }
    }
}
