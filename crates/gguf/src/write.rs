//! Writing models.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use perigee_quant::QuantKind;

use crate::Value;
use crate::header::tensor_bytes;
use crate::limits::DEFAULT_ALIGNMENT;
use crate::shards::suffix;

struct Pending {
    record: TensorRecord,
    bytes: Vec<u8>,
}

/// Collects metadata and tensors, then writes one file or shards.
#[derive(Default)]
pub struct Writer {
    entries: Vec<(String, Value)>,
    tensors: Vec<Pending>,
}

impl Writer {
    /// An empty model.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metadata entry.
    pub fn metadata(&mut self, key: &str, value: Value) -> &mut Self {
        self.entries.push((key.to_owned(), value));
        self
    }

    /// Adds a tensor with its encoded bytes; `shape` in ggml order.
    ///
    /// # Panics
    /// If `bytes` has another length than the shape in this encoding.
    pub fn tensor(
        &mut self,
        name: &str,
        kind: QuantKind,
        shape: &[u64],
        bytes: Vec<u8>,
    ) -> &mut Self {
        let record = TensorRecord {
            name: name.to_owned(),
            kind,
            shape: shape.to_vec(),
        };
        assert_eq!(
            Some(bytes.len() as u64),
            record.n_bytes(),
            "bytes of {name}"
        );
        self.tensors.push(Pending { record, bytes });
        self
    }

    /// The complete single file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_file(&mut bytes, &self.entries, &self.tensors).expect("writing to memory");
        bytes
    }

    /// Writes one file: under a temporary name beside it, then renamed.
    ///
    /// # Errors
    /// The file cannot be written; nothing is left under its name.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_atomically(path, &self.entries, &self.tensors)
    }

    /// Writes `PREFIX-00001-of-NNNNN.gguf` … with at most `tensors_per_shard` tensors each, all
    /// metadata in the first, and returns the first path.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_shards(
        &self,
        dir: &Path,
        prefix: &str,
        tensors_per_shard: usize,
    ) -> io::Result<PathBuf> {
        let chunks: Vec<&[Pending]> = self.tensors.chunks(tensors_per_shard.max(1)).collect();
        self.write_chunks(dir, prefix, &chunks)
    }

    /// As [`Writer::write_shards`], with a first shard that holds the metadata and no tensor.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_shards_after_empty(
        &self,
        dir: &Path,
        prefix: &str,
        tensors_per_shard: usize,
    ) -> io::Result<PathBuf> {
        let mut chunks: Vec<&[Pending]> = vec![&[]];
        chunks.extend(self.tensors.chunks(tensors_per_shard.max(1)));
        self.write_chunks(dir, prefix, &chunks)
    }

    fn write_chunks(&self, dir: &Path, prefix: &str, chunks: &[&[Pending]]) -> io::Result<PathBuf> {
        let count = u16::try_from(chunks.len()).map_err(|_| io::Error::other("too many shards"))?;
        for (number, tensors) in (0..).zip(chunks) {
            let mut entries = if number == 0 {
                self.entries.clone()
            } else {
                Vec::new()
            };
            entries.push(("split.no".to_owned(), Value::U16(number)));
            entries.push(("split.count".to_owned(), Value::U16(count)));
            entries.push((
                "split.tensors.count".to_owned(),
                Value::I32(self.tensors.len() as i32),
            ));
            write_atomically(
                &dir.join(format!("{prefix}{}", suffix(number, count))),
                &entries,
                tensors,
            )?;
        }
        Ok(dir.join(format!("{prefix}{}", suffix(0, count))))
    }
}

fn write_atomically(
    path: &Path,
    entries: &[(String, Value)],
    tensors: &[Pending],
) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = (|| {
        let mut file = BufWriter::new(File::create(&partial)?);
        write_file(&mut file, entries, tensors)?;
        file.flush()?;
        fs::rename(&partial, path)
    })();
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn write_file(
    out: &mut impl Write,
    entries: &[(String, Value)],
    tensors: &[Pending],
) -> io::Result<()> {
    let records: Vec<TensorRecord> = tensors
        .iter()
        .map(|pending| pending.record.clone())
        .collect();
    let layout = Layout::new(entries, &records);
    out.write_all(layout.header())?;
    for (tensor, place) in tensors.iter().zip(layout.tensors()) {
        out.write_all(&tensor.bytes)?;
        out.write_all(&vec![0; place.padding as usize])?;
    }
    Ok(())
}

/// A tensor of a file that is to be written.
#[derive(Clone, Debug)]
pub struct TensorRecord {
    /// Name as in the file.
    pub name: String,
    /// Encoding.
    pub kind: QuantKind,
    /// Dimensions in ggml order.
    pub shape: Vec<u64>,
}

impl TensorRecord {
    /// Bytes of the encoded tensor; `None` when rows are no whole blocks or the size overflows.
    pub fn n_bytes(&self) -> Option<u64> {
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
    /// # Panics
    /// If a tensor has rows of partial blocks, or sizes overflow: a tensor that was read from
    /// a file has neither, and what is to be encoded is to be asked for its
    /// [size](TensorRecord::n_bytes) first.
    pub fn new(entries: &[(String, Value)], tensors: &[TensorRecord]) -> Self {
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
            let n_bytes = tensor.n_bytes().expect("a tensor of a size");
            // llama.cpp demands exactly the running sum of padded sizes.
            let padding = n_bytes.next_multiple_of(alignment) - n_bytes;
            places.push(Place {
                offset,
                n_bytes,
                padding,
            });
            offset = offset
                .checked_add(n_bytes + padding)
                .expect("a file of a size");
        }
        pad(&mut header, alignment);
        for place in &mut places {
            place.offset += header.len() as u64;
        }
        Self {
            header,
            tensors: places,
        }
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
