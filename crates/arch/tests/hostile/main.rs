//! Files whose container is sound and whose contents lie: an error within bounded memory and
//! time, never a panic.

#[path = "../../../testkit/tests/budget/mod.rs"]
mod budget;

mod hyperparameters;
mod mutations;
mod shapes;
mod verdict;
mod vocabularies;
