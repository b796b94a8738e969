//! A file before its tensors have bytes.

use std::io;

use perigee_quant::QuantKind;

use crate::Value;
use crate::header::tensor_bytes;
use crate::limits::{DEFAULT_ALIGNMENT, MAX_TENSOR_NAME_BYTES};

/// A tensor of a file to be written, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Name, 1 to 63 bytes.
    pub name: String,
    /// Encoding.
    pub kind: QuantKind,
    /// Dimensions in ggml order: `shape[0]` is contiguous.
    pub shape: Vec<u64>,
}

impl Declared {
    /// Encoded size in bytes; `None` if a row is no whole number of blocks, the shape is empty
    /// or the size overflows.
    pub fn n_bytes(&self) -> Option<u64> {
        self.shape.first()?;
        tensor_bytes(self.kind, &self.shape).and_then(|bytes| u64::try_from(bytes).ok())
    }
}

/// Where the bytes of one tensor go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From the start of the file.
    pub offset: u64,
    /// Size of the tensor.
    pub n_bytes: u64,
    /// Zeros after it, up to the alignment.
    pub padding: u64,
}

/// A file before its tensors have bytes: the header, and where each tensor goes. A writer that
/// makes tensors one after another writes the header, then each tensor and its padding.
#[derive(Debug)]
pub struct Layout {
    header: Vec<u8>,
    tensors: Vec<Place>,
}

impl Layout {
    /// The layout of a file with these metadata entries and tensors, in this order.
    ///
    /// # Errors
    /// A tensor without a size, or without a name that readers accept.
    pub fn new<'a>(
        entries: &[(String, Value)],
        tensors: impl ExactSizeIterator<Item = &'a Declared>,
    ) -> io::Result<Self> {
        let alignment = alignment(entries);
        let mut header = Vec::new();
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3_u32.to_le_bytes());
        header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(entries.len() as u64).to_le_bytes());
        for (key, value) in entries {
            put_string(&mut header, key.as_bytes());
            header.extend_from_slice(&value.type_id().to_le_bytes());
            put_value(&mut header, value);
        }
        let mut places = Vec::with_capacity(tensors.len());
        let mut offset = 0_u64;
        for tensor in tensors {
            put_string(&mut header, tensor.name.as_bytes());
            header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
            for n in &tensor.shape {
                header.extend_from_slice(&n.to_le_bytes());
            }
            header.extend_from_slice(&tensor.kind.id().to_le_bytes());
            header.extend_from_slice(&offset.to_le_bytes());
            let name = &tensor.name;
            if name.is_empty() || name.len() > MAX_TENSOR_NAME_BYTES {
                return Err(io::Error::other(format!(
                    "tensor name {name:?} is not 1 to 63 bytes long"
                )));
            }
            // llama.cpp demands exactly the running sum of padded sizes.
            let place = tensor.n_bytes().and_then(|n_bytes| {
                let padded = n_bytes.checked_next_multiple_of(alignment)?;
                let end = offset.checked_add(padded)?;
                let place = Place {
                    offset,
                    n_bytes,
                    padding: padded - n_bytes,
                };
                offset = end;
                Some(place)
            });
            let no_size = || io::Error::other(format!("tensor {name} has no size"));
            places.push(place.ok_or_else(no_size)?);
        }
        pad(&mut header, alignment);
        for place in &mut places {
            place.offset += header.len() as u64;
        }
        Ok(Self {
            header,
            tensors: places,
        })
    }

    /// The bytes before the first tensor, padding included.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The places of the tensors, in order; each begins where the one before it has ended.
    pub fn tensors(&self) -> &[Place] {
        &self.tensors
    }

    /// Size of the whole file.
    pub fn file_bytes(&self) -> u64 {
        let header = self.header.len() as u64;
        let last = self.tensors.last();
        last.map_or(header, |place| place.offset + place.n_bytes + place.padding)
    }
}

fn alignment(entries: &[(String, Value)]) -> u64 {
    let found = entries.iter().find(|(key, _)| key == "general.alignment");
    match found {
        Some((_, Value::U32(alignment))) => u64::from(*alignment).max(1),
        _ => DEFAULT_ALIGNMENT,
    }
}

fn pad(bytes: &mut Vec<u8>, alignment: u64) {
    let len = (bytes.len() as u64).next_multiple_of(alignment);
    bytes.resize(len as usize, 0);
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.push(v.cast_unsigned()),
        Value::Bool(v) => out.push((*v).into()),
        Value::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Str(text) => put_string(out, text),
        Value::Array(items) => {
            out.extend_from_slice(&items.element_type().to_le_bytes());
            out.extend_from_slice(&(items.len() as u64).to_le_bytes());
            match items.strings() {
                Some(strings) => strings.for_each(|text| put_string(out, text)),
                None => out.extend_from_slice(items.encoded()),
            }
        }
    }
}
