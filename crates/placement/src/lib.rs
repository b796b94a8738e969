//! Where every tensor lives: a pure function of rules and the file's tensors.
//!
//! Touches no device. Loading obeys the plan and decides nothing.

#![forbid(unsafe_code)]

mod plan;
mod rule;

pub use plan::{Home, Plan, PlanError, plan};
pub use rule::{Rule, RuleError, Target};
