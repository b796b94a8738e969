//! Where every tensor lives: a pure function of rules and the file's tensors.
//!
//! A [`Rule`] sends the tensors whose names match an expression to a [`Target`]; the
//! first rule that matches wins. [`plan()`] applies them to the tensors of a checked file
//! and answers with a [`Plan`], or with the rule that cannot be obeyed. Short forms of
//! the command line ([`cpu_moe_rules`] and the others) are rules like any.
//!
//! Nothing here touches a device or a file's weights, so a plan can be made and printed
//! for a machine that is elsewhere. Loading obeys the plan and decides nothing.
//!
//! Start at [`Rule::parse_list`], then [`plan()`].

#![forbid(unsafe_code)]

mod plan;
mod presets;
mod rule;
mod target;

pub use plan::{Home, Lack, Plan, PlanError, plan};
pub use presets::{cpu_moe_rules, gpu_layers_rules, n_cpu_moe_rules};
pub use rule::{Rule, RuleError};
pub use target::Target;
