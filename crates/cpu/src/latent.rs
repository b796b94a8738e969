//! Rows of the latent KV cache: `[c̃ (kv_lora_rank) | k_pe (rope_dim)]`, one per position.

use std::ops::Range;

use perigee_quant::QuantKind;

use crate::simd::{Isa, LANES, decode_row};

/// Shape and encoding of a latent row.
///
/// The two parts are encoded separately, so that no quantised block holds elements of both;
/// each is padded with zeroes to whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatentShape {
    /// Elements of the compressed key-value.
    pub kv_lora_rank: usize,
    /// Elements of the rotated key.
    pub rope_dim: usize,
    /// Encoding of both.
    pub kind: QuantKind,
}

impl LatentShape {
    /// Floats of the decoded c̃ part, padding included: where k_pe begins.
    pub fn latent_len(&self) -> usize {
        self.kv_lora_rank.next_multiple_of(self.kind.block_len())
    }

    /// Floats of a decoded row, padding included.
    pub fn padded_len(&self) -> usize {
        self.latent_len() + self.rope_dim.next_multiple_of(self.kind.block_len())
    }

    /// Whether all parts of a decoded row are whole sixteens.
    pub(crate) fn is_whole_sixteens(&self) -> bool {
        let lens = [self.kv_lora_rank, self.latent_len(), self.padded_len()];
        lens.iter().all(|len| len.is_multiple_of(LANES))
    }

    /// Bytes of an encoded row.
    pub fn row_bytes(&self) -> usize {
        self.part_bytes(self.padded_len())
    }

    /// Both parts of an encoded row.
    pub(crate) fn parts<'a>(&self, row: &'a [u8]) -> [&'a [u8]; 2] {
        row.split_at(self.part_bytes(self.latent_len())).into()
    }

    fn part_bytes(&self, len: usize) -> usize {
        self.kind
            .row_bytes(len)
            .expect("padded to whole blocks, as long as a row of a weight matrix")
    }

    /// Encodes a row given as `[c̃ | 0… | k_pe | 0…]: [padded_len]` into `out: [row_bytes]`.
    ///
    /// # Panics
    /// When a length is another, or the kind has no encoder.
    pub fn encode_row(&self, row: &[f32], out: &mut [u8]) {
        assert_eq!(row.len(), self.padded_len());
        let (latent, rope) = row.split_at(self.latent_len());
        let (latent_out, rope_out) = out.split_at_mut(self.part_bytes(latent.len()));
        for (part, out) in [(latent, latent_out), (rope, rope_out)] {
            self.kind
                .quantize_row(part, None, out)
                .expect("the KV kinds F16 and Q8_0 have encoders");
        }
    }
}

/// The latent rows of one layer: blocks of `block_len` consecutive positions.
#[derive(Clone, Copy)]
pub struct LatentCache<'a> {
    /// Shape of the rows.
    pub shape: LatentShape,
    /// Positions in a block.
    pub block_len: usize,
    /// `[n_blocks, block_len, row_bytes]`.
    pub bytes: &'a [u8],
    /// The block tables of the sequences, one after another.
    pub block_tables: &'a [u32],
}

/// Consecutive tokens of one sequence that attend to their past and to themselves.
#[derive(Clone, Copy, Debug)]
pub struct Queries {
    /// Row of the first token in the activations.
    pub first_row: usize,
    /// Tokens.
    pub n_tokens: usize,
    /// Position of the first token.
    pub start: usize,
    /// Where the table of the sequence begins in [`LatentCache::block_tables`]; it covers the
    /// sequence from position 0 to its last token.
    pub table: usize,
}

impl<'a> LatentCache<'a> {
    /// Decodes the rows of `positions` of the sequence whose block table begins at `table` into
    /// `out: [positions.len(), padded_len]`.
    pub(crate) fn decode(&self, isa: Isa, table: usize, positions: Range<usize>, out: &mut [f32]) {
        let rows = out.chunks_exact_mut(self.shape.padded_len());
        for (bytes, out) in self.rows(table, positions).zip(rows) {
            // Both parts are whole blocks: the row is one sequence of blocks.
            decode_row(isa, self.shape.kind, bytes, out);
        }
    }

    /// The encoded rows of `positions` of the sequence whose block table begins at `table`.
    ///
    /// # Panics
    /// When the table or the cache ends before them.
    pub(crate) fn rows(
        &self,
        table: usize,
        positions: Range<usize>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let Self {
            block_len, bytes, ..
        } = *self;
        let row_bytes = self.shape.row_bytes();
        let first = positions.start / block_len;
        let end = positions.end.div_ceil(block_len);
        let blocks = &self.block_tables[table + first..table + end];
        let starts = (first * block_len..).step_by(block_len);
        let pieces = blocks.iter().zip(starts).map(move |(block, start)| {
            let rows = positions.start.max(start) - start..block_len.min(positions.end - start);
            let first_row = *block as usize * block_len;
            &bytes[(first_row + rows.start) * row_bytes..(first_row + rows.end) * row_bytes]
        });
        pieces.flat_map(move |bytes| bytes.chunks_exact(row_bytes))
    }
}
