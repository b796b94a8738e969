//! A metadata value, and reading one.

use crate::cursor::Cursor;
use crate::limits::MAX_STRING_BYTES;
use crate::{Array, Error};

/// A metadata value as stored.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the variants are the value types of the format"
)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// Bytes: token texts are not guaranteed to be UTF-8.
    Str(Vec<u8>),
    /// Elements of one type, none of them an array.
    Array(Array),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.as_bytes().to_vec())
    }
}

impl Value {
    /// An array of strings.
    pub fn strings<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::Array(Array::of_strings(items))
    }

    /// An array. Its element type is that of the first element, u32 when there is none.
    ///
    /// # Panics
    /// If elements are of different types, or arrays.
    pub fn array(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Array(Array::of_values(items))
    }

    /// The id of the value's type in files.
    pub(crate) fn type_id(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Str(_) => STRING,
            Self::Array(_) => ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) | Self::F64(_) => "a float",
            Self::Bool(_) => "a bool",
            Self::Str(_) => "a string",
            Self::Array(_) => "an array",
            _ => "an integer",
        }
    }

    /// Any stored integer, widened.
    pub(crate) fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            _ => return None,
        })
    }
}

pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;

/// Bytes of a scalar by type id; `None` for strings, arrays and unknown types.
pub(crate) fn scalar_bytes(id: u32) -> Option<usize> {
    Some(match id {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => return None,
    })
}

/// Decodes a scalar of `scalar_bytes(id)` bytes; `None` for other types or another length.
pub(crate) fn scalar(id: u32, bytes: &[u8]) -> Option<Value> {
    Some(match (id, bytes) {
        (0, &[v]) => Value::U8(v),
        (1, &[v]) => Value::I8(v.cast_signed()),
        (2, _) => Value::U16(u16::from_le_bytes(bytes.try_into().ok()?)),
        (3, _) => Value::I16(i16::from_le_bytes(bytes.try_into().ok()?)),
        (4, _) => Value::U32(u32::from_le_bytes(bytes.try_into().ok()?)),
        (5, _) => Value::I32(i32::from_le_bytes(bytes.try_into().ok()?)),
        (6, _) => Value::F32(f32::from_le_bytes(bytes.try_into().ok()?)),
        (7, &[v]) => Value::Bool(v != 0),
        (10, _) => Value::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
        (11, _) => Value::I64(i64::from_le_bytes(bytes.try_into().ok()?)),
        (12, _) => Value::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
        _ => return None,
    })
}

/// Reads the value of `key`.
pub(crate) fn read_value(
    cursor: &mut Cursor<'_>,
    file: &str,
    key: &str,
    id: u32,
) -> Result<Value, Error> {
    const WHAT: &str = "a metadata value";
    let known = match id {
        STRING => {
            let text = cursor.string(WHAT, MAX_STRING_BYTES)?;
            return Ok(Value::Str(text.to_vec()));
        }
        ARRAY => return Array::read(cursor, file, key).map(Value::Array),
        _ => scalar_bytes(id),
    };
    let value = match known {
        Some(len) => scalar(id, cursor.take(WHAT, len as u64)?),
        None => None,
    };
    value.ok_or_else(|| unknown_type(file, key, id))
}

pub(crate) fn unknown_type(file: &str, key: &str, id: u32) -> Error {
    Error::ValueType {
        file: file.to_owned(),
        key: key.to_owned(),
        id,
    }
}
