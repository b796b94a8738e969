//! Where the bits of codes are in the blocks of files.

use super::CHUNK_LEN;

/// Some bits of every code of a block.
#[derive(Clone, Copy, Debug)]
pub enum Plane {
    /// Code l of chunk c has `bits` bits in byte `places[c].0 + l`, from bit `places[c].1` on;
    /// they are its bits from `to` on.
    Bytes {
        /// For each chunk the first byte and bit.
        places: [(u16, u8); 8],
        /// Bits of every code.
        bits: u8,
        /// Their place in the code.
        to: u8,
    },
    /// The lower half of the codes of chunk c are the low nibbles of 16 bytes from `starts[c]`
    /// on, the upper half the high ones.
    Halves {
        /// For each chunk the first byte.
        starts: [u16; 8],
    },
}

impl Plane {
    /// `bits` bits of the codes of each chunk in consecutive bytes: several chunks share bytes,
    /// the first in the lowest bits, before the next `stride` bytes begin.
    pub(crate) const fn stacked(start: u16, stride: u16, bits: u8, to: u8) -> Self {
        let per_byte = 8 / bits as u16;
        let mut places = [(0, 0); 8];
        let mut c = 0;
        while c < 8 {
            let chunk = c as u16;
            places[c] = (
                start + chunk / per_byte * stride,
                (chunk % per_byte) as u8 * bits,
            );
            c += 1;
        }
        Self::Bytes { places, bits, to }
    }

    /// Nibbles of 16 bytes for every chunk.
    pub(crate) const fn halves(start: u16) -> Self {
        let mut starts = [0; 8];
        let mut c = 0;
        while c < 8 {
            starts[c] = start + 16 * c as u16;
            c += 1;
        }
        Self::Halves { starts }
    }

    /// Adds its bits to the codes of a chunk.
    pub(crate) fn read(&self, block: &[u8], chunk: usize, codes: &mut [u8]) {
        match self {
            Self::Bytes { places, bits, to } => {
                let (start, shift) = places[chunk];
                let bytes = &block[usize::from(start)..][..codes.len()];
                let mask = mask(*bits);
                // Of known length, which makes it a few vector instructions.
                for (codes, bytes) in codes
                    .as_chunks_mut::<16>()
                    .0
                    .iter_mut()
                    .zip(bytes.as_chunks::<16>().0)
                {
                    for (code, byte) in codes.iter_mut().zip(bytes) {
                        *code |= (byte >> shift & mask) << to;
                    }
                }
            }
            Self::Halves { starts } => {
                let bytes = &block[usize::from(starts[chunk])..][..CHUNK_LEN / 2];
                let (low, high) = codes.split_at_mut(CHUNK_LEN / 2);
                for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
                    *low = byte & 15;
                    *high = byte >> 4;
                }
            }
        }
    }

    /// Adds the bits of a chunk's codes to the block.
    pub(crate) fn write(&self, block: &mut [u8], chunk: usize, codes: &[u8]) {
        match self {
            Self::Bytes { places, bits, to } => {
                let (start, shift) = places[chunk];
                let bytes = &mut block[usize::from(start)..][..codes.len()];
                let mask = mask(*bits);
                for (code, byte) in codes.iter().zip(bytes) {
                    *byte |= (code >> to & mask) << shift;
                }
            }
            Self::Halves { starts } => {
                let bytes = &mut block[usize::from(starts[chunk])..][..CHUNK_LEN / 2];
                let (low, high) = codes.split_at(CHUNK_LEN / 2);
                for ((low, high), byte) in low.iter().zip(high).zip(bytes) {
                    *byte = low | high << 4;
                }
            }
        }
    }
}

fn mask(bits: u8) -> u8 {
    u8::MAX >> (8 - bits)
}
