//! Files byte by byte, for what the writer refuses to write.

use perigee_gguf::{Error, Gguf};

/// The name under which tests read files from memory.
pub(crate) const FILE: &str = "model.gguf";

/// `ggml_type` of F32.
pub(crate) const F32: u32 = 0;
/// `ggml_type` of Q8_0.
pub(crate) const Q8_0: u32 = 8;

/// A file whose parts need not fit each other.
pub(crate) struct RawFile {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// Overrides the number of tensors that the header states.
    pub(crate) n_tensors: Option<u64>,
    /// Overrides the number of metadata entries that the header states.
    pub(crate) n_entries: Option<u64>,
    pub(crate) entries: Vec<u8>,
    pub(crate) tensors: Vec<u8>,
    /// Bytes after the header, which is padded to `alignment`.
    pub(crate) data: usize,
    pub(crate) alignment: usize,
    pub(crate) entry_count: u64,
    pub(crate) tensor_count: u64,
}

impl RawFile {
    pub(crate) fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            n_tensors: None,
            n_entries: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            data: 0,
            alignment: 32,
            entry_count: 0,
            tensor_count: 0,
        }
    }

    /// Adds a metadata entry with an encoded value.
    pub(crate) fn entry(mut self, key: &[u8], type_id: u32, value: &[u8]) -> Self {
        put_string(&mut self.entries, key);
        self.entries.extend_from_slice(&type_id.to_le_bytes());
        self.entries.extend_from_slice(value);
        self.entry_count += 1;
        self
    }

    /// Adds a metadata entry of type u32.
    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key.as_bytes(), 4, &value.to_le_bytes())
    }

    /// Adds a tensor record.
    pub(crate) fn tensor(mut self, name: &[u8], shape: &[u64], type_id: u32, offset: u64) -> Self {
        put_string(&mut self.tensors, name);
        self.tensors
            .extend_from_slice(&(shape.len() as u32).to_le_bytes());
        for n in shape {
            self.tensors.extend_from_slice(&n.to_le_bytes());
        }
        self.tensors.extend_from_slice(&type_id.to_le_bytes());
        self.tensors.extend_from_slice(&offset.to_le_bytes());
        self.tensor_count += 1;
        self
    }

    /// Sets the size of the data section.
    pub(crate) fn data(mut self, n: usize) -> Self {
        self.data = n;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.n_tensors.unwrap_or(self.tensor_count).to_le_bytes());
        bytes.extend_from_slice(&self.n_entries.unwrap_or(self.entry_count).to_le_bytes());
        bytes.extend_from_slice(&self.entries);
        bytes.extend_from_slice(&self.tensors);
        let begin = bytes.len().next_multiple_of(self.alignment);
        bytes.resize(begin + self.data, 0);
        bytes
    }

    /// Reads the file, which must be refused with a message that names it and `subject`.
    pub(crate) fn refused(&self, subject: &str) -> Error {
        refused(self.bytes(), subject)
    }
}

/// Reads bytes that must be refused with a message that names the file and `subject`.
pub(crate) fn refused(bytes: Vec<u8>, subject: &str) -> Error {
    let Err(error) = Gguf::from_vec(FILE, bytes) else {
        panic!("a file that breaks a rule was accepted ({subject})")
    };
    assert_names(&error, FILE, subject);
    error
}

/// The message must name the file and what in it is wrong.
pub(crate) fn assert_names(error: &Error, file: &str, subject: &str) {
    let message = error.to_string();
    assert!(message.contains(file), "{message:?} names no {file:?}");
    assert!(
        message.contains(subject),
        "{message:?} says nothing of {subject:?}"
    );
}

/// Asserts the variant of an error.
macro_rules! assert_variant {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = &$error;
        assert!(matches!(error, $pattern $(if $guard)?), "{error:?}");
    }};
}
pub(crate) use assert_variant;

/// u64 length, then the bytes.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

/// Replaces the only occurrence of `from`.
pub(crate) fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..=bytes.len() - from.len())
        .filter(|&i| bytes[i..].starts_with(from))
        .collect();
    assert_eq!(places.len(), 1, "{from:?} must occur once");
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to);
}
