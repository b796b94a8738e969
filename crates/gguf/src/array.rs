//! Arrays of metadata, kept as compactly as in the file.

use crate::cursor::Cursor;
use crate::limits::{MAX_ARRAY_LEN, MAX_STRING_BYTES};
use crate::value::{ARRAY, STRING, scalar, scalar_bytes, unknown_type};
use crate::{Error, Value};

/// Elements of one type, none of them an array. Scalars take the bytes that they take in the
/// file, strings four bytes more than their text: half of what they take there.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    element: u32,
    /// Scalars little-endian, or the texts of all strings without their lengths.
    bytes: Vec<u8>,
    /// Of strings: where in `bytes` each ends.
    ends: Vec<u32>,
}

impl Array {
    /// Elements.
    pub fn len(&self) -> usize {
        match scalar_bytes(self.element) {
            Some(size) => self.bytes.len() / size,
            None => self.ends.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value> {
        // One of the two is empty: an array has scalars or strings.
        let scalars = scalar_bytes(self.element).map(|size| self.bytes.chunks_exact(size));
        let scalars = scalars.into_iter().flatten();
        let scalars = scalars.filter_map(|bytes| scalar(self.element, bytes));
        let strings = self.strings().into_iter().flatten();
        scalars.chain(strings.map(|text| Value::Str(text.to_vec())))
    }

    /// The elements of an array of strings; `None` for another.
    pub fn strings(&self) -> Option<impl Iterator<Item = &[u8]>> {
        (self.element == STRING).then(|| {
            let begins = std::iter::once(0).chain(self.ends.iter().copied());
            let ranges = begins.zip(&self.ends);
            ranges.map(|(begin, &end)| &self.bytes[begin as usize..end as usize])
        })
    }

    /// The id of the element type.
    pub(crate) fn element_type(&self) -> u32 {
        self.element
    }

    /// The bytes of an array of scalars.
    pub(crate) fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn of_strings<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> Self {
        let mut array = Self::empty(STRING);
        for item in items {
            array.push_text(item.as_ref());
        }
        array
    }

    pub(crate) fn of_values(items: impl IntoIterator<Item = Value>) -> Self {
        let mut items = items.into_iter().peekable();
        let mut array = Self::empty(items.peek().map_or(4, Value::type_id));
        for item in items {
            assert_eq!(item.type_id(), array.element, "elements of one type");
            match item {
                Value::Str(text) => array.push_text(&text),
                Value::Array(_) => panic!("an array of arrays"),
                scalar => crate::layout::put_value(&mut array.bytes, &scalar),
            }
        }
        array
    }

    fn empty(element: u32) -> Self {
        Self {
            element,
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn push_text(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        let end = u32::try_from(self.bytes.len());
        self.ends.push(end.expect("metadata is far below 4 GiB"));
    }

    /// Reads element type, length and elements of the array `key`. Nothing is reserved before
    /// the bytes are known to be there.
    pub(crate) fn read(cursor: &mut Cursor<'_>, file: &str, key: &str) -> Result<Self, Error> {
        let element = cursor.u32("an array's element type")?;
        if element == ARRAY {
            return Err(Error::NestedArray {
                file: file.to_owned(),
                key: key.to_owned(),
            });
        }
        // A string is at least its length.
        let size = match element {
            STRING => 8,
            _ => scalar_bytes(element).ok_or_else(|| unknown_type(file, key, element))?,
        };
        let count = cursor.u64("an array's length")?;
        let limit = (cursor.remaining() / size).min(MAX_ARRAY_LEN);
        let count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= limit)
            .ok_or_else(|| Error::TooMany {
                file: file.to_owned(),
                what: "array elements",
                count,
                limit: limit as u64,
            })?;
        if element == STRING {
            return Self::read_strings(cursor, count);
        }
        let bytes = cursor.take(WHAT, (count * size) as u64)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            ..Self::empty(element)
        })
    }

    fn read_strings(cursor: &mut Cursor<'_>, count: usize) -> Result<Self, Error> {
        // Once for the size, once for the texts: a vector that grows takes three times its size.
        let mut probe = cursor.clone();
        let mut n_bytes = 0;
        for _ in 0..count {
            n_bytes += probe.string(WHAT, MAX_STRING_BYTES)?.len();
        }
        let mut array = Self {
            element: STRING,
            bytes: Vec::with_capacity(n_bytes),
            ends: Vec::with_capacity(count),
        };
        for _ in 0..count {
            array.push_text(cursor.string(WHAT, MAX_STRING_BYTES)?);
        }
        Ok(array)
    }
}

const WHAT: &str = "a metadata value";
