//! The table of types: one row each.

use crate::formats::{
    bf16, f16, f32, iq1_m, iq1_s, iq2_k, iq2_kl, iq2_ks, iq2_s, iq2_xs, iq2_xxs, iq3_k, iq3_ks,
    iq3_s, iq3_xxs, iq4_k, iq4_ks, iq4_kss, iq4_nl, iq4_xs, iq5_k, iq5_ks, iq6_k, mxfp4, nvfp4,
    q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_0, q6_k, q8_0, tq1_0, tq2_0, trellis,
};
use crate::names::NAMES;
use crate::packed::Layout;

/// A tensor encoding that Perigee can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuantKind {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// 32 weights of 4 bits, one scale.
    Q4_0,
    /// 32 weights of 8 bits, one scale.
    Q8_0,
    /// 256 weights of 6 bits, 16 scales of 8 bits.
    Q6K,
    /// 256 weights of 3 bits into two tables, 16 odd scales.
    Iq3K,
    /// 256 weights of 4 bits into two tables, 16 scales of 6 bits.
    Iq4K,
    /// 256 weights of 6 bits into two tables, 16 scales of 8 bits.
    Iq6K,
    /// 256 weights of 2 bits: grid points and signs of 8, 8 scales.
    Iq2Xxs,
    /// 256 weights of 2 bits: grid points and signs of 8, 16 scales.
    Iq2Xs,
    /// 256 weights of 2 bits: points of a larger grid, explicit signs, 16 scales.
    Iq2S,
    /// 256 weights of 3 bits: grid points of 4, signs of 8, 8 scales.
    Iq3Xxs,
    /// 256 weights of 3 bits: points of a larger grid, explicit signs, 8 scales.
    Iq3S,
    /// 256 weights of 1.6 bits: ternary grid points of 8, 8 scales.
    Iq1S,
    /// 256 weights of 1.75 bits: ternary grid points of 8, 16 scales.
    Iq1M,
    /// 256 ternary weights, five to a byte.
    Tq1_0,
    /// 256 ternary weights of 2 bits.
    Tq2_0,
    /// 32 floats of 4 bits, an exponent.
    Mxfp4,
    /// 64 floats of 4 bits, 4 scales that are floats of 8 bits.
    Nvfp4,
    /// 256 weights of 2 bits into two tables, 16 scales of 4 bits.
    Iq2K,
    /// 256 weights of 5 bits into two tables, 16 scales of 6 bits.
    Iq5K,
    /// A scale for the row, then as IQ2_K with 8 scales of 5 bits for 256 weights.
    Iq2Ks,
    /// A scale for the row, 5 bits for two neighbours, 8 scales of 6 bits for 256 weights.
    Iq2Kl,
    /// A scale for the row, then as IQ3_K with 8 scales of 5 bits for 256 weights.
    Iq3Ks,
    /// A scale for the row, then as IQ4_K with 8 odd scales of 8 bits for 256 weights.
    Iq4Ks,
    /// As IQ4_KS in 4 bits a weight all told: scales take one bit of every four weights.
    Iq4Kss,
    /// A scale for the row, then as IQ5_K with 8 odd scales of 8 bits for 256 weights.
    Iq5Ks,
    /// Generated values: 13 bits for 8 weights.
    Iq1Kt,
    /// Generated values: 16 bits for 8 weights.
    Iq2Kt,
    /// Generated magnitudes: 16 bits for 8 weights, and signs.
    Iq3Kt,
    /// Generated values: 15 bits for 4 weights.
    Iq4Kt,
    /// 32 weights of 4 bits, one scale and one minimum.
    Q4_1,
    /// 32 weights of 5 bits, one scale.
    Q5_0,
    /// 32 weights of 5 bits, one scale and one minimum.
    Q5_1,
    /// 32 weights of 6 bits, one scale.
    Q6_0,
    /// 256 weights of 2 bits, 16 scales and 16 minima of 4 bits.
    Q2K,
    /// 256 weights of 3 bits, 16 scales of 6 bits.
    Q3K,
    /// 256 weights of 4 bits, 8 scales and 8 minima of 6 bits.
    Q4K,
    /// 256 weights of 5 bits, 8 scales and 8 minima of 6 bits.
    Q5K,
    /// 32 weights of 4 bits into a table, one scale.
    Iq4Nl,
    /// 256 weights of 4 bits into a table, 8 scales of 6 bits.
    Iq4Xs,
}

/// Why a row could not be encoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The type has a decoder only.
    #[error("{0} has no encoder")]
    NoEncoder(&'static str),
}

