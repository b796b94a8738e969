//! Packed layouts: 16 rows interleaved, so that one 64-byte vector holds four columns of each.
//!
//! A matrix is cut into *groups* of 16 rows. Dword lane r of every vector belongs to row r of the
//! group and the four bytes of a lane to four consecutive columns (a *quad*): scales of rows are
//! vectors, a quad of activations is a broadcast, and nothing is summed across lanes. Packing
//! loses nothing: [`Layout::unpack`] gives back the bytes of the file.
//!
//! A group is the scales of its rows (types that have them), then its blocks. A block of 256
//! columns is, each part present only where the type has it, and 16 rows one after another:
//!
//! ```text
//! d[16] · dmin[16] · scales[n_sub][16] · mins[n_sub][16] · flags: u16[n_sub] · codes of 8 × 32 columns
//! ```
//!
//! and one of 32 columns is `d[16] · codes`. How codes lie in their vectors is [`Codes`].
//!
//! # The arithmetic
//! A weight is `d · ls · v` with a float `d` (that of the block or row times
//! [`Layout::factor`]), an integer scale `ls` of the sub-block (1 in blocks of 32) and an integer
//! value `v`; types with minima subtract `dmin · ml`. Activations are `da · a` with |a| ≤ 127
//! ([`Form`]). The dot product of a row is
//!
//! ```text
//! y ← fma(d·da, f32(Σ_sub ls · Σ v·a), y)          for each block from first to last
//! y ← fma(−(dmin·da), f32(Σ_sub ml · Σ a), y)      after that, where there are minima
//! ```
//!
//! from y = 0, with exact i32 sums: no type reaches 2³⁰ in a block. Thus the order within a
//! block is free, every instruction set gives the same bits, and a GPU can.

mod activation;
mod arithmetic;
mod codes;
pub(crate) mod grid;
mod indices;
mod planes;
pub mod trellis;

pub use activation::Form;
pub use arithmetic::dot_row;
pub use codes::Codes;
pub use grid::{Grid, Steps};
pub use indices::{Indices, Marks};
pub use planes::Plane;

use half::f16;

use crate::QuantKind;
use crate::formats::mxfp4::half_power;

/// Rows of a group.
pub const GROUP_ROWS: usize = 16;
/// Columns whose codes are stored together.
pub const CHUNK_LEN: usize = 32;
/// Columns of a block of the larger kind.
const SUPER_BLOCK: usize = crate::super_block::SUPER_BLOCK;

/// No block of a file with its row's scale is longer.
const MAX_BLOCK_ROW: usize = 256;

/// The float scale of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// f16 per block.
    F16,
    /// Exponent byte per block: 2^(e − 128).
    Exponent,
    /// f16 per row.
    RowF16,
    /// f32 per row.
    RowF32,
}

/// How the integer scales of sub-blocks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubScales {
    /// No sub-blocks: a block of 32.
    None,
    /// An i8 each.
    Bytes,
    /// `(ls − first) / step` in a nibble, two sub-blocks a byte.
    Nibbles {
        /// The scale of nibble 0.
        first: i8,
        /// The distance of neighbours, 1 or 2.
        step: i8,
    },
    /// A nibble that selects one of these, two sub-blocks a byte.
    Table(&'static [i8; 16]),
    /// An unsigned byte each for scale and minimum; a second f16 for minima per block.
    WithMins,
    /// As before, scale in the low and minimum in the high nibble of one byte.
    NibblesWithMins,
}

/// What a type's packed form is made of.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bits of a code and their places.
    pub codes: Codes,
    /// The value of each code, `2^bits` of them, when its sub-block is not shifted; for
    /// [`Codes::Pairs`] 32 values of even columns, then 32 of odd ones; for [`Codes::Grid`] those
    /// of the codes of columns; for [`Codes::Trellis`] none.
    pub values: &'static [i8],
    /// Added to the values of sub-blocks whose flag is set; 0: the type has no flags.
    pub shift: i8,
    /// Makes every value a small unsigned number for instructions that want one.
    pub bias: i32,
    /// Columns of a block: 32 or 256.
    pub block_len: usize,
    /// Columns of a sub-block: 16 or 32.
    pub sub_len: usize,
    /// Float scales.
    pub scale: Scale,
    /// What each float scale is multiplied by before it is used, a power of two.
    pub factor: f32,
    /// Integer scales.
    pub sub_scales: SubScales,
    /// Where the bits of codes are in a block of the file; empty where
    /// [`take_head`](Self::take_head) sees to the codes.
    pub planes: &'static [Plane],
    /// Takes the rest of a block of the file apart. Codes are zeros before.
    pub(crate) head: fn(&[u8], &mut Parts),
    /// Puts it back.
    pub(crate) set_head: fn(&Parts, &mut [u8]),
}

