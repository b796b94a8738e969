//! What a model file of the family must hold.
//!
//! [`Config`] is read from metadata and range-checked; [`inventory`] then demands
//! that every tensor has the name and shape that the configuration dictates:
//! shapes are never taken from the file. Byte formulas for KV and workspace and
//! the named recipes ([`ModelSpec`]) live here too. Knows no devices, no arithmetic.

#![forbid(unsafe_code)]

mod config;
mod error;
mod inventory;
mod key_values;
mod keys;
mod memory;
mod peers;
mod shapes;
mod spec;
mod vocabulary;

pub use config::{Config, Gating, Yarn};
pub use error::Error;
pub use inventory::{Expected, Inventory, KvLayout, Role, expected_tensors, inventory};
pub use memory::KvKind;
pub use peers::{Peer, peers, unusual};
pub use spec::ModelSpec;
