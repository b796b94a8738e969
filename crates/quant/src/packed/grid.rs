//! Types whose codes are points of a grid: four or eight columns by one index.

use super::codes::VECTOR;
use super::{CHUNK_LEN, GROUP_ROWS};
use crate::grids::{
    IQ1_S_WORDS, IQ2_S_WORDS, IQ2_XS_WORDS, IQ2_XXS_WORDS, IQ3_S_WORDS, IQ3_XXS_WORDS,
};
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
}

/// The points that indices select, and how a type stores the indices; see
/// [`Codes::Grid`](super::Codes::Grid).
///
/// The code of a column of a point has two bits where points have eight columns and three where
/// they have four. All codes of a point, first column lowest, are a word of 16 or 12 bits.
///
/// Indices are those of the file rotated left by eight of their bits, in all tables here and in
/// packed weights: the lowest eight bits are the upper ones of the index in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Grid {
    /// Columns of a point: 4 or 8.
    pub width: usize,
    /// Bits of an index above the lowest eight.
    pub high_bits: usize,
    /// What else there is.
    pub marks: Marks,
    /// The codes of all points, a byte for each column.
    pub codes: &'static [u8],
    /// The low bytes of all words, and the high ones.
    pub bytes: [&'static [u8]; 2],
    /// Smaller tables of the high bytes, for the largest grid.
    pub steps: Option<&'static Steps>,
}

/// High bytes of words. Points whose indices have the same lowest eight bits are neighbours in
/// the ascending list of words: their high bytes are one number, or one and the next.
#[derive(Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Steps {
    /// For the lowest eight bits of an index the place in `bytes` of the first number.
    pub first: [u8; 256],
    /// For the same bits the first value of the others from which it is the second number; more
    /// than any where there is no second.
    pub at: [u8; 256],
    /// All numbers, ascending.
    pub bytes: [u8; 128],
}

/// Tables that begin where a line of memory does.
#[repr(align(64))]
struct Aligned<const N: usize>([u8; N]);

/// The grid of a list of words.
macro_rules! grid {
    ($words:ident, $width:literal, $marks:expr, $steps:expr) => {
        Grid {
            width: $width,
            high_bits: $words.len().ilog2() as usize - 8,
            marks: $marks,
            codes: const {
                let words = rotated(&$words);
                &Aligned(codes::<{ $words.len() }, { $width * $words.len() }>(&words)).0
            },
            bytes: const {
                let words = rotated(&$words);
                [&Aligned(bytes(&words, 0)).0, &Aligned(bytes(&words, 8)).0]
            },
            steps: $steps,
        }
    };
}

pub(crate) const IQ2_XXS: Grid = grid!(IQ2_XXS_WORDS, 8, Marks::Signs, None);
pub(crate) const IQ2_XS: Grid = grid!(IQ2_XS_WORDS, 8, Marks::Signs, None);
pub(crate) const IQ2_S: Grid = grid!(IQ2_S_WORDS, 8, Marks::Signs, None);
pub(crate) const IQ3_XXS: Grid = grid!(IQ3_XXS_WORDS, 4, Marks::Signs, None);
pub(crate) const IQ3_S: Grid = grid!(IQ3_S_WORDS, 4, Marks::Signs, None);
pub(crate) const IQ1_S: Grid = grid!(IQ1_S_WORDS, 8, Marks::None, Some(&IQ1_STEPS));
pub(crate) const IQ1_M: Grid = grid!(IQ1_S_WORDS, 8, Marks::Shifts(-2), Some(&IQ1_STEPS));

const IQ1_STEPS: Steps = steps(&IQ1_S_WORDS);

/// Words in the order of rotated indices, see [`rotate`].
const fn rotated<const N: usize>(words: &[u16; N]) -> [u16; N] {
    let mut rotated = [0; N];
    let mut i = 0;
    while i < N {
        rotated[rotate(i as u16, N.ilog2(), 8) as usize] = words[i];
        i += 1;
    }
    rotated
}

/// An index of `bits` bits, rotated left by `by`. Indices of files are rotated by eight: the
/// lowest bits become the highest.
const fn rotate(index: u16, bits: u32, by: u32) -> u16 {
    (index << by | index >> (bits - by)) & ((1 << bits) - 1)
}

