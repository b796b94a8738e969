//! Making a model in memory.

use std::io;

use memmap2::MmapMut;

use crate::layout::{Declared, Layout, Place};
use crate::map::{Bytes, shared_memory};
use crate::{Error, Gguf, Value};

/// A model in memory whose tensors have no bytes yet: what [`Stream`](crate::Stream) is for a
/// disk. On Linux the bytes are those of a file without a name, elsewhere anonymous memory.
pub struct InMemory {
    map: MmapMut,
    places: Vec<Place>,
}

impl InMemory {
    /// Writes the header; the tensors are zeros, which take no memory until they are written.
    ///
    /// # Errors
    /// A tensor whose rows are no whole number of blocks, or without a name that readers accept;
    /// no address space or memory for the file.
    pub fn create(entries: &[(String, Value)], tensors: &[Declared]) -> io::Result<Self> {
        let layout = Layout::new(entries, tensors.iter())?;
        let n_bytes = usize::try_from(layout.file_bytes())
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mut map = shared_memory(n_bytes)?;
        map[..layout.header().len()].copy_from_slice(layout.header());
        Ok(Self {
            map,
            places: layout.tensors().to_vec(),
        })
    }

    /// The bytes of a tensor, by its index in the list that the model was created with.
    ///
    /// # Panics
    /// When there are fewer tensors.
    pub fn tensor_mut(&mut self, tensor: usize) -> &mut [u8] {
        let place = self.places[tensor];
        // All places lie in the file, whose length is a `usize`.
        &mut self.map[place.offset as usize..][..place.n_bytes as usize]
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
        let map = self.map.make_read_only().map_err(wrap)?;
        Gguf::from_memory(name, Bytes::Memory(map))
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
        let mut model = InMemory::create(&entries, &tensors).unwrap();
        let mut writer = crate::Writer::new();
        writer.metadata("general.name", entries[0].1.clone());
        for (i, tensor) in tensors.iter().enumerate() {
            let n_bytes = tensor.n_bytes().unwrap() as usize;
            model.tensor_mut(i).fill(7 + i as u8);
            let bytes = vec![7 + i as u8; n_bytes];
            writer.tensor(&tensor.name, tensor.kind, &tensor.shape, bytes);
        }
        assert_eq!(model.map[..], writer.to_bytes());
        let gguf = model.finish("nowhere").unwrap();
        let b = gguf.tensor("b").unwrap();
        assert_eq!(gguf.bytes(b), [8; 20]);
    }

    #[test]
    fn a_model_beyond_all_memory_is_an_error() {
        let tensor = Declared {
            name: "a".to_owned(),
            kind: QuantKind::F32,
            shape: vec![1 << 58],
        };
        assert!(InMemory::create(&[], &[tensor]).is_err());
    }
}
