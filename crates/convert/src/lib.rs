//! Safetensors checkpoints of the Kimi-K2 family to GGUF.
//!
//! Kimi-K2-Thinking, K2.5 and K2.6 are published with routed experts as 4-bit integers, one
//! bf16 scale for 32 of them. Q4_0 has the same geometry, so that those experts become Q4_0
//! without loss: the same integers and the same scales. Everything else of such a checkpoint
//! is bf16 and becomes Q8_0, or stays as it is.
//!
//! [`convert()`] does it all; [`Plan`] is its first half, which reads headers only. The rooms:
//! `safetensors` one file, `checkpoint` a folder of them, `hyperparameters` its `config.json`,
//! `vocabulary` its tokenizer, `names` which tensors become which, `int4` the repacking,
//! `blocks` the work cut into pieces, `convert` the pieces into a file.
//!
//! Memory is bounded by the pieces in flight, whatever the size of the model. Everything read
//! from the checkpoint is checked first: a broken one gives an error that names file and
//! tensor, and no file is left under the name of the result.

#![forbid(unsafe_code)]

mod blocks;
mod checkpoint;
mod convert;
mod error;
mod hyperparameters;
mod int4;
mod names;
mod plan;
mod safetensors;
mod vocabulary;

pub use convert::{Event, Report, convert};
pub use error::Error;
pub use plan::{Options, Plan, Planned};