/// The bytes of words from bit `shift` on.
const fn bytes<const N: usize>(words: &[u16; N], shift: u32) -> [u8; N] {
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = (words[i] >> shift) as u8;
        i += 1;
    }
    bytes
}

/// The fields of words, `N_CODES / N` of each.
const fn codes<const N: usize, const N_CODES: usize>(words: &[u16; N]) -> [u8; N_CODES] {
    let width = N_CODES / N;
    let bits = if width == 8 { 2 } else { 3 };
    let mut codes = [0; N_CODES];
    let mut i = 0;
    while i < N_CODES {
        codes[i] = (words[i / width] as usize >> (bits * (i % width)) & ((1 << bits) - 1)) as u8;
        i += 1;
    }
    codes
}

const fn steps<const N: usize>(words: &[u16; N]) -> Steps {
    let mut steps = Steps {
        first: [0; 256],
        at: [u8::MAX; 256],
        bytes: [0; 128],
    };
    let (per_byte, mut n, mut i) = (N / 256, 0, 0);
    while i < N {
        let byte = (words[i] >> 8) as u8;
        let (low, other) = (i / per_byte, i % per_byte);
        if i == 0 || byte != steps.bytes[n] {
            assert!(i == 0 || byte > steps.bytes[n], "words ascend");
            if i > 0 {
                n += 1;
            }
            steps.bytes[n] = byte;
            if other > 0 {
                assert!(steps.at[low] == u8::MAX, "two numbers at most");
                steps.at[low] = other as u8;
            }
        }
        if other == 0 {
            steps.first[low] = n as u8;
        }
        i += 1;
    }
    steps
}

// In `Parts`, the codes of a chunk are the low bytes of its indices, as many bytes with their
// high bits, and a byte of marks for every eight columns.
impl Grid {
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
            }
        }
    }

    /// The place of the low byte of point `p` of a block, and that of its high bits.
    fn places(&self, p: usize) -> [usize; 2] {
        let n = self.n_points();
        let low = p / n * self.per_chunk() + p % n;
        [low, low + n]
    }

    /// The place of the marks of the eight columns `g` of a block.
    fn place_of_marks(&self, g: usize) -> usize {
        g / MARKS * self.per_chunk() + 2 * self.n_points() + g % MARKS
    }

    /// Bits of an index.
    const fn bits(&self) -> u32 {
        8 + self.high_bits as u32
    }

    /// The index in the file of point `p` of a block.
    pub(crate) fn index(&self, codes: &[u8; SUPER_BLOCK], p: usize) -> u16 {
        rotate(self.rotated_index(codes, p), self.bits(), self.bits() - 8)
    }

    fn rotated_index(&self, codes: &[u8; SUPER_BLOCK], p: usize) -> u16 {
        u16::from_le_bytes(self.places(p).map(|at| codes[at]))
    }

    pub(crate) fn set_index(&self, codes: &mut [u8; SUPER_BLOCK], p: usize, index: u16) {
        let index = rotate(index, self.bits(), 8);
        for (at, byte) in self.places(p).into_iter().zip(index.to_le_bytes()) {
            codes[at] = byte;
        }
    }

    /// The marks of the eight columns `g` of a block.
    pub(crate) fn marks(&self, codes: &[u8; SUPER_BLOCK], g: usize) -> u8 {
        codes[self.place_of_marks(g)]
    }

    pub(crate) fn set_marks(&self, codes: &mut [u8; SUPER_BLOCK], g: usize, marks: u8) {
        codes[self.place_of_marks(g)] = marks;
    }

    /// The value of a column of a block.
    pub(super) fn value(&self, values: &[i8], codes: &[u8; SUPER_BLOCK], column: usize) -> i32 {
        let index = usize::from(self.rotated_index(codes, column / self.width));
        let code = self.codes[index * self.width + column % self.width];
        let value = i32::from(values[usize::from(code)]);
        let marks = self.marks(codes, column / MARKED);
        match self.marks {
            Marks::Signs if marks >> (column % MARKED) & 1 == 1 => -value,
            Marks::Shifts(by) if marks & 1 == 1 => value + i32::from(by),
            _ => value,
        }
    }
}
