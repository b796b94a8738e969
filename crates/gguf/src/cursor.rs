//! Reading little-endian values, each bounded by the bytes that remain.

use crate::Error;

/// A position in the bytes of a header.
pub(crate) struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`; `file` is named in errors.
    pub(crate) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            file,
            bytes,
            position: 0,
        }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, what: &'static str, n: u64) -> Result<&'a [u8], Error> {
        match usize::try_from(n) {
            Ok(n) if n <= self.remaining() => {
                let taken = &self.bytes[self.position..self.position + n];
                self.position += n;
                Ok(taken)
            }
            _ => Err(Error::Truncated {
                file: self.file.to_owned(),
                what,
                offset: self.position,
                needed: n,
                remaining: self.remaining(),
            }),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let taken = self.take(what, N as u64)?;
        Ok(taken.try_into().expect("take returned N bytes"))
    }

    /// A u8.
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array(what).map(u8::from_le_bytes)
    }

    /// A u16.
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Error> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// A u32.
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A u64.
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string: u64 length, then that many bytes, at most `most`.
    pub(crate) fn string(&mut self, what: &'static str, most: usize) -> Result<&'a [u8], Error> {
        let len = self.u64(what)?;
        if len > most as u64 && len <= self.remaining() as u64 {
            return Err(Error::TooMany {
                file: self.file.to_owned(),
                what: "bytes in a string",
                count: len,
                limit: most as u64,
            });
        }
        self.take(what, len)
    }
}