/// One block of one row, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Bits of the block's scale, for types that have one per block.
    pub d: u32,
    /// Bits of the f16 scale of minima.
    pub dmin: u16,
    /// Integer scales of the sub-blocks.
    pub scales: [i8; 16],
    /// Integer minima of the sub-blocks.
    pub mins: [u8; 16],
    /// Bit k: the values of sub-block k are shifted.
    pub flags: u16,
    /// Per column, or per pair of columns in the first half.
    pub codes: [u8; SUPER_BLOCK],
}

impl Parts {
    /// To be filled by [`Layout::take_head`].
    pub const EMPTY: Self = Self {
        d: 0,
        dmin: 0,
        scales: [0; 16],
        mins: [0; 16],
        flags: 0,
        codes: [0; SUPER_BLOCK],
    };
}

impl Layout {
    /// Sub-blocks of a block.
    #[inline]
    pub const fn n_sub(&self) -> usize {
        match self.sub_scales {
            SubScales::None => 0,
            _ => self.block_len / self.sub_len,
        }
    }

    /// Bytes at the start of a group.
    #[inline]
    pub const fn group_meta_bytes(&self) -> usize {
        match self.scale {
            Scale::F16 | Scale::Exponent => 0,
            Scale::RowF16 => 2 * GROUP_ROWS,
            Scale::RowF32 => 4 * GROUP_ROWS,
        }
    }

    /// Whether the type has minima.
    #[inline]
    pub const fn has_mins(&self) -> bool {
        matches!(
            self.sub_scales,
            SubScales::WithMins | SubScales::NibblesWithMins
        )
    }

    /// Offset of the scales of minima in a block.
    pub const fn dmin_offset(&self) -> usize {
        match self.scale {
            Scale::F16 => 2 * GROUP_ROWS,
            Scale::Exponent => GROUP_ROWS,
            Scale::RowF16 | Scale::RowF32 => 0,
        }
    }

    /// Offset of the integer scales in a block.
    pub const fn scales_offset(&self) -> usize {
        self.dmin_offset() + if self.has_mins() { 2 * GROUP_ROWS } else { 0 }
    }

    /// Offset of the minima in a block, where they have bytes of their own.
    pub const fn mins_offset(&self) -> usize {
        let scale_bytes = match self.sub_scales {
            SubScales::None => 0,
            SubScales::Nibbles { .. } | SubScales::Table(_) => self.n_sub() / 2,
            _ => self.n_sub(),
        };
        self.scales_offset() + scale_bytes * GROUP_ROWS
    }

    /// Offset of the flags in a block.
    pub const fn flags_offset(&self) -> usize {
        let min_bytes = match self.sub_scales {
            SubScales::WithMins => self.n_sub(),
            _ => 0,
        };
        self.mins_offset() + min_bytes * GROUP_ROWS
    }

    /// Offset of the codes in a block.
    pub const fn codes_offset(&self) -> usize {
        self.flags_offset() + if self.shift != 0 { 2 * self.n_sub() } else { 0 }
    }

    /// Bytes of a block of 16 rows.
    pub const fn block_bytes(&self) -> usize {
        self.codes_offset() + self.codes.bytes(self.block_len)
    }

    /// Bytes of a group of 16 rows of `n_in` columns; `None` when they are no whole number of
    /// blocks or the size overflows.
    pub fn group_bytes(&self, n_in: usize) -> Option<usize> {
        if !n_in.is_multiple_of(self.block_len) {
            return None;
        }
        (n_in / self.block_len)
            .checked_mul(self.block_bytes())?
            .checked_add(self.group_meta_bytes())
    }

