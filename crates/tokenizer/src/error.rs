//! Why a vocabulary is unusable.

/// A vocabulary that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The container is broken.
    #[error(transparent)]
    Gguf(#[from] perigee_gguf::Error),
}
