//! Writing a model that is larger than memory.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Value;
use crate::layout::{Declared, Layout};
use crate::write::partial_path;

/// One file whose tensors arrive piece by piece, in the order in which they were declared.
///
/// The bytes grow in `PATH.part`. [`Stream::finish`] gives the file its name once it is whole;
/// a stream that is dropped before removes what it has written.
pub struct Stream {
    /// `None` only while being finished or dropped.
    out: Option<BufWriter<File>>,
    partial: PathBuf,
    path: PathBuf,
    /// Tensors that are not whole yet.
    open: VecDeque<Open>,
}

/// A tensor that is not whole yet.
struct Open {
    name: String,
    /// Bytes that it lacks.
    missing: u64,
    /// Zeros after it.
    padding: u64,
}

impl Stream {
    /// Creates `PATH.part` and writes the header.
    ///
    /// # Errors
    /// A tensor whose rows are no whole number of blocks, or without a name that readers
    /// accept; the file cannot be created or written.
    pub fn create(
        path: &Path,
        entries: &[(String, Value)],
        tensors: &[Declared],
    ) -> io::Result<Self> {
        let layout = Layout::new(entries, tensors.iter())?;
        let open = tensors.iter().zip(layout.tensors());
        let open = open.map(|(tensor, place)| Open {
            name: tensor.name.clone(),
            missing: place.n_bytes,
            padding: place.padding,
        });
        let partial = partial_path(path);
        let file = File::create(&partial)?;
        let mut stream = Self {
            out: Some(BufWriter::with_capacity(1 << 20, file)),
            partial,
            path: path.to_owned(),
            open: open.collect(),
        };
        stream.put(layout.header())?;
        Ok(stream)
    }

    /// Adds the next bytes of the first tensor that is not whole yet.
    ///
    /// # Errors
    /// More bytes than that tensor lacks; the file cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tensor) = self.open.front_mut() else {
            return Err(io::Error::other("bytes after the last tensor"));
        };
        let (n_bytes, missing) = (bytes.len() as u64, tensor.missing);
        tensor.missing = missing.checked_sub(n_bytes).ok_or_else(|| {
            let name = &tensor.name;
            io::Error::other(format!(
                "{n_bytes} bytes for tensor {name}, which lacks {missing}"
            ))
        })?;
        let (whole, padding) = (tensor.missing == 0, tensor.padding);
        self.put(bytes)?;
        if whole {
            self.open.pop_front();
            self.put(&vec![0; padding as usize])?;
        }
        Ok(())
    }

    /// Waits until the bytes are on the disk and gives the file its name.
    ///
    /// # Errors
    /// A tensor is not whole; the file cannot be written or renamed. Nothing is left under
    /// either name then, unless a file was there before.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(Open { name, missing, .. }) = self.open.front() {
            return Err(io::Error::other(format!(
                "tensor {name} lacks {missing} bytes"
            )));
        }
        if let Some(out) = &mut self.out {
            out.flush()?;
            out.get_ref().sync_all()?;
            fs::rename(&self.partial, &self.path)?;
        }
        self.out = None;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Some(out) => out.write_all(bytes),
            None => Ok(()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // Without the flush that dropping the buffer would try: a full disk fails again.
            drop(out.into_parts());
            // Best effort: the error that matters is the first one.
            let _ = fs::remove_file(&self.partial);
        }
    }
}