    /// The form of activations that meet this layout.
    #[inline]
    pub const fn form(&self) -> Form {
        Form {
            block_len: self.block_len,
            sub_len: self.sub_len,
            bias: self.bias,
            shift: if self.has_mins() {
                1
            } else {
                self.shift as i32
            },
        }
    }

    /// Bytes of a scale in the group's or block's vector of scales.
    const fn scale_bytes(&self) -> usize {
        match self.scale {
            Scale::Exponent => 1,
            Scale::F16 | Scale::RowF16 => 2,
            Scale::RowF32 => 4,
        }
    }

    /// Whether rows, not blocks, have the float scale.
    const fn is_row_scaled(&self) -> bool {
        matches!(self.scale, Scale::RowF16 | Scale::RowF32)
    }

    /// Packs 16 rows of a file, one after another.
    ///
    /// # Panics
    /// When `rows` is not 16 rows of `kind`, or `group` not a group of as many columns.
    pub fn pack(&self, kind: QuantKind, rows: &[u8], group: &mut [u8]) {
        let row_bytes = rows.len() / GROUP_ROWS;
        let n_blocks = self.n_blocks(kind, row_bytes, group.len());
        let (meta, blocks) = group.split_at_mut(self.group_meta_bytes());
        for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
            let n = kind.row_meta_bytes();
            meta[r * n..(r + 1) * n].copy_from_slice(&row[..n]);
        }
        let mut parts = [Parts::EMPTY; GROUP_ROWS];
        for b in 0..n_blocks {
            for (row, parts) in rows.chunks_exact(row_bytes).zip(&mut parts) {
                let start = kind.row_meta_bytes() + b * kind.block_bytes();
                self.take_apart(&row[start..start + kind.block_bytes()], parts);
            }
            let size = self.block_bytes();
            self.store(&parts, &mut blocks[b * size..(b + 1) * size]);
        }
    }

    /// The inverse of [`pack`](Self::pack).
    ///
    /// # Panics
    /// As `pack`.
    pub fn unpack(&self, kind: QuantKind, group: &[u8], rows: &mut [u8]) {
        let row_bytes = rows.len() / GROUP_ROWS;
        let n_blocks = self.n_blocks(kind, row_bytes, group.len());
        let (meta, blocks) = group.split_at(self.group_meta_bytes());
        for (r, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
            let n = kind.row_meta_bytes();
            row[..n].copy_from_slice(&meta[r * n..(r + 1) * n]);
        }
        let mut parts = [Parts::EMPTY; GROUP_ROWS];
        for b in 0..n_blocks {
            let size = self.block_bytes();
            self.fetch(&blocks[b * size..(b + 1) * size], &mut parts);
            for (row, parts) in rows.chunks_exact_mut(row_bytes).zip(&parts) {
                let start = kind.row_meta_bytes() + b * kind.block_bytes();
                self.put_together(parts, &mut row[start..start + kind.block_bytes()]);
            }
        }
    }

    /// Decodes a group of `n_in` columns to `out: [16, n_in]`, as [`QuantKind::dequantize_row`]
    /// decodes the rows of the file.
    ///
    /// # Panics
    /// When a length does not fit.
    pub fn dequantize(&self, kind: QuantKind, group: &[u8], n_in: usize, out: &mut [f32]) {
        assert_eq!(self.group_bytes(n_in), Some(group.len()), "{}", kind.name());
        assert_eq!(out.len(), GROUP_ROWS * n_in);
        let (meta, blocks) = group.split_at(self.group_meta_bytes());
        let meta_bytes = kind.row_meta_bytes();
        let mut parts = [Parts::EMPTY; GROUP_ROWS];
        let mut row = [0; MAX_BLOCK_ROW];
        let row = &mut row[..meta_bytes + kind.block_bytes()];
        for (b, block) in blocks.chunks_exact(self.block_bytes()).enumerate() {
            self.fetch(block, &mut parts);
            for (r, parts) in parts.iter().enumerate() {
                row[..meta_bytes].copy_from_slice(&meta[r * meta_bytes..(r + 1) * meta_bytes]);
                self.put_together(parts, &mut row[meta_bytes..]);
                let start = r * n_in + b * self.block_len;
                kind.dequantize_row(row, &mut out[start..start + self.block_len]);
            }
        }
    }

    fn n_blocks(&self, kind: QuantKind, row_bytes: usize, group_bytes: usize) -> usize {
        let n_blocks = (row_bytes - kind.row_meta_bytes()) / kind.block_bytes();
        let n_in = n_blocks * kind.block_len();
        assert_eq!(kind.row_bytes(n_in), Some(row_bytes), "{}", kind.name());
        assert_eq!(self.group_bytes(n_in), Some(group_bytes), "{}", kind.name());
        n_in / self.block_len
    }

    /// One block of a file's row into its parts.
    fn take_apart(&self, block: &[u8], parts: &mut Parts) {
        let n = self.codes.per_chunk();
        parts.codes[..self.block_len / CHUNK_LEN * n].fill(0);
        self.take_head(block, parts);
        for chunk in 0..self.block_len / CHUNK_LEN {
            let codes = &mut parts.codes[chunk * n..(chunk + 1) * n];
            for plane in self.planes {
                plane.read(block, chunk, codes);
            }
        }
    }

    /// What a block of a file's row has beside the codes in [`planes`](Self::planes); to be compiled
    /// for the instruction set of its caller.
    ///
    /// # Panics
    /// When `block` is shorter than a block of the type.
    #[inline(always)]
    pub fn take_head(&self, block: &[u8], parts: &mut Parts) {
        if self.planes.is_empty() {
            parts.codes = [0; SUPER_BLOCK];
        }
        (self.head)(block, parts);
    }

    /// The float scale of a block in parts, of a row that begins with `meta`.
    #[inline(always)]
    pub fn block_scale(&self, meta: &[u8], parts: &Parts) -> f32 {
        let scale = match self.scale {
            Scale::F16 => f16::from_bits(parts.d as u16).to_f32(),
            Scale::Exponent => half_power(parts.d as u8),
            Scale::RowF16 => f16::from_le_bytes([meta[0], meta[1]]).to_f32(),
            Scale::RowF32 => f32::from_le_bytes([meta[0], meta[1], meta[2], meta[3]]),
        };
        scale * self.factor
    }

    /// The float scale of its minima.
    #[inline(always)]
    fn min_scale(&self, parts: &Parts) -> f32 {
        f16::from_bits(parts.dmin).to_f32()
    }

    /// The values of all columns of a block in parts, unshifted; to be compiled for the instruction
    /// set of its caller.
    #[inline(always)]
    pub fn values(&self, parts: &Parts, out: &mut [i8; SUPER_BLOCK]) {
        match &self.codes {
            Codes::Grid(grid) => grid.values(self.values, &parts.codes, out),
            Codes::Trellis(indices) => trellis::values(indices, &parts.codes, out),
            Codes::Pairs => {
                for (column, out) in out.iter_mut().enumerate() {
                    let code = usize::from(parts.codes[column / 2]);
                    *out = self.values[code + 32 * (column % 2)];
                }
            }
            _ => {
                let codes = &parts.codes[..self.block_len];
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = self.values[usize::from(*code)];
                }
            }
        }
    }

    fn put_together(&self, parts: &Parts, block: &mut [u8]) {
        block.fill(0);
        (self.set_head)(parts, block);
        let n = self.codes.per_chunk();
        for chunk in 0..self.block_len / CHUNK_LEN {
            let codes = &parts.codes[chunk * n..(chunk + 1) * n];
            for plane in self.planes {
                plane.write(block, chunk, codes);
            }
        }
    }

    /// Parts of 16 rows into a packed block.
    fn store(&self, parts: &[Parts; GROUP_ROWS], block: &mut [u8]) {
        block.fill(0);
        for (r, parts) in parts.iter().enumerate() {
            if !self.is_row_scaled() {
                let n = self.scale_bytes();
                block[r * n..(r + 1) * n].copy_from_slice(&parts.d.to_le_bytes()[..n]);
            }
            if self.has_mins() {
                let at = self.dmin_offset() + 2 * r;
                block[at..at + 2].copy_from_slice(&parts.dmin.to_le_bytes());
            }
            for k in 0..self.n_sub() {
                let (at, shift) = self.scale_place(k, r);
                block[at] |= self.scale_bits(parts.scales[k], parts.mins[k]) << shift;
                if self.sub_scales == SubScales::WithMins {
                    block[self.mins_offset() + k * GROUP_ROWS + r] = parts.mins[k];
                }
                if self.shift != 0 && parts.flags >> k & 1 == 1 {
                    block[self.flags_offset() + 2 * k + r / 8] |= 1 << (r % 8);
                }
            }
        }
        let n = self.codes.per_chunk();
        let codes = &mut block[self.codes_offset()..];
        for chunk in 0..self.block_len / CHUNK_LEN {
            let rows = parts.each_ref().map(|parts| &parts.codes[chunk * n..][..n]);
            self.codes.store(&rows, chunk, codes);
        }
    }

    /// The inverse of `store`.
    fn fetch(&self, block: &[u8], parts: &mut [Parts; GROUP_ROWS]) {
        for (r, parts) in parts.iter_mut().enumerate() {
            *parts = Parts::EMPTY;
            if !self.is_row_scaled() {
                let (n, mut bits) = (self.scale_bytes(), [0; 4]);
                bits[..n].copy_from_slice(&block[r * n..(r + 1) * n]);
                parts.d = u32::from_le_bytes(bits);
            }
            if self.has_mins() {
                let at = self.dmin_offset() + 2 * r;
                parts.dmin = u16::from_le_bytes([block[at], block[at + 1]]);
            }
            for k in 0..self.n_sub() {
                let (at, shift) = self.scale_place(k, r);
                let bits = block[at] >> shift;
                (parts.scales[k], parts.mins[k]) = match self.sub_scales {
                    SubScales::None => (0, 0),
                    SubScales::Bytes => (bits as i8, 0),
                    SubScales::Nibbles { first, step } => (first + step * (bits & 15) as i8, 0),
                    SubScales::Table(scales) => (scales[usize::from(bits & 15)], 0),
                    SubScales::WithMins => {
                        let min = block[self.mins_offset() + k * GROUP_ROWS + r];
                        (bits as i8, min)
                    }
                    SubScales::NibblesWithMins => ((bits & 15) as i8, bits >> 4),
                };
                if self.shift != 0 {
                    let flag = block[self.flags_offset() + 2 * k + r / 8] >> (r % 8) & 1;
                    parts.flags |= u16::from(flag) << k;
                }
            }
        }
        let n = self.codes.per_chunk();
        let codes = &block[self.codes_offset()..];
        for chunk in 0..self.block_len / CHUNK_LEN {
            let mut rows = [[0; CHUNK_LEN]; GROUP_ROWS];
            self.codes.fetch(codes, chunk, &mut rows);
            for (parts, row) in parts.iter_mut().zip(&rows) {
                parts.codes[chunk * n..(chunk + 1) * n].copy_from_slice(&row[..n]);
            }
        }
    }

    /// Byte and first bit of the scale of sub-block `k` of row `r`.
    fn scale_place(&self, k: usize, r: usize) -> (usize, u32) {
        match self.sub_scales {
            SubScales::Nibbles { .. } | SubScales::Table(_) => {
                let at = self.scales_offset() + k / 2 * GROUP_ROWS + r;
                (at, 4 * (k as u32 % 2))
            }
            _ => (self.scales_offset() + k * GROUP_ROWS + r, 0),
        }
    }

    fn scale_bits(&self, scale: i8, min: u8) -> u8 {
        match self.sub_scales {
            SubScales::Nibbles { first, step } => ((scale - first) / step) as u8,
            SubScales::Table(scales) => table_code(scales, scale),
            SubScales::NibblesWithMins => scale as u8 | min << 4,
            _ => scale as u8,
        }
    }
}

/// The place of a value in a table that has it.
pub(crate) fn table_code(table: &[i8; 16], value: i8) -> u8 {
    let place = table.iter().position(|entry| *entry == value);
    place.map_or(0, |place| place as u8)
}

/// The values `first`, `first + 1`, … of types without a table, as many as there are codes.
pub(crate) const fn linear<const N: usize>(first: i32) -> [i8; N] {
    let mut values = [0; N];
    let mut code = 0;
    while code < N {
        // Wraps where the codes are the values themselves.
        values[code] = (first + code as i32) as i8;
        code += 1;
    }
    values
}

#[cfg(test)]
mod tests;
