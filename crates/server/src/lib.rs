//! HTTP in, SSE out.
#![forbid(unsafe_code)]
