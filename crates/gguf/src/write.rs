//! Writing models.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use perigee_quant::QuantKind;

use crate::Value;
use crate::limits::DEFAULT_ALIGNMENT;
use crate::shards::suffix;

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
        let (row_len, dims) = self.shape.split_first()?;
        let row_bytes = self.kind.row_bytes(usize::try_from(*row_len).ok()?)?;
        dims.iter()
            .try_fold(row_bytes as u64, |bytes, &n| bytes.checked_mul(n))
    }
}

struct Pending {
    declared: Declared,
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

    /// Adds a metadata entry. An array takes its element type from its first element.
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
        let declared = Declared {
            name: name.to_owned(),
            kind,
            shape: shape.to_vec(),
        };
        let n_bytes = declared.n_bytes().expect("rows of whole blocks");
        assert_eq!(bytes.len() as u64, n_bytes, "bytes of {name}");
        self.tensors.push(Pending { declared, bytes });
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
    let partial = partial_path(path);
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

/// Where a file grows until it is whole: `PATH.part`.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".part");
    PathBuf::from(partial)
}

fn write_file(
    out: &mut impl Write,
    entries: &[(String, Value)],
    tensors: &[Pending],
) -> io::Result<()> {
    let alignment = alignment(entries);
    out.write_all(&header(
        entries,
        tensors.iter().map(|tensor| &tensor.declared),
    )?)?;
    for tensor in tensors {
        out.write_all(&tensor.bytes)?;
        let padding =
            (tensor.bytes.len() as u64).next_multiple_of(alignment) - tensor.bytes.len() as u64;
        out.write_all(&vec![0; padding as usize])?;
    }
    Ok(())
}

/// Everything before the first tensor's bytes, padded to the alignment.
pub(crate) fn header<'a>(
    entries: &[(String, Value)],
    tensors: impl ExactSizeIterator<Item = &'a Declared>,
) -> io::Result<Vec<u8>> {
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
    let mut offset = 0_u64;
    for tensor in tensors {
        put_string(&mut header, tensor.name.as_bytes());
        header.extend_from_slice(&(tensor.shape.len() as u32).to_le_bytes());
        for n in &tensor.shape {
            header.extend_from_slice(&n.to_le_bytes());
        }
        header.extend_from_slice(&tensor.kind.id().to_le_bytes());
        header.extend_from_slice(&offset.to_le_bytes());
        // llama.cpp demands exactly the running sum of padded sizes.
        offset = tensor
            .n_bytes()
            .and_then(|n_bytes| offset.checked_add(n_bytes.checked_next_multiple_of(alignment)?))
            .ok_or_else(|| io::Error::other(format!("tensor {} has no size", tensor.name)))?;
    }
    pad(&mut header, alignment);
    Ok(header)
}

pub(crate) fn alignment(entries: &[(String, Value)]) -> u64 {
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

fn put_value(out: &mut Vec<u8>, value: &Value) {
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
            // An empty array needs some element type; u32 is as good as any.
            let element = items.first().map_or(4, Value::type_id);
            out.extend_from_slice(&element.to_le_bytes());
            out.extend_from_slice(&(items.len() as u64).to_le_bytes());
            for item in items {
                put_value(out, item);
            }
        }
    }
}
