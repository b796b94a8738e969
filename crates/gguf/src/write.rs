//! Writing models.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use perigee_quant::QuantKind;

use crate::Value;
use crate::layout::{Declared, Layout};
use crate::shards::suffix;

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
        let declared = Declared {
            name: name.to_owned(),
            kind,
            shape: shape.to_vec(),
        };
        assert_eq!(
            Some(bytes.len() as u64),
            declared.n_bytes(),
            "bytes of {name}"
        );
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
    let layout = Layout::new(entries, tensors.iter().map(|tensor| &tensor.declared))?;
    out.write_all(layout.header())?;
    for (tensor, place) in tensors.iter().zip(layout.tensors()) {
        out.write_all(&tensor.bytes)?;
        out.write_all(&vec![0; place.padding as usize])?;
    }
    Ok(())
}
