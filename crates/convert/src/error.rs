//! Why a checkpoint could not be converted.

use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint that breaks a rule, or a file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", file.display())]
    File { file: PathBuf, problem: String },
    #[error("{}: key {key:?} {problem}", file.display())]
    Key {
        file: PathBuf,
        key: String,
        problem: String,
    },
    #[error("{}: tensor {tensor}: {problem}", file.display())]
    Tensor {
        file: PathBuf,
        tensor: String,
        problem: String,
    },
    #[error("{}: tensor {tensor} is missing", folder.display())]
    MissingTensor { folder: PathBuf, tensor: String },
    /// The hyper-parameters are those of no model of the family.
    #[error(transparent)]
    Config(#[from] perigee_arch::Error),
    #[error("option {option}: {problem}")]
    Option {
        option: &'static str,
        problem: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn file(file: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            file: file.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn tensor(file: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor {
            file: file.to_owned(),
            tensor: tensor.to_owned(),
            problem: problem.into(),
        }
    }
}
