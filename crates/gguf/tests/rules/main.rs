//! Every rule of the format, each broken by one file; and everything that must be accepted.

mod allocation;
mod builder;
mod folders;
mod headers;
mod hostile;
mod metadata;
mod round_trip;
mod shards;
mod streams;
mod tensors;
