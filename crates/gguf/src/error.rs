//! What can be wrong with a file.

/// A file that is not what it claims to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}
