//! Rules applied to the tensors of a file.

use std::fmt;

use perigee_arch::Inventory;
use perigee_gguf::Gguf;

use crate::{Rule, Target};

/// Where a tensor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the RAM of a node.
    Cpu {
        /// NUMA node.
        node: u32,
    },
}

/// Where tensors live that no rule mentions: this build knows one node.
const DEFAULT_HOME: Home = Home::Cpu { node: 0 };

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
pub enum PlanError {
    /// A rule sends a tensor where this build can not compute.
    #[error("rule \"{rule}\" places {tensor} on {target}, but {lack}")]
    Unavailable {
        /// The rule as written.
        rule: String,
        /// The first tensor that it concerns.
        tensor: String,
        /// Where it should go.
        target: Target,
        /// What is missing, and what to do instead.
        lack: Lack,
    },
    /// An expression that explodes on a tensor's name.
    #[error("rule \"{rule}\" on {tensor}: the expression is too expensive")]
    Expensive {
        /// The rule as written.
        rule: String,
        /// The name it was searched in.
        tensor: String,
        /// What the engine says.
        source: Box<fancy_regex::Error>,
    },
}

/// What this build lacks for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// No code for GPUs.
    Cuda,
    /// No reading of weights while computing.
    Disk,
    /// No second memory node.
    Nodes,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cuda => "this build has no CUDA devices: write CPU instead or leave the rule out",
            Self::Disk => {
                "this build does not run tensors from disk: write CPU instead or leave the rule out"
            }
            Self::Nodes => "this build places tensors on node 0 only: write CPU instead",
        })
    }
}

/// Applies the rules, in order, to every tensor of the model; the first match wins, and a
/// tensor without a match stays on the CPU. A rule that matches no tensor of the file is
/// a warning: the same command line may serve several models.
///
/// # Errors
/// A rule sends a tensor to a device that this build does not have, or its expression is
/// too expensive to search.
pub fn plan(gguf: &Gguf, inventory: &Inventory, rules: &[Rule]) -> Result<Plan, PlanError> {
    let homes = inventory
        .tensors
        .iter()
        .map(|tensor| home(&tensor.name, rules))
        .collect::<Result<_, _>>()?;
    let names: Vec<&str> = gguf
        .tensors()
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let mut warnings = Vec::new();
    for rule in rules {
        if !matches_any(rule, &names)? {
            warnings.push(format!(
                "rule \"{}\" matches no tensor of the model",
                rule.text()
            ));
        }
    }
    Ok(Plan { homes, warnings })
}

fn home(tensor: &str, rules: &[Rule]) -> Result<Home, PlanError> {
    for rule in rules {
        if matches(rule, tensor)? {
            return available(rule.target()).map_err(|lack| PlanError::Unavailable {
                rule: rule.text().to_owned(),
                tensor: tensor.to_owned(),
                target: rule.target(),
                lack,
            });
        }
    }
    Ok(DEFAULT_HOME)
}

/// The home that a target means in this build.
fn available(target: Target) -> Result<Home, Lack> {
    match target {
        Target::Cpu | Target::CpuNode(0) => Ok(DEFAULT_HOME),
        Target::CpuNode(_) => Err(Lack::Nodes),
        Target::Cuda(_) => Err(Lack::Cuda),
        Target::Disk => Err(Lack::Disk),
    }
}

fn matches_any(rule: &Rule, names: &[&str]) -> Result<bool, PlanError> {
    for name in names {
        if matches(rule, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn matches(rule: &Rule, tensor: &str) -> Result<bool, PlanError> {
    rule.matches(tensor).map_err(|source| PlanError::Expensive {
        rule: rule.text().to_owned(),
        tensor: tensor.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
