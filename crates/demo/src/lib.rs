//! The embedded demonstration model: bytes only.

#![forbid(unsafe_code)]
