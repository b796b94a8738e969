//! Logits as a NumPy array (format 1.0), written row by row.

use std::fs::{self, File};
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Bytes of the whole header: the shape is patched in when the number of rows is known.
const HEADER_BYTES: usize = 128;

/// A writer of `f32 [n_rows, n_columns]`. The file appears under its name when it is complete.
pub(super) struct NpyWriter {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    n_columns: usize,
    n_rows: usize,
}

impl NpyWriter {
    /// Opens `path.partial` beside the target.
    pub(super) fn create(path: &Path, n_columns: usize) -> Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file =
            File::create(&partial).with_context(|| format!("--logits-out {}", path.display()))?;
        let mut writer = Self {
            path: path.to_owned(),
            partial,
            file: BufWriter::new(file),
            n_columns,
            n_rows: 0,
        };
        writer.file.write_all(&[b' '; HEADER_BYTES])?;
        Ok(writer)
    }

    /// Appends one row.
    pub(super) fn row(&mut self, row: &[f32]) -> Result<()> {
        ensure!(
            row.len() == self.n_columns,
            "a row of {} values, expected {}",
            row.len(),
            self.n_columns
        );
        for value in row {
            self.file
                .write_all(&value.to_le_bytes())
                .with_context(|| format!("--logits-out {}", self.path.display()))?;
        }
        self.n_rows += 1;
        Ok(())
    }

    /// Writes the header and renames the file to its name.
    pub(super) fn finish(mut self) -> Result<()> {
        let context = || format!("--logits-out {}", self.path.display());
        let (n_rows, n_columns) = (self.n_rows, self.n_columns);
        let dictionary = format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {n_columns}), }}"
        );
        let mut header = [b' '; HEADER_BYTES];
        header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
        header[8..10].copy_from_slice(&((HEADER_BYTES - 10) as u16).to_le_bytes());
        header[10..10 + dictionary.len()].copy_from_slice(dictionary.as_bytes());
        header[HEADER_BYTES - 1] = b'\n';
        self.file.seek(SeekFrom::Start(0)).with_context(context)?;
        self.file.write_all(&header).with_context(context)?;
        self.file.flush().with_context(context)?;
        fs::rename(&self.partial, &self.path).with_context(context)?;
        Ok(())
    }
}
