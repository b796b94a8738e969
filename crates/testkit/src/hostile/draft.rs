//! A file taken apart.

use std::sync::Arc;

/// The value type of strings.
pub const STRING: u32 = 8;
/// The value type of arrays.
pub const ARRAY: u32 = 9;

/// Bytes of a scalar by value type; `None` for strings, arrays and unknown types.
pub(crate) fn scalar_bytes(type_id: u32) -> Option<usize> {
    match type_id {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// The encoding of a string: its length in 64 bits, then its bytes.
pub fn string(text: &[u8]) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(text);
    out
}

/// The encoding of an array: element type, the `count` that is claimed, then the elements.
pub fn array(element: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    let mut out = element.to_le_bytes().to_vec();
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(elements);
    out
}

/// A metadata entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Bytes of the key, UTF-8 or not.
    pub key: Vec<u8>,
    /// Overrides the length of the key that the file states.
    pub key_len: Option<u64>,
    /// Value type.
    pub type_id: u32,
    /// Encoded value.
    pub value: Vec<u8>,
}

/// A tensor record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Bytes of the name, UTF-8 or not.
    pub name: Vec<u8>,
    /// Overrides the length of the name that the file states.
    pub name_len: Option<u64>,
    /// Overrides the number of dimensions that the file states.
    pub n_dims: Option<u32>,
    /// Dimensions, as many as there are.
    pub shape: Vec<u64>,
    /// `ggml_type` id.
    pub type_id: u32,
    /// Offset in the data section.
    pub offset: u64,
}

/// What a field of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the fields of the format")]
pub enum FieldKind {
    Magic,
    Version,
    TensorCount,
    EntryCount,
    KeyLength,
    Key,
    ValueType,
    /// A number or a bool, alone.
    Scalar,
    /// The length of a string, alone or in an array.
    StringLength,
    Text,
    ElementType,
    ArrayLength,
    Elements,
    NameLength,
    Name,
    DimensionCount,
    Dimension,
    TensorType,
    Offset,
    /// Between the header and the data section.
    Padding,
    Data,
}

/// Where a field lies in the bytes of a draft.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What it is.
    pub kind: FieldKind,
    /// First byte.
    pub at: usize,
    /// Bytes.
    pub len: usize,
}

/// A file in pieces that need not fit each other.
#[derive(Clone, Debug)]
pub struct Draft {
    /// First four bytes.
    pub magic: [u8; 4],
    /// Format version.
    pub version: u32,
    /// Overrides the number of tensors that the header states.
    pub n_tensors: Option<u64>,
    /// Overrides the number of metadata entries that the header states.
    pub n_entries: Option<u64>,
    /// Metadata.
    pub entries: Vec<Entry>,
    /// Tensor records.
    pub records: Vec<Record>,
    /// The header is padded to a multiple of this.
    pub alignment: usize,
    /// The data section.
    pub data: Arc<[u8]>,
}

impl Draft {
    /// Takes a valid file apart.
    ///
    /// # Panics
    /// When the file is not valid.
    pub fn of(file: &[u8]) -> Self {
        let mut rest = Rest(file);
        let magic = rest.take(4).try_into().expect("four bytes");
        let version = rest.u32();
        let (n_tensors, n_entries) = (rest.u64(), rest.u64());
        let entries: Vec<Entry> = (0..n_entries).map(|_| rest.entry()).collect();
        let records = (0..n_tensors).map(|_| rest.record()).collect();
        let alignment = entries
            .iter()
            .find(|entry| entry.key == b"general.alignment")
            .map_or(32, |entry| {
                u32::from_le_bytes(entry.value[..4].try_into().expect("four bytes"))
            });
        let header = file.len() - rest.0.len();
        let begin = header.next_multiple_of(alignment as usize).min(file.len());
        Self {
            magic,
            version,
            n_tensors: None,
            n_entries: None,
            entries,
            records,
            alignment: alignment as usize,
            data: file[begin..].into(),
        }
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.assemble().0
    }

    /// The bytes of the file, and its fields in order, without gaps.
    pub fn assemble(&self) -> (Vec<u8>, Vec<Field>) {
        let mut out = Assembly::default();
        out.put(FieldKind::Magic, &self.magic);
        out.put(FieldKind::Version, &self.version.to_le_bytes());
        let n_tensors = self.n_tensors.unwrap_or(self.records.len() as u64);
        out.put(FieldKind::TensorCount, &n_tensors.to_le_bytes());
        let n_entries = self.n_entries.unwrap_or(self.entries.len() as u64);
        out.put(FieldKind::EntryCount, &n_entries.to_le_bytes());
        for entry in &self.entries {
            let len = entry.key_len.unwrap_or(entry.key.len() as u64);
            out.put(FieldKind::KeyLength, &len.to_le_bytes());
            out.put(FieldKind::Key, &entry.key);
            out.put(FieldKind::ValueType, &entry.type_id.to_le_bytes());
            out.value(entry.type_id, &entry.value);
        }
        for record in &self.records {
            let len = record.name_len.unwrap_or(record.name.len() as u64);
            out.put(FieldKind::NameLength, &len.to_le_bytes());
            out.put(FieldKind::Name, &record.name);
            let n_dims = record.n_dims.unwrap_or(record.shape.len() as u32);
            out.put(FieldKind::DimensionCount, &n_dims.to_le_bytes());
            for n in &record.shape {
                out.put(FieldKind::Dimension, &n.to_le_bytes());
            }
            out.put(FieldKind::TensorType, &record.type_id.to_le_bytes());
            out.put(FieldKind::Offset, &record.offset.to_le_bytes());
        }
        let len = out.bytes.len();
        let padding = len.next_multiple_of(self.alignment) - len;
        out.put(FieldKind::Padding, &vec![0; padding]);
        out.put(FieldKind::Data, &self.data);
        (out.bytes, out.fields)
    }

