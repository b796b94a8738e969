//! The plan.
use crate::Rule;
use perigee_arch::Inventory;
use perigee_gguf::Gguf;

/// Where a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the RAM of a node.
    Cpu {
        /// NUMA node.
        node: u32,
    },
}

/// Tensor homes in the order of `Inventory::tensors`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One home per tensor.
    pub homes: Vec<Home>,
    /// Warnings for the user (a rule that matched nothing, …).
    pub warnings: Vec<String>,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {}

/// Applies the rules; a device that this build does not have is an error naming the rule.
pub fn plan(_gguf: &Gguf, _inventory: &Inventory, _rules: &[Rule]) -> Result<Plan, PlanError> { todo!() }
