//! Typed key-value metadata.

use rustc_hash::FxHashMap;

use crate::Error;
use crate::cursor::Cursor;
use crate::limits::{MAX_ARRAY_LEN, MAX_STRING_BYTES};

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
    Array(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.as_bytes().to_vec())
    }
}

impl Value {
    /// An array of strings.
    pub fn strings<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> Self {
        Self::Array(
            items
                .into_iter()
                .map(|item| Self::Str(item.as_ref().to_vec()))
                .collect(),
        )
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
            Self::Str(_) => 8,
            Self::Array(_) => ARRAY,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) | Self::F64(_) => "a float",
            Self::Bool(_) => "a bool",
            Self::Str(_) => "a string",
            Self::Array(_) => "an array",
            _ => "an integer",
        }
    }

    /// Any stored integer, widened.
    fn integer(&self) -> Option<i128> {
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

const ARRAY: u32 = 9;

/// Smallest size of an element in a file, by type id; `None` for an unknown type.
fn element_bytes(id: u32) -> Option<u64> {
    Some(match id {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
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
    if id != ARRAY {
        return read_scalar(cursor, file, key, id);
    }
    let element = cursor.u32("an array's element type")?;
    if element == ARRAY {
        return Err(Error::NestedArray {
            file: file.to_owned(),
            key: key.to_owned(),
        });
    }
    let bytes = element_bytes(element).ok_or_else(|| unknown_type(file, key, element))?;
    let count = cursor.u64("an array's length")?;
    let limit = (cursor.remaining() as u64 / bytes).min(MAX_ARRAY_LEN as u64);
    if count > limit {
        return Err(Error::TooMany {
            file: file.to_owned(),
            what: "array elements",
            count,
            limit,
        });
    }
    let mut items = Vec::with_capacity(count as usize);
    for _ in 0..count {
        items.push(read_scalar(cursor, file, key, element)?);
    }
    Ok(Value::Array(items))
}

fn read_scalar(cursor: &mut Cursor<'_>, file: &str, key: &str, id: u32) -> Result<Value, Error> {
    const WHAT: &str = "a metadata value";
    Ok(match id {
        0 => Value::U8(cursor.u8(WHAT)?),
        1 => Value::I8(cursor.u8(WHAT)?.cast_signed()),
        2 => Value::U16(cursor.u16(WHAT)?),
        3 => Value::I16(cursor.u16(WHAT)?.cast_signed()),
        4 => Value::U32(cursor.u32(WHAT)?),
        5 => Value::I32(cursor.u32(WHAT)?.cast_signed()),
        6 => Value::F32(f32::from_bits(cursor.u32(WHAT)?)),
        7 => Value::Bool(cursor.u8(WHAT)? != 0),
        8 => Value::Str(cursor.string(WHAT, MAX_STRING_BYTES)?.to_vec()),
        10 => Value::U64(cursor.u64(WHAT)?),
        11 => Value::I64(cursor.u64(WHAT)?.cast_signed()),
        12 => Value::F64(f64::from_bits(cursor.u64(WHAT)?)),
        _ => return Err(unknown_type(file, key, id)),
    })
}

fn unknown_type(file: &str, key: &str, id: u32) -> Error {
    Error::ValueType {
        file: file.to_owned(),
        key: key.to_owned(),
        id,
    }
}

/// The metadata of shard 0. Getters read any integer width and range-check it;
/// a key of another type is an error naming file, key and both types.
#[derive(Debug)]
pub struct Metadata {
    file: String,
    entries: Vec<(String, Value)>,
    by_key: FxHashMap<String, usize>,
}

impl Metadata {
    /// No entries yet; `file` is named in errors.
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            entries: Vec::new(),
            by_key: FxHashMap::default(),
        }
    }

    /// Adds an entry. A key that is there already is an error.
    pub(crate) fn insert(&mut self, key: String, value: Value) -> Result<(), Error> {
        if self
            .by_key
            .insert(key.clone(), self.entries.len())
            .is_some()
        {
            return Err(Error::DuplicateKey {
                file: self.file.clone(),
                key,
            });
        }
        self.entries.push((key, value));
        Ok(())
    }

    /// The file that the entries come from, for error messages of the rooms above.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All keys in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The raw value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&i| &self.entries[i].1)
    }

    /// An integer of any stored width that fits u32.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, Error> {
        self.get(key)
            .map(|value| self.integer(key, value, "u32"))
            .transpose()
    }

    /// An integer of any stored width that fits u64.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, Error> {
        self.get(key)
            .map(|value| self.integer(key, value, "u64"))
            .transpose()
    }

    /// A float (f32, f64 or any integer), as f32.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match *value {
            Value::F32(v) => Ok(Some(v)),
            Value::F64(v) => Ok(Some(v as f32)),
            _ => match value.integer() {
                Some(v) => Ok(Some(v as f32)),
                None => Err(self.wrong_type(key, value, "a float")),
            },
        }
    }

    /// A bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(v)) => Ok(Some(*v)),
            Some(other) => Err(self.wrong_type(key, other, "a bool")),
        }
    }

    /// A UTF-8 string.
    pub fn str(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(value @ Value::Str(bytes)) => std::str::from_utf8(bytes)
                .map(Some)
                .map_err(|_| self.wrong_type(key, value, "a UTF-8 string")),
            Some(other) => Err(self.wrong_type(key, other, "a string")),
        }
    }

    /// An array of byte strings.
    pub fn byte_strings(&self, key: &str) -> Result<Option<Vec<&[u8]>>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(self.wrong_type(key, value, "an array of strings"));
        };
        let strings = items.iter().map(|item| match item {
            Value::Str(bytes) => Ok(bytes.as_slice()),
            other => Err(self.wrong_type(key, other, "an array of strings")),
        });
        strings.collect::<Result<_, _>>().map(Some)
    }

    /// An array of integers that fit u32; a scalar counts as one element.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| self.integer(key, item, "u32"))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(value) => Ok(Some(vec![self.integer(key, value, "u32")?])),
        }
    }

    fn integer<T: TryFrom<i128>>(
        &self,
        key: &str,
        value: &Value,
        expected: &'static str,
    ) -> Result<T, Error> {
        let integer = value
            .integer()
            .ok_or_else(|| self.wrong_type(key, value, "an integer"))?;
        T::try_from(integer).map_err(|_| Error::OutOfRange {
            file: self.file.clone(),
            key: key.to_owned(),
            value: integer.to_string(),
            expected,
        })
    }

    fn wrong_type(&self, key: &str, found: &Value, expected: &'static str) -> Error {
        Error::WrongType {
            file: self.file.clone(),
            key: key.to_owned(),
            found: found.type_name(),
            expected,
        }
    }
}
