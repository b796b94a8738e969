//! Which model, and how it is loaded.

use std::path::PathBuf;

use clap::ValueEnum;
use perigee_cpu::{Activations, Isa};
use serde::Deserialize;

/// Options of every command that loads a model; `[model]` in the configuration file.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A GGUF file, any shard of a split model, or a folder that holds one
    #[arg(short, long, value_name = "PATH", env = "PERIGEE_MODEL")]
    pub(crate) model: Option<PathBuf>,
    /// Use the embedded demonstration model
    #[arg(long, conflicts_with = "model", env = "PERIGEE_DEMO")]
    pub(crate) demo: bool,
    /// Settings file in TOML, with sections [model], [server] and [sampling]
    #[serde(skip)]
    #[arg(long, value_name = "FILE", env = "PERIGEE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Tokens of context that all requests share [default: the trained context, or what fits in memory]
    #[arg(short, long, value_name = "N", env = "PERIGEE_CTX_SIZE")]
    pub(crate) ctx_size: Option<usize>,
    /// Compute threads [default: one per available physical core]
    #[arg(short, long, value_name = "N", env = "PERIGEE_THREADS")]
    pub(crate) threads: Option<usize>,
    /// Most tokens computed in one step (short form: -ub) [default: 512]
    #[arg(long, value_name = "N", env = "PERIGEE_UBATCH_SIZE")]
    pub(crate) ubatch_size: Option<usize>,
    /// Element type of the KV cache: f16 or q8_0 (short form: -ctk) [default: f16]
    #[arg(long, value_name = "TYPE", env = "PERIGEE_CACHE_TYPE_K")]
    pub(crate) cache_type_k: Option<CacheType>,
    /// Must equal --cache-type-k if given: MLA stores keys and values in one row (short form: -ctv)
    #[arg(long, value_name = "TYPE", env = "PERIGEE_CACHE_TYPE_V")]
    pub(crate) cache_type_v: Option<CacheType>,
    /// Place tensors whose name matches, first match wins: REGEX=TARGET[,…] (short form: -ot; may be repeated)
    #[arg(long, value_name = "RULES", env = "PERIGEE_OVERRIDE_TENSOR")]
    pub(crate) override_tensor: Vec<String>,
    /// Keep all routed experts on the CPU
    #[arg(long, env = "PERIGEE_CPU_MOE")]
    pub(crate) cpu_moe: bool,
    /// Keep the routed experts of the first N layers on the CPU
    #[arg(long, value_name = "N", env = "PERIGEE_N_CPU_MOE")]
    pub(crate) n_cpu_moe: Option<usize>,
    /// Layers to place on GPUs (short form: -ngl); this build computes on the CPU
    #[arg(long, value_name = "N", env = "PERIGEE_GPU_LAYERS")]
    pub(crate) gpu_layers: Option<usize>,
    /// Where weights stay: mapped in the file, packed in memory for the fastest kernels, or
    /// packed when they fit with room to spare (--no-mmap and --mmap mean pack and map) [default: auto]
    #[arg(long, value_name = "HOW", env = "PERIGEE_LOAD")]
    pub(crate) load: Option<LoadHow>,
    /// What quantised weights are multiplied with: activations rounded to 8 bits (int8; of many tokens
    /// to bf16 where tiles of AMX are faster so), or as they are (f32), which is exact, slow and of
    /// use to compare [default: int8]
    #[arg(long, value_name = "TYPE", env = "PERIGEE_ACTIVATIONS")]
    pub(crate) activations: Option<ActivationKind>,
    /// Instructions that the kernels use, to compare them [default: the best of this CPU]
    #[arg(long, value_name = "SET", env = "PERIGEE_ISA")]
    pub(crate) isa: Option<InstructionSet>,
    /// Output that does not depend on batch, threads, slots or the prefix cache
    #[arg(long, env = "PERIGEE_DETERMINISTIC")]
    pub(crate) deterministic: bool,
}

/// Where weights stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LoadHow {
    #[default]
    Auto,
    Map,
    Pack,
}

/// The numbers that quantised weights are multiplied with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActivationKind {
    #[default]
    Int8,
    F32,
}

impl ActivationKind {
    /// The kernels' name for it.
    pub(crate) fn activations(self) -> Activations {
        match self {
            Self::Int8 => Activations::Int8,
            Self::F32 => Activations::F32,
        }
    }
}

/// Instruction sets of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InstructionSet {
    Scalar,
    Avx2,
    AvxVnni,
    Avx512,
    Amx,
}

impl InstructionSet {
    /// The kernels that have it.
    pub(crate) fn isa(self) -> Isa {
        match self {
            Self::Scalar => Isa::Scalar,
            Self::Avx2 => Isa::Avx2,
            Self::AvxVnni => Isa::AvxVnni,
            Self::Avx512 => Isa::Avx512,
            Self::Amx => Isa::Amx,
        }
    }
}

/// KV element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheType {
    #[value(name = "f16")]
    F16,
    #[value(name = "q8_0")]
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl ModelArgs {
    /// Fills what was not typed from the file.
    pub(crate) fn or(self, file: Self) -> Self {
        let demo = self.demo || (file.demo && self.model.is_none());
        Self {
            model: if demo {
                None
            } else {
                self.model.or(file.model)
            },
            demo,
            config: self.config,
            ctx_size: self.ctx_size.or(file.ctx_size),
            threads: self.threads.or(file.threads),
            ubatch_size: self.ubatch_size.or(file.ubatch_size),
            cache_type_k: self.cache_type_k.or(file.cache_type_k),
            cache_type_v: self.cache_type_v.or(file.cache_type_v),
            override_tensor: if self.override_tensor.is_empty() {
                file.override_tensor
            } else {
                self.override_tensor
            },
            cpu_moe: self.cpu_moe || file.cpu_moe,
            n_cpu_moe: self.n_cpu_moe.or(file.n_cpu_moe),
            gpu_layers: self.gpu_layers.or(file.gpu_layers),
            load: self.load.or(file.load),
            activations: self.activations.or(file.activations),
            isa: self.isa.or(file.isa),
            deterministic: self.deterministic || file.deterministic,
        }
    }
}
