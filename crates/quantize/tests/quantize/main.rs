//! Re-encoding whole models, checked against encoding each row by hand.

#[path = "../../../testkit/tests/budget/mod.rs"]
mod budget;

mod damaged;
mod encoding;
mod imatrix;
mod models;
mod plans;
mod recipes;
mod refusals;
mod resumption;
mod splits;
