//! The table of types: one row each.

/// A tensor encoding that Perigee can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum QuantKind { F32, F16, Bf16, Q4_0, Q8_0, Q6K, Iq3K, Iq4K, Iq6K }

/// Why a row could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The type has a decoder only.
    #[error("{0} has no encoder")]
    NoEncoder(&'static str),
}

impl QuantKind {
    /// Every kind, in the order of the table.
    pub const ALL: &'static [Self] = &[Self::F32, Self::F16, Self::Bf16, Self::Q4_0, Self::Q8_0, Self::Q6K, Self::Iq3K, Self::Iq4K, Self::Iq6K];
    /// The kind with this `ggml_type` id; `None` for an id this build cannot decode.
    pub fn from_id(_id: u32) -> Option<Self> { todo!() }
    /// The kind with this name, case-insensitively: `iq3_k`, `Q8_0`.
    pub fn from_name(_name: &str) -> Option<Self> { todo!() }
    /// The name of a known `ggml_type` id, decodable or not, for error messages.
    pub fn name_of_id(_id: u32) -> Option<&'static str> { todo!() }
    /// The `ggml_type` id in files.
    pub fn id(self) -> u32 { todo!() }
    /// The name as the GGUF tools print it: `IQ3_K`.
    pub fn name(self) -> &'static str { todo!() }
    /// Weights in one block.
    pub fn block_len(self) -> usize { todo!() }
    /// Bytes of one block.
    pub fn block_bytes(self) -> usize { todo!() }
    /// Bytes stored once per row, before its blocks.
    pub fn row_meta_bytes(self) -> usize { todo!() }
    /// Bytes of a row of `n` weights; `None` when `n` is not a multiple of the block length or the size overflows.
    pub fn row_bytes(self, _n: usize) -> Option<usize> { todo!() }
    /// Decodes one row. `bytes.len() == row_bytes(out.len())` is asserted.
    pub fn dequantize_row(self, _bytes: &[u8], _out: &mut [f32]) { todo!() }
    /// Encodes one row of `x.len()` weights; `importance` has one weight per column.
    pub fn quantize_row(self, _x: &[f32], _importance: Option<&[f32]>, _out: &mut [u8]) -> Result<(), QuantizeError> { todo!() }
}
