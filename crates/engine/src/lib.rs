//! Sequences through steps: scheduling, KV blocks, prefix reuse, sampling.
//!
//! Ids in, ids out: knows no HTTP and no chat format. One step thread owns the
//! model, the KV bookkeeping and all sequences; it never awaits and holds no lock.
//! Messages in are one closed enum; tokens out are one channel per sequence.
//!
//! Start at [`EngineHandle`], then `step.rs`.

#![forbid(unsafe_code)]

mod completion;
mod handle;
mod kv_blocks;
mod prefix_tree;
mod request;
mod sampler;
#[cfg(feature = "scripted")]
pub mod scripted;
mod sequence;
mod step;

pub use completion::StopStrings;
pub use handle::{EngineHandle, EngineOptions, Stats, Stream, SubmitError};
pub use perigee_tokenizer::TokenId;
pub use request::{Event, Finish, Request, SamplingParams, TokenLogprobs, Usage};
