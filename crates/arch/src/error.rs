//! Why a file is not a model that this program can run.

/// A model file that breaks a rule of its architecture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The container itself is broken.
    #[error(transparent)]
    Gguf(#[from] perigee_gguf::Error),
}
