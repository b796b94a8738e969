//! Files made to break their reader, one test for each published attack on a GGUF reader and
//! for each class of them: an error within bounded memory and time, never a panic.

#[path = "../../../testkit/tests/budget/mod.rs"]
mod budget;

mod advisories;
mod containers;
mod exhaustion;
mod files;
mod shards;
mod shortened;
mod tensors;
mod verdict;
