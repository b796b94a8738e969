//! Random models of any size, described by a [`ModelSpec`](perigee_arch::ModelSpec).
//!
//! [`SyntheticModel`] holds the header of a complete file (hyper-parameters, a vocabulary of
//! Kimi's form) and makes the bytes of any row of any tensor on demand. Blocks are not encoded
//! from floats: their codes are random bits and their scales are set so that the decoded weights
//! have the deviation of a trained network's (`rows.rs`). A model of true dimensions is therefore
//! made as fast as memory can be written, on as many threads as there are, and is the same
//! whatever their number.
//!
//! Knows no threads and no files: where the bytes go is the caller's affair.

#![forbid(unsafe_code)]

mod gaussian;
mod keys;
mod model;
mod rows;
mod scales;
mod splitmix;
mod vocabulary;

pub use gaussian::Gaussian;
pub use keys::keys;
pub use model::{Error, SyntheticModel};
pub use splitmix::SplitMix;
pub use vocabulary::Vocabulary;
