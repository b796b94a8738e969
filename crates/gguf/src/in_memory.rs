//! Making a model in memory.

use std::fs::File;
use std::io;

use crate::layout::{Declared, Layout, Place};
use crate::map::{Bytes, nameless_file};
use crate::{Error, Gguf, Value};

/// A model in memory whose tensors are yet to be written: what [`Stream`](crate::Stream) is for
/// a disk, but in any order and from several threads. The bytes are those of a file without a
/// name (Linux only), which takes memory as it is written and ends with the model.
///
/// Writing to a file spares the system from clearing pages that are overwritten at once, which a
/// mapping would have it do.
pub struct InMemory {
    file: File,
    places: Vec<Place>,
}

impl InMemory {
    /// Writes the header; what is not written after it stays zeros.
    ///
    /// # Errors
    /// A tensor whose rows are no whole number of blocks, or without a name that readers accept;
    /// a system without files in memory; a size beyond what files can have.
    pub fn create(entries: &[(String, Value)], tensors: &[Declared]) -> io::Result<Self> {
        let layout = Layout::new(entries, tensors.iter())?;
        let file = nameless_file()?;
        file.set_len(layout.file_bytes())?;
        let places = layout.tensors().to_vec();
        let made = Self { file, places };
        made.write_at(0, layout.header())?;
        Ok(made)
    }

    /// Writes bytes of a tensor, by its index in the list that the model was created with, from
    /// `offset` in the tensor on.
    ///
    /// # Errors
    /// No such tensor, bytes beyond its end, no memory.
    pub fn write(&self, tensor: usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let place = self.places.get(tensor).filter(|place| {
            let end = offset.checked_add(bytes.len() as u64);
            end.is_some_and(|end| end <= place.n_bytes)
        });
        match place {
            Some(place) => self.write_at(place.offset + offset, bytes),
            None => Err(io::Error::other(format!(
                "{} bytes at {offset} are not in tensor {tensor}",
                bytes.len()
            ))),
        }
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens the model; `name` stands for the path in errors.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn finish(self, name: &str) -> Result<Gguf, Error> {
        let wrap = |source| Error::Io {
            path: name.into(),
            source,
        };
        let bytes = Bytes::map_nameless(self.file).map_err(wrap)?;
        Gguf::from_memory(name, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perigee_quant::QuantKind;

    #[test]
    fn a_model_in_memory_is_the_file_that_a_writer_makes() {
        let entries = [("general.name".to_owned(), Value::Str(b"m".to_vec()))];
        let declared = |name: &str, n: u64| Declared {
            name: name.to_owned(),
            kind: QuantKind::F32,
            shape: vec![n],
        };
        let tensors = [declared("a", 3), declared("b", 5)];
        let model = InMemory::create(&entries, &tensors).unwrap();
        let mut writer = crate::Writer::new();
        writer.metadata("general.name", entries[0].1.clone());
        for (i, tensor) in tensors.iter().enumerate() {
            let bytes: Vec<u8> = (0..tensor.n_bytes().unwrap() as u8).collect();
            let (first, second) = bytes.split_at(5);
            model.write(i, 5, second).unwrap();
            model.write(i, 0, first).unwrap();
            assert!(model.write(i, 6, second).is_err());
            writer.tensor(&tensor.name, tensor.kind, &tensor.shape, bytes);
        }
        assert!(model.write(2, 0, &[]).is_err());
        let gguf = model.finish("nowhere").unwrap();
        assert_eq!(gguf.file_bytes(), writer.to_bytes().len() as u64);
        let want: Vec<u8> = (0..20).collect();
        assert_eq!(gguf.bytes(gguf.tensor("b").unwrap()), want);
        assert_eq!(gguf.bytes(gguf.tensor("a").unwrap()), &want[..12]);
    }

    #[test]
    fn a_model_beyond_all_files_is_an_error() {
        let tensor = Declared {
            name: "a".to_owned(),
            kind: QuantKind::F32,
            shape: vec![1 << 61],
        };
        assert!(InMemory::create(&[], &[tensor]).is_err());
    }
}
