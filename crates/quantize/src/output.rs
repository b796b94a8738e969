//! A file that grows under another name and survives an interruption.
//!
//! Beside `OUT.part` lies `OUT.resume`: what the file is being made of, then a line for each
//! time that whole tensors were known to be on the disk. A run that finds both, and would make
//! the same file, goes on after the last of those tensors.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use perigee_gguf::Layout;

/// Bytes after which what was written is known to be on the disk.
const SYNC_BYTES: u64 = 256 << 20;

pub(crate) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    journal: File,
    layout: Layout,
    /// Whole tensors.
    n_whole: usize,
    unsynced: u64,
    /// A disk that has failed may report success the next time and have lost what came before.
    failed: bool,
}

impl Output {
    /// Creates `path`'s partial file with its header, or opens the one that an earlier run
    /// with the same `fingerprint` has left.
    pub(crate) fn open(path: &Path, layout: Layout, fingerprint: &str) -> io::Result<Self> {
        let (partial, journal) = (part(path), resume(path));
        if let Some(left) = left(path, &layout, fingerprint)? {
            let n_whole = left.n_whole;
            let mut file = OpenOptions::new().write(true).open(&partial)?;
            let end = end_of(&layout, n_whole);
            file.set_len(end)?;
            file.seek(SeekFrom::End(0))?;
            let journal = OpenOptions::new().append(true).open(journal)?;
            // Else the next line would go on where a broken one ends.
            journal.set_len(left.journal_bytes)?;
            let file = BufWriter::with_capacity(1 << 20, file);
            return Ok(Self {
                path: path.to_owned(),
                file,
                journal,
                layout,
                n_whole,
                unsynced: 0,
                failed: false,
            });
        }
        // The journal goes first: without one a partial file is nobody's.
        let _ = fs::remove_file(&journal);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
        file.write_all(layout.header())?;
        let mut journal = File::create(&journal)?;
        journal.write_all(format!("{fingerprint}\n").as_bytes())?;
        Ok(Self {
            path: path.to_owned(),
            file,
            journal,
            layout,
            n_whole: 0,
            unsynced: 0,
            failed: false,
        })
    }

    /// Tensors that need not be written again.
    pub(crate) fn n_whole(&self) -> usize {
        self.n_whole
    }

    /// Adds bytes of the tensor that is being written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Ends a tensor.
    pub(crate) fn end_tensor(&mut self) -> io::Result<()> {
        let place = self.layout.tensors()[self.n_whole];
        self.file.write_all(&vec![0; place.padding as usize])?;
        self.n_whole += 1;
        self.unsynced += place.n_bytes + place.padding;
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Waits for the disk, then notes how many tensors are whole.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if self.failed {
            return Err(io::Error::other("an earlier write has failed"));
        }
        let synced = self.file.get_ref().sync_data();
        self.failed = synced.is_err();
        synced?;
        self.unsynced = 0;
        self.journal
            .write_all(format!("{}\n", self.n_whole).as_bytes())?;
        self.journal.sync_data()
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.sync()?;
        self.file.get_ref().sync_all()?;
        fs::rename(part(&self.path), &self.path)?;
        fs::remove_file(resume(&self.path))
    }
}

pub(crate) fn part(path: &Path) -> PathBuf {
    path.with_added_extension("part")
}

pub(crate) fn resume(path: &Path) -> PathBuf {
    path.with_added_extension("resume")
}

/// Where tensor `n` begins.
fn end_of(layout: &Layout, n: usize) -> u64 {
    let place = layout.tensors().get(n);
    place.map_or(layout.file_bytes(), |place| place.offset)
}

/// What an earlier run has left.
struct Left {
    n_whole: usize,
    /// Bytes of the journal's whole lines.
    journal_bytes: u64,
}

/// What an earlier run has left; `None` when there is nothing to go on with.
fn left(path: &Path, layout: &Layout, fingerprint: &str) -> io::Result<Option<Left>> {
    let (Ok(journal), Ok(partial)) = (fs::read_to_string(resume(path)), fs::metadata(part(path)))
    else {
        return Ok(None);
    };
    // The last line may have been cut short: only lines that end count.
    let ended = journal.rfind('\n').map_or("", |end| &journal[..=end]);
    let Some(notes) = ended
        .strip_prefix(fingerprint)
        .and_then(|rest| rest.strip_prefix('\n'))
    else {
        return Ok(None);
    };
    let n = notes.lines().filter_map(|line| line.parse().ok()).max();
    let n_whole: usize = n.unwrap_or(0);
    if n_whole > layout.tensors().len() || partial.len() < end_of(layout, n_whole) {
        return Ok(None);
    }
    let same = begins_with(&part(path), layout.header())?;
    Ok(same.then_some(Left {
        n_whole,
        journal_bytes: ended.len() as u64,
    }))
}

/// Whether a file begins with a header.
pub(crate) fn begins_with(path: &Path, header: &[u8]) -> io::Result<bool> {
    let mut found = Vec::with_capacity(header.len());
    let file = File::open(path)?;
    file.take(header.len() as u64).read_to_end(&mut found)?;
    Ok(found == header)
}
