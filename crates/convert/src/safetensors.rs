//! One safetensors file: its header, checked, and positioned reads of its bytes.
//!
//! A file is the length of the header as u64, the header as JSON, then the tensors' bytes
//! without holes. The header is hostile until checked: only ranges that lie in the file, are
//! apart from each other and have the size that type and shape dictate leave this room.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::Error;

/// Longest header; the format's own bound.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Most dimensions of a tensor: a bound of the allocation, not of the format.
const MAX_DIMENSIONS: usize = 16;

/// An element type. Those that no part of a text model has are known by their size only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F32,
    F16,
    Bf16,
    I32,
    I64,
    Other { bits: u8 },
}

impl Dtype {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I32" => Self::I32,
            "I64" => Self::I64,
            "F4" => Self::Other { bits: 4 },
            "F6_E2M3" | "F6_E3M2" => Self::Other { bits: 6 },
            "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E5M2FNUZ"
            | "F8_E4M3FNUZ" => Self::Other { bits: 8 },
            "U16" | "I16" => Self::Other { bits: 16 },
            "U32" => Self::Other { bits: 32 },
            "U64" | "F64" | "C64" => Self::Other { bits: 64 },
            _ => return None,
        })
    }

    fn bits(self) -> u64 {
        match self {
            Self::F32 | Self::I32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::I64 => 64,
            Self::Other { bits } => bits.into(),
        }
    }

    /// Bytes of an element of a type that holds weights; `None` for the others.
    pub(crate) fn float_bytes(self) -> Option<usize> {
        match self {
            Self::F32 => Some(4),
            Self::F16 | Self::Bf16 => Some(2),
            Self::I32 | Self::I64 | Self::Other { .. } => None,
        }
    }
}

/// Where a tensor's bytes are and what they mean.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    /// The type's name in the file.
    pub(crate) dtype_name: String,
    /// Dimensions, the contiguous one last.
    pub(crate) shape: Vec<u64>,
    /// First byte, from the start of the file.
    pub(crate) begin: u64,
    pub(crate) n_bytes: u64,
}

/// Reads and checks the header of a file. The tensors are in the order of their bytes.
pub(crate) fn read_header(path: &Path) -> Result<Vec<Tensor>, Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let file_len = file.metadata().map_err(Error::io(path))?.len();
    let fail = |problem: String| Error::file(path, problem);
    if file_len < 8 {
        return Err(fail(format!(
            "{file_len} bytes are too few for a safetensors file"
        )));
    }
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(Error::io(path))?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MAX_HEADER_BYTES {
        return Err(fail(format!(
            "a safetensors header of {header_len} bytes; at most {MAX_HEADER_BYTES} are allowed"
        )));
    }
    let remaining = file_len - 8;
    if header_len > remaining {
        return Err(fail(format!(
            "the header needs {header_len} bytes, but {remaining} remain: the file is truncated or lies"
        )));
    }
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header).map_err(Error::io(path))?;
    let Header(entries) =
        serde_json::from_slice(&header).map_err(|error| fail(format!("the header: {error}")))?;
    check(path, entries, 8 + header_len, remaining - header_len)
}

