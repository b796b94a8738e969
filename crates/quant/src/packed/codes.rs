//! How the codes of 32 columns of 16 rows lie in vectors.

use super::{CHUNK_LEN, GROUP_ROWS, Grid, Indices, SUPER_BLOCK};

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
        if let Self::Grid(Grid { indices, .. }) | Self::Trellis(indices) = &self {
            let start = chunk * self.chunk_bytes();
            for (r, codes) in rows.iter().enumerate() {
                indices.for_bits(start, r, |i, mask, shift, to, at| {
                    block[at] |= (codes[i] >> shift & mask) << to;
                });
            }
            return;
        }
        let mut q = [[0; VECTOR]; 8];
        for (r, codes) in rows.iter().enumerate() {
            for (quad, codes) in q.iter_mut().zip(codes.as_chunks::<4>().0) {
                quad[4 * r..4 * r + 4].copy_from_slice(codes);
            }
        }
        if self == Self::Pairs {
            let shared = &mut block[self.shared_start(chunk)..][..VECTOR];
            let high = combine(|i| (0..4).fold(0, |bits, n| bits | (q[n][i] >> 4) << n));
            for (to, high) in shared.iter_mut().zip(high) {
                *to |= high << (4 * (chunk % 2));
            }
        }
        let n_bytes = self.chunk_bytes();
        let vectors = &mut block[chunk * n_bytes..][..n_bytes];
        for (v, to) in vectors.as_chunks_mut::<VECTOR>().0.iter_mut().enumerate() {
            *to = match self {
                Self::Bits2 => {
                    combine(|i| q[v][i] | q[2 + v][i] << 2 | q[4 + v][i] << 4 | q[6 + v][i] << 6)
                }
                Self::Bits3 => combine(|i| {
                    let six = q[3][i] | q[7][i] << 3;
                    q[v][i] | q[4 + v][i] << 3 | (six >> (2 * v) & 3) << 6
                }),
                Self::Bits4 => combine(|i| q[v][i] | q[4 + v][i] << 4),
                Self::Bits5 if v == 4 => {
                    combine(|i| (0..8).fold(0, |bits, n| bits | (q[n][i] >> 4) << n))
                }
                Self::Bits5 => combine(|i| q[v][i] & 15 | q[4 + v][i] << 4),
                Self::Bits6 => {
                    let (h, p) = (v / 3, v % 3);
                    combine(|i| q[4 * h + p][i] | (q[4 * h + 3][i] >> (2 * p) & 3) << 6)
                }
                Self::Bits8 => q[v],
                Self::Grid(_) | Self::Trellis(_) => unreachable!("stored above"),
                Self::Pairs => combine(|i| q[v][i] & 15 | q[2 + v][i] << 4),
            };
        }
    }

    /// The codes of chunk `chunk`, the inverse of `store`.
    pub(crate) fn fetch(self, block: &[u8], chunk: usize, rows: &mut [[u8; CHUNK_LEN]]) {
        if let Self::Grid(Grid { indices, .. }) | Self::Trellis(indices) = &self {
            let start = chunk * self.chunk_bytes();
            for (r, codes) in rows.iter_mut().enumerate() {
                indices.for_bits(start, r, |i, mask, shift, to, at| {
                    codes[i] |= (block[at] >> to & mask) << shift;
                });
            }
            return;
        }
        let n_bytes = self.chunk_bytes();
        let v = block[chunk * n_bytes..][..n_bytes].as_chunks::<VECTOR>().0;
        let mut high = [0; VECTOR];
        if self == Self::Pairs {
            let shared = &block[self.shared_start(chunk)..][..VECTOR];
            high = combine(|i| shared[i] >> (4 * (chunk % 2)));
        }
        for n in 0..self.per_chunk() / 4 {
            let (half, rest) = (n / 4, n % 4);
            let quad = match self {
                Self::Bits2 => combine(|i| v[n % 2][i] >> (2 * (n / 2)) & 3),
                Self::Bits3 if rest < 3 => combine(|i| v[rest][i] >> (3 * half) & 7),
                Self::Bits3 => {
                    let six = combine(|i| v[0][i] >> 6 | v[1][i] >> 6 << 2 | v[2][i] >> 6 << 4);
                    combine(|i| six[i] >> (3 * half) & 7)
                }
                Self::Bits4 => combine(|i| v[rest][i] >> (4 * half) & 15),
                Self::Bits5 => combine(|i| v[rest][i] >> (4 * half) & 15 | (v[4][i] >> n & 1) << 4),
                Self::Bits6 if rest < 3 => combine(|i| v[3 * half + rest][i] & 63),
                Self::Bits6 => {
                    combine(|i| (0..3).fold(0, |six, p| six | v[3 * half + p][i] >> 6 << (2 * p)))
                }
                Self::Bits8 => v[n],
                Self::Grid(_) | Self::Trellis(_) => unreachable!("fetched above"),
                Self::Pairs => {
                    combine(|i| v[n % 2][i] >> (4 * (n / 2)) & 15 | (high[i] >> n & 1) << 4)
                }
            };
            for (codes, quad) in rows.iter_mut().zip(quad.as_chunks::<4>().0) {
                codes[4 * n..4 * n + 4].copy_from_slice(quad);
            }
        }
    }

    /// Where the bits that two chunks share begin.
    fn shared_start(self, chunk: usize) -> usize {
        SUPER_BLOCK / CHUNK_LEN * self.chunk_bytes() + chunk / 2 * VECTOR
    }
}

/// A vector, byte by byte.
#[inline(always)]
fn combine(byte: impl Fn(usize) -> u8) -> [u8; VECTOR] {
    let mut vector = [0; VECTOR];
    for (i, to) in vector.iter_mut().enumerate() {
        *to = byte(i);
    }
    vector
}
