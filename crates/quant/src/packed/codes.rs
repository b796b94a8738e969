//! How the codes of 32 columns of 16 rows lie in vectors.

use super::{CHUNK_LEN, GROUP_ROWS, Grid, Indices};

/// Bytes of a vector: four of each row.
pub(super) const VECTOR: usize = 4 * GROUP_ROWS;

/// The arrangement of codes. Quad q of a chunk is its columns 4q to 4q + 3; byte `4r + c` of a
/// vector belongs to row r and to column c of the quads that the vector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Vectors 0 and 1: quad `2f + j` in bits `2f` of vector j.
    Bits2,
    /// Vectors 0 to 2: vector p has quad p in bits 0–2, quad `4 + p` in bits 3–5, and in bits
    /// 6–7 bits `2p` of `quad 3 | quad 7 << 3`.
    Bits3,
    /// Vectors 0 to 3: quad j in the low nibbles of vector j, quad `4 + j` in the high ones.
    Bits4,
    /// As `Bits4`, then a vector with the fifth bit of quad q in bit q.
    Bits5,
    /// Twice three vectors of four quads each, h = 0, 1: vector p has quad `4h + p` in bits 0–5
    /// and in bits 6–7 bits `2p` of quad `4h + 3`.
    Bits6,
    /// Vector q: quad q.
    Bits8,
    /// Five bits for two neighbouring columns: four quads of codes in 32 columns. Two vectors a
    /// chunk with the low nibbles of quads 0, 1 in their low and of quads 2, 3 in their high
    /// nibbles; after those of all chunks, a vector for every two chunks with the fifth bit of
    /// quad q in bit `q + 4 · (chunk mod 2)`.
    Pairs,
    /// Rotated indices of points, see [`Grid`].
    Grid(&'static Grid),
    /// Codes that seed a generator, see [`trellis`](super::trellis).
    Trellis(Indices),
}

impl Codes {
    /// Codes of a row in 32 columns.
    pub const fn per_chunk(self) -> usize {
        match &self {
            Self::Pairs => CHUNK_LEN / 2,
            Self::Grid(Grid { indices, .. }) | Self::Trellis(indices) => indices.per_chunk(),
            _ => CHUNK_LEN,
        }
    }

    /// Bytes of the codes of a chunk, without those that chunks share.
    pub const fn chunk_bytes(self) -> usize {
        let vectors = match &self {
            Self::Bits2 | Self::Pairs => 2,
            Self::Bits3 => 3,
            Self::Bits4 => 4,
            Self::Bits5 => 5,
            Self::Bits6 => 6,
            Self::Bits8 => 8,
            Self::Grid(Grid { indices, .. }) | Self::Trellis(indices) => {
                return indices.chunk_bytes();
            }
        };
        VECTOR * vectors
    }

    /// Bytes of the codes of 16 rows of `n` columns.
    pub const fn bytes(self, n: usize) -> usize {
        let n_chunks = n / CHUNK_LEN;
        let shared = match self {
            Self::Pairs => n_chunks / 2 * VECTOR,
            _ => 0,
        };
        n_chunks * self.chunk_bytes() + shared
    }

    /// Stores the codes of chunk `chunk` of a block into its zeroed code bytes.
    pub(crate) fn store(self, rows: &[&[u8]; GROUP_ROWS], chunk: usize, block: &mut [u8]) {
        for (r, codes) in rows.iter().enumerate() {
            self.for_bits(chunk, r, |i, mask, shift, to, at| {
                block[at] |= (codes[i] >> shift & mask) << to;
            });
        }
    }

    /// Adds the codes of chunk `chunk` to zeroed rows.
    pub(crate) fn fetch(
        self,
        block: &[u8],
        chunk: usize,
        rows: &mut [[u8; CHUNK_LEN]; GROUP_ROWS],
    ) {
        for (r, codes) in rows.iter_mut().enumerate() {
            self.for_bits(chunk, r, |i, mask, shift, to, at| {
                codes[i] |= (block[at] >> to & mask) << shift;
            });
        }
    }

    /// Calls `body(code, mask, shift, to, byte)` for every piece of a code of row `r`: the bits
    /// `mask << shift` of the code are in the byte from bit `to` on.
    #[inline(always)]
    fn for_bits(self, chunk: usize, r: usize, mut body: impl FnMut(usize, u8, u32, u32, usize)) {
        let start = chunk * self.chunk_bytes();
        if let Self::Grid(Grid { indices, .. }) | Self::Trellis(indices) = &self {
            return indices.for_bits(start, r, body);
        }
        for i in 0..self.per_chunk() {
            let (quad, c) = (i / 4, i % 4);
            let at = |vector: usize| start + VECTOR * vector + 4 * r + c;
            match self {
                Self::Bits2 => body(i, 3, 0, 2 * (quad as u32 / 2), at(quad % 2)),
                Self::Bits3 if quad % 4 < 3 => body(i, 7, 0, 3 * (quad as u32 / 4), at(quad % 4)),
                Self::Bits3 => match quad {
                    // The six bits `quad 3 | quad 7 << 3`, two to a vector.
                    3 => {
                        body(i, 3, 0, 6, at(0));
                        body(i, 1, 2, 6, at(1));
                    }
                    _ => {
                        body(i, 1, 0, 7, at(1));
                        body(i, 3, 1, 6, at(2));
                    }
                },
                Self::Bits4 => body(i, 15, 0, 4 * (quad as u32 / 4), at(quad % 4)),
                Self::Bits5 => {
                    body(i, 15, 0, 4 * (quad as u32 / 4), at(quad % 4));
                    body(i, 1, 4, quad as u32, at(4));
                }
                Self::Bits6 if quad % 4 < 3 => body(i, 63, 0, 0, at(quad / 4 * 3 + quad % 4)),
                Self::Bits6 => {
                    for p in 0..3 {
                        body(i, 3, 2 * p, 6, at(quad / 4 * 3 + p as usize));
                    }
                }
                Self::Bits8 => body(i, 255, 0, 0, at(quad)),
                Self::Pairs => {
                    body(i, 15, 0, 4 * (quad as u32 / 2), at(quad % 2));
                    let shared = 8 * self.chunk_bytes() + chunk / 2 * VECTOR + 4 * r + c;
                    body(i, 1, 4, quad as u32 + 4 * (chunk as u32 % 2), shared);
                }
                Self::Grid(_) | Self::Trellis(_) => {}
            }
        }
    }
}