type Encode = fn(&[f32], Option<&[f32]>, &mut [u8]);

/// What the table knows of a type.
struct Row {
    kind: QuantKind,
    id: u32,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
    row_meta_bytes: usize,
    dequantize: fn(&[u8], &mut [f32]),
    quantize: Option<Encode>,
}

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { kind: QuantKind::F32,  id: 0,   name: "F32",   block_len: 1,   block_bytes: 4,   row_meta_bytes: 0, dequantize: f32::dequantize,   quantize: Some(f32::quantize) },
    Row { kind: QuantKind::F16,  id: 1,   name: "F16",   block_len: 1,   block_bytes: 2,   row_meta_bytes: 0, dequantize: f16::dequantize,   quantize: Some(f16::quantize) },
    Row { kind: QuantKind::Bf16, id: 30,  name: "BF16",  block_len: 1,   block_bytes: 2,   row_meta_bytes: 0, dequantize: bf16::dequantize,  quantize: Some(bf16::quantize) },
    Row { kind: QuantKind::Q4_0, id: 2,   name: "Q4_0",  block_len: 32,  block_bytes: 18,  row_meta_bytes: 0, dequantize: q4_0::dequantize,  quantize: Some(q4_0::quantize) },
    Row { kind: QuantKind::Q8_0, id: 8,   name: "Q8_0",  block_len: 32,  block_bytes: 34,  row_meta_bytes: 0, dequantize: q8_0::dequantize,  quantize: Some(q8_0::quantize) },
    Row { kind: QuantKind::Q6K,  id: 14,  name: "Q6_K",  block_len: 256, block_bytes: 210, row_meta_bytes: 0, dequantize: q6_k::dequantize,  quantize: Some(q6_k::quantize) },
    Row { kind: QuantKind::Iq3K, id: 138, name: "IQ3_K", block_len: 256, block_bytes: 110, row_meta_bytes: 0, dequantize: iq3_k::dequantize, quantize: Some(iq3_k::quantize) },
    Row { kind: QuantKind::Iq4K, id: 139, name: "IQ4_K", block_len: 256, block_bytes: 144, row_meta_bytes: 0, dequantize: iq4_k::dequantize, quantize: Some(iq4_k::quantize) },
    Row { kind: QuantKind::Iq6K, id: 141, name: "IQ6_K", block_len: 256, block_bytes: 212, row_meta_bytes: 0, dequantize: iq6_k::dequantize, quantize: Some(iq6_k::quantize) },
    Row { kind: QuantKind::Iq2Xxs, id: 16,  name: "IQ2_XXS", block_len: 256, block_bytes: 66,  row_meta_bytes: 0, dequantize: iq2_xxs::dequantize, quantize: None },
    Row { kind: QuantKind::Iq2Xs,  id: 17,  name: "IQ2_XS", block_len: 256, block_bytes: 74,  row_meta_bytes: 0, dequantize: iq2_xs::dequantize, quantize: None },
    Row { kind: QuantKind::Iq2S,   id: 22,  name: "IQ2_S",  block_len: 256, block_bytes: 82,  row_meta_bytes: 0, dequantize: iq2_s::dequantize, quantize: None },
    Row { kind: QuantKind::Iq3Xxs, id: 18,  name: "IQ3_XXS", block_len: 256, block_bytes: 98,  row_meta_bytes: 0, dequantize: iq3_xxs::dequantize, quantize: None },
    Row { kind: QuantKind::Iq3S,   id: 21,  name: "IQ3_S",  block_len: 256, block_bytes: 110, row_meta_bytes: 0, dequantize: iq3_s::dequantize, quantize: None },
    Row { kind: QuantKind::Iq1S,   id: 19,  name: "IQ1_S",  block_len: 256, block_bytes: 50,  row_meta_bytes: 0, dequantize: iq1_s::dequantize, quantize: None },
    Row { kind: QuantKind::Iq1M,   id: 29,  name: "IQ1_M",  block_len: 256, block_bytes: 56,  row_meta_bytes: 0, dequantize: iq1_m::dequantize, quantize: None },
    Row { kind: QuantKind::Tq1_0,  id: 34,  name: "TQ1_0",  block_len: 256, block_bytes: 54,  row_meta_bytes: 0, dequantize: tq1_0::dequantize, quantize: None },
    Row { kind: QuantKind::Tq2_0,  id: 35,  name: "TQ2_0",  block_len: 256, block_bytes: 66,  row_meta_bytes: 0, dequantize: tq2_0::dequantize, quantize: None },
    Row { kind: QuantKind::Mxfp4,  id: 39,  name: "MXFP4",  block_len: 32,  block_bytes: 17,  row_meta_bytes: 0, dequantize: mxfp4::dequantize, quantize: None },
    Row { kind: QuantKind::Nvfp4, id: 40,  name: "NVFP4",  block_len: 64,  block_bytes: 36,  row_meta_bytes: 0, dequantize: nvfp4::dequantize, quantize: None },
    Row { kind: QuantKind::Iq2K,   id: 137, name: "IQ2_K",  block_len: 256, block_bytes: 76,  row_meta_bytes: 0, dequantize: iq2_k::dequantize, quantize: Some(iq2_k::quantize) },
    Row { kind: QuantKind::Iq5K,   id: 140, name: "IQ5_K",  block_len: 256, block_bytes: 176, row_meta_bytes: 0, dequantize: iq5_k::dequantize, quantize: Some(iq5_k::quantize) },
    Row { kind: QuantKind::Iq2Ks,  id: 145, name: "IQ2_KS", block_len: 256, block_bytes: 70,  row_meta_bytes: 2, dequantize: iq2_ks::dequantize, quantize: Some(iq2_ks::quantize) },
    Row { kind: QuantKind::Iq2Kl,  id: 157, name: "IQ2_KL", block_len: 256, block_bytes: 86,  row_meta_bytes: 2, dequantize: iq2_kl::dequantize, quantize: Some(iq2_kl::quantize) },
    Row { kind: QuantKind::Iq3Ks,  id: 156, name: "IQ3_KS", block_len: 256, block_bytes: 102, row_meta_bytes: 2, dequantize: iq3_ks::dequantize, quantize: Some(iq3_ks::quantize) },
    Row { kind: QuantKind::Iq4Ks,  id: 144, name: "IQ4_KS", block_len: 256, block_bytes: 136, row_meta_bytes: 4, dequantize: iq4_ks::dequantize, quantize: Some(iq4_ks::quantize) },
    Row { kind: QuantKind::Iq4Kss, id: 146, name: "IQ4_KSS", block_len: 256, block_bytes: 128, row_meta_bytes: 4, dequantize: iq4_kss::dequantize, quantize: None },
    Row { kind: QuantKind::Iq5Ks,  id: 152, name: "IQ5_KS", block_len: 256, block_bytes: 168, row_meta_bytes: 4, dequantize: iq5_ks::dequantize, quantize: Some(iq5_ks::quantize) },
    Row { kind: QuantKind::Iq1Kt,  id: 158, name: "IQ1_KT", block_len: 256, block_bytes: 56,  row_meta_bytes: 4, dequantize: trellis::dequantize_iq1_kt, quantize: None },
    Row { kind: QuantKind::Iq2Kt,  id: 153, name: "IQ2_KT", block_len: 256, block_bytes: 68,  row_meta_bytes: 4, dequantize: trellis::dequantize_iq2_kt, quantize: None },
    Row { kind: QuantKind::Iq3Kt,  id: 154, name: "IQ3_KT", block_len: 256, block_bytes: 100, row_meta_bytes: 4, dequantize: trellis::dequantize_iq3_kt, quantize: None },
    Row { kind: QuantKind::Iq4Kt,  id: 155, name: "IQ4_KT", block_len: 256, block_bytes: 128, row_meta_bytes: 4, dequantize: trellis::dequantize_iq4_kt, quantize: None },
    Row { kind: QuantKind::Q4_1,  id: 3,   name: "Q4_1",  block_len: 32,  block_bytes: 20,  row_meta_bytes: 0, dequantize: q4_1::dequantize, quantize: Some(q4_1::quantize) },
    Row { kind: QuantKind::Q5_0,  id: 6,   name: "Q5_0",  block_len: 32,  block_bytes: 22,  row_meta_bytes: 0, dequantize: q5_0::dequantize, quantize: Some(q5_0::quantize) },
    Row { kind: QuantKind::Q5_1,  id: 7,   name: "Q5_1",  block_len: 32,  block_bytes: 24,  row_meta_bytes: 0, dequantize: q5_1::dequantize, quantize: Some(q5_1::quantize) },
    Row { kind: QuantKind::Q6_0,  id: 133, name: "Q6_0",  block_len: 32,  block_bytes: 26,  row_meta_bytes: 0, dequantize: q6_0::dequantize, quantize: Some(q6_0::quantize) },
    Row { kind: QuantKind::Q2K,   id: 10,  name: "Q2_K",  block_len: 256, block_bytes: 84,  row_meta_bytes: 0, dequantize: q2_k::dequantize, quantize: Some(q2_k::quantize) },
    Row { kind: QuantKind::Q3K,   id: 11,  name: "Q3_K",  block_len: 256, block_bytes: 110, row_meta_bytes: 0, dequantize: q3_k::dequantize, quantize: Some(q3_k::quantize) },
    Row { kind: QuantKind::Q4K,   id: 12,  name: "Q4_K",  block_len: 256, block_bytes: 144, row_meta_bytes: 0, dequantize: q4_k::dequantize, quantize: Some(q4_k::quantize) },
    Row { kind: QuantKind::Q5K,   id: 13,  name: "Q5_K",  block_len: 256, block_bytes: 176, row_meta_bytes: 0, dequantize: q5_k::dequantize, quantize: Some(q5_k::quantize) },
    Row { kind: QuantKind::Iq4Nl, id: 20,  name: "IQ4_NL", block_len: 32,  block_bytes: 18,  row_meta_bytes: 0, dequantize: iq4_nl::dequantize, quantize: Some(iq4_nl::quantize) },
    Row { kind: QuantKind::Iq4Xs, id: 23,  name: "IQ4_XS", block_len: 256, block_bytes: 136, row_meta_bytes: 0, dequantize: iq4_xs::dequantize, quantize: Some(iq4_xs::quantize) },
];