    /// The entry of that key.
    ///
    /// # Panics
    /// When there is none.
    pub fn entry(&mut self, key: &str) -> &mut Entry {
        let found = self
            .entries
            .iter_mut()
            .find(|entry| entry.key == key.as_bytes());
        found.unwrap_or_else(|| panic!("no entry {key}"))
    }

    /// Replaces the value of a key, or adds the key.
    pub fn set(&mut self, key: &str, type_id: u32, value: &[u8]) {
        self.entries.retain(|entry| entry.key != key.as_bytes());
        self.add(key, type_id, value);
    }

    /// Adds an entry, whether the key is there or not.
    pub fn add(&mut self, key: &str, type_id: u32, value: &[u8]) {
        self.entries.push(Entry {
            key: key.as_bytes().to_vec(),
            key_len: None,
            type_id,
            value: value.to_vec(),
        });
    }

    /// The record of that tensor.
    ///
    /// # Panics
    /// When there is none.
    pub fn record(&mut self, name: &str) -> &mut Record {
        let found = self
            .records
            .iter_mut()
            .find(|record| record.name == name.as_bytes());
        found.unwrap_or_else(|| panic!("no tensor {name}"))
    }
}

#[derive(Default)]
struct Assembly {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Assembly {
    fn put(&mut self, kind: FieldKind, bytes: &[u8]) {
        let (at, len) = (self.bytes.len(), bytes.len());
        self.fields.push(Field { kind, at, len });
        self.bytes.extend_from_slice(bytes);
    }

    /// The fields of a value as far as it is what its type says; the rest is elements.
    fn value(&mut self, type_id: u32, value: &[u8]) {
        match type_id {
            STRING if value.len() >= 8 => self.text(value),
            ARRAY if value.len() >= 12 => {
                let (element, rest) = value.split_at(4);
                let (count, mut rest) = rest.split_at(8);
                self.put(FieldKind::ElementType, element);
                self.put(FieldKind::ArrayLength, count);
                if element == STRING.to_le_bytes() {
                    // The lengths of a few strings stand for those of all.
                    for _ in 0..4 {
                        let Some((len, text)) = rest.split_first_chunk() else {
                            break;
                        };
                        let len = u64::from_le_bytes(*len).min(text.len() as u64) as usize;
                        self.text(&rest[..8 + len]);
                        rest = &rest[8 + len..];
                    }
                }
                self.put(FieldKind::Elements, rest);
            }
            _ => self.put(FieldKind::Scalar, value),
        }
    }

    fn text(&mut self, encoded: &[u8]) {
        let (len, text) = encoded.split_at(8);
        self.put(FieldKind::StringLength, len);
        self.put(FieldKind::Text, text);
    }
}

/// What is left of a valid file.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    fn text(&mut self) -> Vec<u8> {
        let len = self.u64();
        self.take(len as usize).to_vec()
    }

    fn entry(&mut self) -> Entry {
        let key = self.text();
        let type_id = self.u32();
        let before = self.0;
        self.skip_value(type_id);
        let value = before[..before.len() - self.0.len()].to_vec();
        Entry {
            key,
            key_len: None,
            type_id,
            value,
        }
    }

    fn skip_value(&mut self, type_id: u32) {
        match type_id {
            STRING => {
                self.text();
            }
            ARRAY => {
                let (element, count) = (self.u32(), self.u64());
                for _ in 0..count {
                    self.skip_value(element);
                }
            }
            scalar => {
                self.take(scalar_bytes(scalar).expect("a known type"));
            }
        }
    }

    fn record(&mut self) -> Record {
        let name = self.text();
        let n_dims = self.u32();
        Record {
            name,
            name_len: None,
            n_dims: None,
            shape: (0..n_dims).map(|_| self.u64()).collect(),
            type_id: self.u32(),
            offset: self.u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Draft, FieldKind};
    use crate::hostile::bases;

    #[test]
    fn a_draft_is_written_as_it_was_read_and_fields_leave_no_gap() {
        for base in bases() {
            let (bytes, fields) = base.assemble();
            let again = Draft::of(&bytes);
            assert_eq!(again.to_bytes(), bytes);
            let mut at = 0;
            for field in &fields {
                assert_eq!(field.at, at);
                at += field.len;
            }
            assert_eq!(at, bytes.len());
            assert_eq!(fields.last().map(|field| field.kind), Some(FieldKind::Data));
        }
    }
}
