//! The demonstration model: what it really answers, through every door of the program.

mod answers;
mod held_out;
mod page;
mod perplexity;

use std::path::PathBuf;

use crate::program::root;

/// A file of the training kit.
fn kit(name: &str) -> PathBuf {
    root().join("crates/demo/train").join(name)
}
