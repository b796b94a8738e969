//! `-ot REGEX=TARGET[,REGEX=TARGET…]`.

/// A place named by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Target { Cpu, CpuNode(u32), Cuda(u32), Disk }

/// One rule: searched unanchored in tensor names; the first match wins.
#[derive(Debug)]
pub struct Rule {}

/// Why a rule is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {}

impl Rule {
    /// Parses a comma list.
    pub fn parse_list(_text: &str) -> Result<Vec<Self>, RuleError> { todo!() }
}
