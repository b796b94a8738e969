//! Model files that lie.
//!
//! A [`Draft`] is a valid file taken apart: a test changes the one field that an attack is
//! about and has the rest written as before, without any check. [`mutated`] does the same at
//! random, knowing where counts, lengths, types, dimensions, offsets and hyper-parameters are.

mod bases;
mod draft;
mod mutation;

pub use bases::{bases, small};
pub use draft::{ARRAY, Draft, Entry, Field, FieldKind, Record, STRING, array, string};
pub use mutation::mutated;
