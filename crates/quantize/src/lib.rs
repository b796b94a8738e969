//! Encoding a model anew: which tensor becomes which type, and the run that does it.
//!
//! A [`Recipe`] says which type a tensor gets, a [`Plan`] what that makes of one file, and
//! [`quantize`] writes it: tensor after tensor, in bounded memory, on all cores, resumable.
//! An [`Imatrix`] weighs the error of each column; both formats of its files are read and
//! written here.
//!
//! Start at [`Recipe`], then [`Plan::new`].

#![forbid(unsafe_code)]

mod imatrix;
mod imatrix_gguf;
mod legacy;
mod output;
mod plan;
mod presets;
mod recipe;
mod rows;
mod run;

pub use imatrix::{Activations, Imatrix, ImatrixError};
pub use plan::{Plan, PlanError, Planned, Selection};
pub use presets::{Preset, presets};
pub use recipe::{Recipe, RecipeError, Rule};
pub use run::{Options, Progress, QuantizeError, Report, quantize};