impl QuantKind {
    /// Every kind, in the order of the table.
    pub const ALL: &'static [Self] = &[
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q8_0,
        Self::Q6K,
        Self::Iq3K,
        Self::Iq4K,
        Self::Iq6K,
        Self::Iq2Xxs,
        Self::Iq2Xs,
        Self::Iq2S,
        Self::Iq3Xxs,
        Self::Iq3S,
        Self::Iq1S,
        Self::Iq1M,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::Mxfp4,
        Self::Nvfp4,
        Self::Iq2K,
        Self::Iq5K,
        Self::Iq2Ks,
        Self::Iq2Kl,
        Self::Iq3Ks,
        Self::Iq4Ks,
        Self::Iq4Kss,
        Self::Iq5Ks,
        Self::Iq1Kt,
        Self::Iq2Kt,
        Self::Iq3Kt,
        Self::Iq4Kt,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q6_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Iq4Nl,
        Self::Iq4Xs,
    ];

    /// The kind with this `ggml_type` id; `None` for an id this build cannot decode.
    pub fn from_id(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.id == id).map(|row| row.kind)
    }

    /// The kind with this name, case-insensitively: `iq3_k`, `Q8_0`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.name.eq_ignore_ascii_case(name))
            .map(|row| row.kind)
    }

    /// The name of a known `ggml_type` id, decodable or not, for error messages.
    pub fn name_of_id(id: u32) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(known, _)| *known == id)
            .map(|&(_, name)| name)
    }

    fn row(self) -> &'static Row {
        // The enum and the table have one order; a test checks it.
        &TABLE[self as usize]
    }

    /// The `ggml_type` id in files.
    pub fn id(self) -> u32 {
        self.row().id
    }

    /// The name as the GGUF tools print it: `IQ3_K`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Weights in one block.
    pub fn block_len(self) -> usize {
        self.row().block_len
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.row().block_bytes
    }

    /// Bytes stored once per row, before its blocks.
    pub fn row_meta_bytes(self) -> usize {
        self.row().row_meta_bytes
    }

    /// Bytes of a row of `n` weights; `None` when `n` is not a multiple of the block length or
    /// the size overflows.
    pub fn row_bytes(self, n: usize) -> Option<usize> {
        let row = self.row();
        if !n.is_multiple_of(row.block_len) {
            return None;
        }
        (n / row.block_len)
            .checked_mul(row.block_bytes)?
            .checked_add(row.row_meta_bytes)
    }

    /// The packed layout of this type, if it has one.
    pub const fn layout(self) -> Option<&'static Layout> {
        Some(match self {
            Self::Q4_0 => &q4_0::PACKED,
            Self::Q8_0 => &q8_0::PACKED,
            Self::Q2K => &q2_k::PACKED,
            Self::Q3K => &q3_k::PACKED,
            Self::Q4K => &q4_k::PACKED,
            Self::Q5K => &q5_k::PACKED,
            Self::Q6K => &q6_k::PACKED,
            Self::Iq2K => &iq2_k::PACKED,
            Self::Iq3K => &iq3_k::PACKED,
            Self::Iq4K => &iq4_k::PACKED,
            Self::Iq5K => &iq5_k::PACKED,
            Self::Iq6K => &iq6_k::PACKED,
            Self::Iq2Ks => &iq2_ks::PACKED,
            Self::Iq2Kl => &iq2_kl::PACKED,
            Self::Iq3Ks => &iq3_ks::PACKED,
            Self::Iq4Ks => &iq4_ks::PACKED,
            Self::Iq4Kss => &iq4_kss::PACKED,
            Self::Iq5Ks => &iq5_ks::PACKED,
            Self::Iq4Nl => &iq4_nl::PACKED,
            Self::Iq4Xs => &iq4_xs::PACKED,
            Self::Mxfp4 => &mxfp4::PACKED,
            Self::Iq1Kt => &trellis::PACKED_IQ1_KT,
            Self::Iq2Kt => &trellis::PACKED_IQ2_KT,
            Self::Iq3Kt => &trellis::PACKED_IQ3_KT,
            Self::Iq4Kt => &trellis::PACKED_IQ4_KT,
            Self::Iq1S => &iq1_s::PACKED,
            Self::Iq1M => &iq1_m::PACKED,
            Self::Iq2Xxs => &iq2_xxs::PACKED,
            Self::Iq2Xs => &iq2_xs::PACKED,
            Self::Iq2S => &iq2_s::PACKED,
            Self::Iq3Xxs => &iq3_xxs::PACKED,
            Self::Iq3S => &iq3_s::PACKED,
            _ => return None,
        })
    }

    /// Whether [`quantize_row`](Self::quantize_row) can encode this type.
    pub fn has_encoder(self) -> bool {
        self.row().quantize.is_some()
    }

    /// Decodes one row of `out.len()` weights, exactly as the reference decoders do: every
    /// product is rounded to f32 on its own.
    ///
    /// # Panics
    /// If `bytes.len()` is not `row_bytes(out.len())`.
    pub fn dequantize_row(self, bytes: &[u8], out: &mut [f32]) {
        assert_eq!(
            Some(bytes.len()),
            self.row_bytes(out.len()),
            "bytes of a {} row of {}",
            self.name(),
            out.len()
        );
        (self.row().dequantize)(bytes, out);
    }

    /// Encodes one row of `x.len()` weights. `importance` weighs the squared error of each
    /// column (an imatrix row); types that round plainly ignore it.
    ///
    /// Every row has an encoding: F32, F16 and BF16 keep infinities and NaN; in the block types
    /// a block with a weight that is not finite or beyond 10¹² decodes to NaN, one whose scale
    /// is beyond f16 to infinities or NaN, and one below the smallest scale to zeros.
    /// Importances that are negative or not finite count as absent.
    ///
    /// # Errors
    /// The type has no encoder.
    ///
    /// # Panics
    /// If `out.len()` is not `row_bytes(x.len())`, or `importance` has another length than `x`.
    pub fn quantize_row(
        self,
        x: &[f32],
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<(), QuantizeError> {
        assert_eq!(
            Some(out.len()),
            self.row_bytes(x.len()),
            "bytes of a {} row of {}",
            self.name(),
            x.len()
        );
        assert!(
            importance.is_none_or(|weights| weights.len() == x.len()),
            "one importance per column"
        );
        let quantize = self
            .row()
            .quantize
            .ok_or(QuantizeError::NoEncoder(self.name()))?;
        quantize(x, importance, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_enum() {
        assert_eq!(TABLE.len(), QuantKind::ALL.len());
        for (i, (row, &kind)) in TABLE.iter().zip(QuantKind::ALL).enumerate() {
            assert_eq!(row.kind, kind);
            assert_eq!(kind as usize, i);
            assert_eq!(QuantKind::from_id(row.id), Some(kind));
            assert_eq!(QuantKind::from_name(&row.name.to_lowercase()), Some(kind));
            assert_eq!(QuantKind::name_of_id(row.id), Some(row.name));
        }
    }

    #[test]
    fn rows_that_are_no_whole_number_of_blocks_have_no_size() {
        assert_eq!(QuantKind::Iq3K.row_bytes(7168), Some(3080));
        assert_eq!(QuantKind::Q4_0.row_bytes(2048), Some(1152));
        assert_eq!(QuantKind::Q8_0.row_bytes(33), None);
        assert_eq!(QuantKind::F32.row_bytes(usize::MAX), None);
    }
}
