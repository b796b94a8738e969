//! The bytes of a file: mapped, borrowed or owned.

use std::fs::{File, OpenOptions};
use std::path::Path;

use memmap2::Mmap;

use crate::Error;

/// Where the bytes of a shard are.
pub(crate) enum Bytes {
    /// Fields go in this order: a range must not be watched after it is unmapped.
    Mapped {
        #[cfg(unix)]
        _watch: crate::sigbus::Watch,
        map: Mmap,
    },
    /// No file, so nobody else can change it.
    Memory(Mmap),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file of [`nameless_file`], whose only descriptor this is.
    pub(crate) fn map_nameless(file: File) -> std::io::Result<Self> {
        // SAFETY: the file has no name and its only descriptor ends with this function, so that
        // no one can shorten or change what is mapped.
        Ok(Self::Memory(unsafe { Mmap::map(&file) }?))
    }

    /// Maps a whole file, read-only.
    pub(crate) fn map(path: &Path) -> Result<Self, Error> {
        let wrap = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = open(path).map_err(wrap)?;
        let metadata = file.metadata().map_err(wrap)?;
        if !metadata.is_file() {
            let path = path.to_owned();
            return Err(Error::NotAFile { path });
        }
        if metadata.len() == 0 {
            return Ok(Self::Static(&[]));
        }
        // SAFETY: the mapping is read-only and private to this value, and all reads through it
        // are of plain bytes, for which every bit pattern is valid. What cannot be promised is
        // that no other process changes the file meanwhile: one that truncates it makes reads
        // beyond its new end raise SIGBUS, which stops this process with a message (`sigbus.rs`),
        // and one that rewrites it makes reads return other bytes. Neither can corrupt this process's own memory. The header
        // is parsed once, into owned values, and never read again, so that a later change can
        // not contradict what was checked.
        let map = unsafe { Mmap::map(&file) };
        let map = map.map_err(wrap)?;
        Ok(Self::Mapped {
            #[cfg(unix)]
            _watch: crate::sigbus::Watch::new(path, &map),
            map,
        })
    }
}

/// Opens for reading, without waiting: a pipe under a model's name would block until somebody
/// writes into it.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    options.open(path)
}

/// A file in memory that has no name.
#[cfg(target_os = "linux")]
pub(crate) fn nameless_file() -> std::io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a string with its zero; there is no other pointer.
    let descriptor = unsafe { libc::memfd_create(c"model".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nothing else knows its number.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// A file in memory that has no name.
#[cfg(not(target_os = "linux"))]
pub(crate) fn nameless_file() -> std::io::Result<File> {
    let kind = std::io::ErrorKind::Unsupported;
    Err(std::io::Error::new(kind, "files in memory need Linux"))
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped { map, .. } | Self::Memory(map) => map,
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}
