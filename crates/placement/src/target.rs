//! Places that rules name.

use std::fmt;

/// A place named by a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// RAM, on whichever node suits: `CPU`.
    Cpu,
    /// RAM of one NUMA node: `CPU.node1`.
    CpuNode(u32),
    /// Memory of one GPU: `CUDA0`, also written `GPU0` or `cuda:0`.
    Cuda(u32),
    /// Read from the file when needed: `DISK`.
    Disk,
}

impl Target {
    /// Reads a target in any case; `None` for a word that names no place.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let number = |prefix: &str| {
            let digits = word.strip_prefix(prefix)?;
            let digits_only = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits_only.then(|| digits.parse().ok()).flatten()
        };
        match word.as_str() {
            "cpu" => Some(Self::Cpu),
            "disk" => Some(Self::Disk),
            _ => number("cpu.node").map(Self::CpuNode).or_else(|| {
                let gpu = ["cuda:", "cuda", "gpu:", "gpu"];
                gpu.into_iter().find_map(number).map(Self::Cuda)
            }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("CPU"),
            Self::CpuNode(node) => write!(f, "CPU.node{node}"),
            Self::Cuda(device) => write!(f, "CUDA{device}"),
            Self::Disk => f.write_str("DISK"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_in_the_spellings_that_users_type() {
        let check = |words: &[&str], expected: Option<Target>| {
            for word in words {
                assert_eq!(Target::parse(word), expected, "{word}");
            }
        };
        check(&["CPU", "cpu", "Cpu"], Some(Target::Cpu));
        check(
            &["CPU.node1", "cpu.NODE1", "CPU.node01"],
            Some(Target::CpuNode(1)),
        );
        check(
            &["CUDA0", "cuda0", "Cuda:0", "GPU0", "gpu:0"],
            Some(Target::Cuda(0)),
        );
        check(&["CUDA15"], Some(Target::Cuda(15)));
        check(&["DISK", "disk"], Some(Target::Disk));
        let wrong = [
            "",
            "CUDA",
            "CUDA-1",
            "CUDA+1",
            "CUDA1x",
            "CUDA4294967296",
            "CPU.node",
            "CPU1",
            "node1",
            "SSD",
        ];
        check(&wrong, None);
    }

    #[test]
    fn targets_print_as_they_are_written() {
        for text in ["CPU", "CPU.node3", "CUDA7", "DISK"] {
            assert_eq!(Target::parse(text).unwrap().to_string(), text);
        }
    }
}
