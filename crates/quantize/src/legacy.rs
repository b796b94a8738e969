//! ik_llama.cpp's importance files: little-endian, no magic.
//!
//! i32 number of entries; each: i32 length and bytes of the name, i32 calls, i32 number of
//! values, f32 values, which are means times calls. Then, in newer files, i32 chunks, i32
//! length and bytes of the name of the text.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use crate::{Activations, Imatrix, ImatrixError};

/// No tensor name of any model is as long.
const MAX_NAME_BYTES: u64 = 1024;
/// Names of texts are paths.
const MAX_DATASET_BYTES: u64 = 1 << 16;

/// Reads a file; every count is held against the bytes that are left.
pub(crate) fn read(path: &Path) -> Result<Imatrix, ImatrixError> {
    let io = |source| ImatrixError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let left = file.metadata().map_err(io)?.len();
    let mut reader = Reader {
        path,
        file: BufReader::new(file),
        left,
    };
    let n_entries = reader.count("the number of entries", 12)?;
    let mut imatrix = Imatrix::default();
    for _ in 0..n_entries {
        let name = reader.string(MAX_NAME_BYTES)?;
        let n_calls = reader.count("the number of calls", 0)?;
        let n_values = reader.count("the number of values", 4)?;
        let mut bytes = vec![0; 4 * n_values as usize];
        reader.fill("values", &mut bytes)?;
        let calls = n_calls.max(1) as f32;
        let words = bytes.as_chunks::<4>().0.iter();
        let values = words.map(|word| f32::from_le_bytes(*word) / calls);
        imatrix.insert(name, values.collect());
    }
    if imatrix.names().len() == 0 {
        return Err(reader.malformed("no importances".to_owned()));
    }
    if reader.left > 0 {
        imatrix.n_chunks = reader.count("the number of chunks", 0)? as u32;
        imatrix.datasets = vec![reader.string(MAX_DATASET_BYTES)?];
    }
    Ok(imatrix)
}

struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    left: u64,
}

impl Reader<'_> {
    fn malformed(&self, what: String) -> ImatrixError {
        ImatrixError::Malformed {
            path: self.path.to_owned(),
            what,
        }
    }

    fn fill(&mut self, what: &str, bytes: &mut [u8]) -> Result<(), ImatrixError> {
        let n = bytes.len() as u64;
        if n > self.left {
            let left = self.left;
            return Err(self.malformed(format!(
                "no importance matrix, or cut short: {what} need {n} bytes and {left} are left"
            )));
        }
        self.left -= n;
        self.file
            .read_exact(bytes)
            .map_err(|source| ImatrixError::Io {
                path: self.path.to_owned(),
                source,
            })
    }

    /// A count of things of at least `size` bytes each.
    fn count(&mut self, what: &str, size: u64) -> Result<u64, ImatrixError> {
        let mut bytes = [0; 4];
        self.fill(what, &mut bytes)?;
        let count = i32::from_le_bytes(bytes);
        match u64::try_from(count) {
            Ok(count) if count * size <= self.left => Ok(count),
            _ => Err(self.malformed(format!(
                "no importance matrix, or damaged: {what} is {count}"
            ))),
        }
    }

    fn string(&mut self, most: u64) -> Result<String, ImatrixError> {
        let len = self.count("the length of a name", 1)?;
        if len > most {
            return Err(self.malformed(format!("a name of {len} bytes")));
        }
        let mut bytes = vec![0; len as usize];
        self.fill("a name", &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes)
            .trim_end_matches('\0')
            .to_owned())
    }
}

/// Writes a file, beside its name first.
pub(crate) fn write(
    path: &Path,
    activations: &Activations,
    dataset: &str,
    n_chunks: u32,
) -> io::Result<()> {
    let partial = path.with_added_extension("part");
    let written = (|| {
        let mut out = BufWriter::new(File::create(&partial)?);
        put(&mut out, activations, dataset, n_chunks)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&partial, path)
    })();
    if written.is_err() {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn put(
    out: &mut impl Write,
    activations: &Activations,
    dataset: &str,
    n_chunks: u32,
) -> io::Result<()> {
    let count = |n: usize| i32::try_from(n).map_err(|_| io::Error::other("too many values"));
    // Values are means times calls: without calls there would be nothing left of them.
    let n_calls = i32::try_from(n_chunks.max(1)).map_err(io::Error::other)?;
    out.write_all(&count(activations.sums.len())?.to_le_bytes())?;
    for (name, sums) in &activations.sums {
        put_string(out, name)?;
        out.write_all(&n_calls.to_le_bytes())?;
        let means = sums.means();
        out.write_all(&count(means.len())?.to_le_bytes())?;
        for mean in means {
            out.write_all(&(mean * n_calls as f32).to_le_bytes())?;
        }
    }
    out.write_all(&n_chunks.to_le_bytes())?;
    put_string(out, dataset)
}

fn put_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    let len = i32::try_from(text.len()).map_err(io::Error::other)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(text.as_bytes())
}
