//! HTTP in, server-sent events out: the OpenAI surface of Perigee.
//!
//! Wire types and their leniency live in `openai/`, endpoints in `routes/`, the
//! way from tokens to deltas in `generation.rs`, the web page in `page/`. Knows no
//! weights, no kernels and no devices: the engine is a handle, the model a name.
//!
//! Start at [`router`], then `routes/chat.rs`.

#![forbid(unsafe_code)]

mod auth;
mod error;
mod generation;
mod openai;
mod router;
mod routes;
mod serve;
mod state;
mod stream;
mod telemetry;

pub use openai::sampling::SamplingDefaults;
pub use router::router;
pub use serve::serve;
pub use state::{ModelCard, Ready, ServerOptions, ServerState};
