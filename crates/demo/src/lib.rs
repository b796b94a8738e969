//! The embedded demonstration model: bytes only.
//!
//! Until a trained one takes its place the model is a tiny Kimi-shaped network with random
//! weights from a fixed seed (`cargo xtask demo-model` writes it anew): everything runs as it
//! would with a real model, and the words are noise.

#![forbid(unsafe_code)]

/// A complete GGUF file of architecture `deepseek2`.
pub static GGUF: &[u8] = include_bytes!("../demo.gguf");