/// `n_bytes` from byte `begin` of a file.
pub(crate) fn read_at(path: &Path, begin: u64, n_bytes: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; n_bytes];
    let mut file = File::open(path).map_err(Error::io(path))?;
    file.seek(SeekFrom::Start(begin)).map_err(Error::io(path))?;
    file.read_exact(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// Turns offsets into the data section of `data_len` bytes at `data_begin` into checked ranges.
fn check(
    path: &Path,
    entries: Vec<(String, Entry)>,
    data_begin: u64,
    data_len: u64,
) -> Result<Vec<Tensor>, Error> {
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let fail = |problem: String| Error::tensor(path, &name, problem);
        let dtype = Dtype::from_name(&entry.dtype)
            .ok_or_else(|| fail(format!("unknown type {:?}", entry.dtype)))?;
        let (shape, [begin, end]) = (entry.shape, entry.data_offsets);
        if shape.len() > MAX_DIMENSIONS {
            return Err(fail(format!("{} dimensions", shape.len())));
        }
        if begin > end || end > data_len {
            return Err(fail(format!(
                "offsets {begin}..{end} are not in the {data_len} bytes of data: the file is truncated or lies"
            )));
        }
        let bits = shape
            .iter()
            .try_fold(dtype.bits(), |bits, &n| bits.checked_mul(n));
        let n_bytes = end - begin;
        if bits.is_none() || bits != n_bytes.checked_mul(8) {
            return Err(fail(format!(
                "{n_bytes} bytes do not hold {} of shape {shape:?}",
                entry.dtype
            )));
        }
        tensors.push(Tensor {
            name,
            dtype,
            dtype_name: entry.dtype,
            shape,
            // No overflow: `end` is within a file that has the header before it.
            begin: data_begin + begin,
            n_bytes,
        });
    }
    tensors.sort_by_key(|tensor| (tensor.begin, tensor.n_bytes));
    apart(path, &tensors, data_begin, data_len)?;
    Ok(tensors)
}

/// The format allows neither overlaps nor holes; either shows that offsets are wrong.
fn apart(path: &Path, tensors: &[Tensor], data_begin: u64, data_len: u64) -> Result<(), Error> {
    let mut end = data_begin;
    let mut before = None;
    for tensor in tensors {
        if tensor.begin < end {
            let other: &str = before.unwrap_or("the header");
            return Err(Error::tensor(
                path,
                &tensor.name,
                format!("its bytes overlap those of {other}"),
            ));
        }
        if tensor.begin > end {
            let gap = tensor.begin - end;
            return Err(Error::tensor(
                path,
                &tensor.name,
                format!("{gap} bytes before it belong to no tensor"),
            ));
        }
        end = tensor.begin + tensor.n_bytes;
        before = Some(&tensor.name);
    }
    let unused = data_begin + data_len - end;
    if unused > 0 {
        return Err(Error::file(
            path,
            format!("the last {unused} bytes belong to no tensor"),
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// All entries but `__metadata__`. A map of its own, because a general one drops all but the
/// last of several entries with one name.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        use serde::de::Error as _;
        let mut seen = rustc_hash::FxHashSet::default();
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("tensor {name} occurs twice")));
            }
            if name == "__metadata__" {
                map.next_value::<serde::de::IgnoredAny>()?;
                continue;
            }
            let entry = map
                .next_value()
                .map_err(|error| A::Error::custom(format!("tensor {name}: {error}")))?;
            entries.push((name, entry));
        }
        Ok(Header(entries))
    }
}

/// A tensor and the file that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) path: std::sync::Arc<PathBuf>,
    pub(crate) tensor: Tensor,
}

impl Located {
    /// An error about this tensor.
    pub(crate) fn error(&self, problem: impl Into<String>) -> Error {
        Error::tensor(&self.path, &self.tensor.name, problem)
    }

    /// Demands a shape, the contiguous dimension last.
    pub(crate) fn expect_shape(&self, expected: &[u64]) -> Result<(), Error> {
        if self.tensor.shape != expected {
            let found = &self.tensor.shape;
            return Err(self.error(format!("shape {found:?}, expected {expected:?}")));
        }
        Ok(())
    }

    /// `n_bytes` from byte `offset` of the tensor.
    pub(crate) fn read(&self, offset: u64, n_bytes: usize) -> Result<Vec<u8>, Error> {
        let end = offset.checked_add(n_bytes as u64);
        if end.is_none_or(|end| end > self.tensor.n_bytes) {
            return Err(self.error(format!("bytes {offset}+{n_bytes} are not in the tensor")));
        }
        read_at(&self.path, self.tensor.begin + offset, n_bytes)
    }
}
