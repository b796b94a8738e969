//! Reading little-endian values, each bounded by the bytes that remain.

use crate::Error;

/// A position in the bytes of a header.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    position: usize,
    budget: Option<(&'static str, usize)>,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`; `file` is named in errors.
    pub(crate) fn new(file: &'a str, bytes: &'a [u8]) -> Self {
        Self {
            file,
            bytes,
            position: 0,
            budget: None,
        }
    }

    /// From here on no more than `most` bytes may be read; `what` is what there are too many of.
    pub(crate) fn set_budget(&mut self, what: &'static str, most: usize) {
        self.budget = Some((what, most));
    }

    /// As much as remains may be read again.
    pub(crate) fn lift_budget(&mut self) {
        self.budget = None;
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
                if let Some((what, left)) = &mut self.budget {
                    let Some(rest) = left.checked_sub(n) else {
                        return Err(Error::TooMany {
                            file: self.file.to_owned(),
                            what,
                            count: n as u64,
                            limit: *left as u64,
                        });
                    };
                    *left = rest;
                }
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
