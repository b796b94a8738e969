//! Reading a file under a budget.

use std::path::Path;

use perigee_gguf::{Error, Gguf};
use perigee_testkit::Synthetic;
use perigee_testkit::hostile::{Draft, small};

use crate::budget::within_budget;

/// The name under which tests read files from memory.
const FILE: &str = "model.gguf";

/// A valid model, to be altered.
pub(crate) fn model() -> Draft {
    Draft::of(&Synthetic::new(small()).to_bytes())
}

/// Reads a file and touches everything that it describes.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Gguf, Error> {
    within_budget(|| {
        let gguf = Gguf::from_vec(FILE, bytes)?;
        touch(&gguf);
        Ok(gguf)
    })
}

/// As [`read`], from disk.
pub(crate) fn open(path: &Path) -> Result<Gguf, Error> {
    within_budget(|| {
        let gguf = Gguf::open(path)?;
        touch(&gguf);
        Ok(gguf)
    })
}

fn touch(gguf: &Gguf) {
    for tensor in gguf.tensors() {
        let bytes = gguf.bytes(tensor);
        assert_eq!(bytes.len(), tensor.n_bytes);
        std::hint::black_box((bytes.first(), bytes.last()));
    }
    for (key, _) in gguf.metadata().iter() {
        // Whether a value has the type is for its reader to decide; asking must not panic.
        let _ = gguf.metadata().u32(key);
        let _ = gguf.metadata().f32(key);
        let _ = gguf.metadata().str(key);
    }
}

/// The file must be refused with an error that says `subject`.
pub(crate) fn refused(draft: &Draft, subject: &str) -> Error {
    refused_bytes(draft.to_bytes(), subject)
}

/// As [`refused`], for bytes that no draft describes.
pub(crate) fn refused_bytes(bytes: Vec<u8>, subject: &str) -> Error {
    expect_refusal(read(bytes), subject)
}

/// As [`refused`], from disk.
pub(crate) fn refused_path(path: &Path, subject: &str) -> Error {
    expect_refusal(open(path), subject)
}

fn expect_refusal(result: Result<Gguf, Error>, subject: &str) -> Error {
    let Err(error) = result else {
        panic!("a hostile file was accepted ({subject})")
    };
    let message = error.to_string();
    assert!(
        message.contains(subject),
        "{message:?} says nothing of {subject:?}"
    );
    error
}

/// The model, altered, must be refused with an error that says `subject`.
pub(crate) fn refused_when(change: impl FnOnce(&mut Draft), subject: &str) -> Error {
    let mut draft = model();
    change(&mut draft);
    refused(&draft, subject)
}
