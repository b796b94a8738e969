//! GGML block formats: the bytes of a quantised row and what they mean.
//!
//! One table, [`kind`], names every type a model file of the family can hold
//! (id, block geometry, decoder, encoder); `formats/` has one file per type with
//! the exact scalar arithmetic that every faster kernel is tested against.
//!
//! This crate knows nothing of files, threads, instruction sets or devices.
//! Start reading at [`QuantKind`].

#![forbid(unsafe_code)]

mod affine_fit;
mod affine_scales;
mod block_32;
mod codebooks;
mod formats;
mod grids;
mod importance;
mod kind;
mod linear_fit;
mod names;
pub mod packed;
mod signed_scales;
mod super_block;
mod table_fit;

pub use formats::q4_0::quantize_q4_0_symmetric;
pub use kind::{QuantKind, QuantizeError};
