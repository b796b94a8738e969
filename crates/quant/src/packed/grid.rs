//! Types whose codes are points of a grid: four or eight columns by one index.

use super::{Indices, Marks};
use crate::grids::{
    IQ1_S_WORDS, IQ2_S_WORDS, IQ2_XS_WORDS, IQ2_XXS_WORDS, IQ3_S_WORDS, IQ3_XXS_WORDS,
};
use crate::super_block::SUPER_BLOCK;

/// The points that indices select.
///
/// The code of a column of a point has two bits where points have eight columns and three where
/// they have four. All codes of a point, first column lowest, are a word of 16 or 12 bits.
///
/// Indices are those of the file rotated left by eight of their bits, in all tables here and in
/// packed weights: the lowest eight bits are the upper ones of the index in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Grid {
    /// Where indices are.
    pub indices: Indices,
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
            indices: Indices {
                width: $width,
                high_bits: $words.len().ilog2() as usize - 8,
                marks: $marks,
            },
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
#[inline]
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

impl Grid {
    /// Bits of an index.
    const fn bits(&self) -> u32 {
        8 + self.indices.high_bits as u32
    }

    /// The index in the file of point `p` of a block.
    pub(crate) fn index(&self, codes: &[u8; SUPER_BLOCK], p: usize) -> u16 {
        let index = self.indices.index(codes, p);
        rotate(index, self.bits(), self.bits() - 8)
    }

    #[inline]
    pub(crate) fn set_index(&self, codes: &mut [u8; SUPER_BLOCK], p: usize, index: u16) {
        let index = rotate(index, self.bits(), 8);
        self.indices.set_index(codes, p, index);
    }

    /// The values of all columns of a block.
    #[inline(always)]
    pub(super) fn values(
        &self,
        values: &[i8],
        codes: &[u8; SUPER_BLOCK],
        out: &mut [i8; SUPER_BLOCK],
    ) {
        let width = self.indices.width;
        for (p, out) in out.chunks_exact_mut(width).enumerate() {
            let index = usize::from(self.indices.index(codes, p));
            let point = &self.codes[index * width..][..width];
            for (out, code) in out.iter_mut().zip(point) {
                *out = values[usize::from(*code)];
            }
        }
        self.indices.mark_all(codes, out);
    }
}
