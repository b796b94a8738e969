//! The embedded demonstration model: bytes only.
//!
//! A network of Kimi's architecture with twenty million parameters, trained from nothing on
//! generated conversations (`train/README.md`): it says who it is, knows some facts, does small
//! sums and calls tools. It is not Kimi and knows nothing else.

#![forbid(unsafe_code)]

/// A complete GGUF file of architecture `deepseek2`: routed gate and up in IQ3_K, routed down in
/// Q4_0, every other matrix in Q8_0.
pub static GGUF: &[u8] = include_bytes!("../demo.gguf");
