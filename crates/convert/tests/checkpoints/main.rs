//! Checkpoints of true layout and tiny size, converted.

mod builder;
mod conversion;
mod expectation;
mod failures;
mod hostile;
