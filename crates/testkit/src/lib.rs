//! Synthetic models, the f64 reference forward pass, error norms. Development only.
//!
//! [`Synthetic`] writes a complete GGUF (weights, metadata, a small Kimi-like
//! vocabulary) from an `arch::Config`, so that every shape and file layout of the
//! family can be tested without a download. [`Reference`] runs such a file in f64
//! straight from the dequantised tensors, in the naive attention form: slow, plain,
//! and written without a glance at the `model` crate, so that the two can disagree.
//! [`hostile`] takes valid files apart and puts lies into them. [`norms`] measures how far two sets of logits are apart.
//!
//! Knows no kernels, no KV cache, no engine. Start at [`Synthetic`].

#![forbid(unsafe_code)]

pub mod hostile;
pub mod norms;
pub mod parity;
pub mod reference;
pub mod shapes;
mod synthetic;
mod weights;

pub use perigee_synthetic::{SplitMix, Vocabulary};
pub use reference::Reference;
pub use synthetic::{Kinds, Synthetic};
