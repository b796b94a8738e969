//! Arguments of `perigee bench`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::ModelArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    perigee bench -m MODEL.gguf\n  \
    perigee bench --synthetic kimi-k2.6@IQ3_K:layers=2,vocab=4096\n  \
    perigee bench kernels\n\
    The second makes two layers with random weights in memory (8 GB), measures them and says how\n\
    fast all layers would be, without any download.")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Option<BenchCommand>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Measure random weights of true dimensions, made in memory, and estimate the whole model:
    /// SHAPE@TYPE[:KEY=N,…], keys: layers dense hidden vocab ctx heads q_lora ffn experts used
    /// expert_ffn
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["model", "demo"])]
    pub(crate) synthetic: Option<String>,
    /// Write the model of --synthetic to this file instead of measuring it
    #[arg(long, value_name = "FILE.gguf")]
    pub(crate) write: Option<PathBuf>,
    /// Prompt lengths to measure, comma separated (0 = none)
    #[arg(
        short = 'p',
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "512"
    )]
    pub(crate) n_prompt: Vec<usize>,
    /// Numbers of tokens to generate, comma separated (0 = none) [default: 128, with --synthetic 64]
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) n_gen: Option<Vec<usize>>,
    /// Context depths to measure at, comma separated
    #[arg(
        short = 'd',
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "0"
    )]
    pub(crate) n_depth: Vec<usize>,
    /// Sequences that generate at once, comma separated; the rate is that of all together
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1")]
    pub(crate) parallel: Vec<usize>,
    /// Repetitions of each test [default: 5, with --synthetic 2]
    #[arg(short, long, value_name = "N")]
    pub(crate) repetitions: Option<usize>,
    /// Compute logits for every token of a prompt, not just the last: without, the last layer is
    /// mostly skipped, which makes models of few layers look fast [always with --synthetic]
    #[arg(long)]
    pub(crate) all_logits: bool,
    /// Take turns with another program: before every repetition print a line "turn" to standard
    /// output and wait for a line on standard input
    #[arg(long, conflicts_with = "synthetic")]
    pub(crate) turns: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = BenchFormat::Md)]
    pub(crate) output: BenchFormat,
}

/// Measurements without a model.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {
    /// Cycles and GB/s of the matrix kernels of every type, attention, packing and dispatch, beside
    /// the limits of this machine
    Kernels(KernelsArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct KernelsArgs {
    /// Types to measure, comma separated [default: all with integer kernels]
    #[arg(long, value_name = "TYPE,…", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// Measure weights as they lie in a file (--load map) instead of packed ones
    #[arg(long)]
    pub(crate) mapped: bool,
    /// Columns (tokens) that share the weights, comma separated
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,2,4,8,32,128,512"
    )]
    pub(crate) columns: Vec<usize>,
    /// Compute threads of what is measured on more than one core [default: physical cores]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Milliseconds for each kernel and each depth of attention
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub(crate) time: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// A Markdown table with llama-bench's columns
    Md,
    /// A list of objects with llama-bench's field names; one object with --synthetic
    Json,
    /// The same fields, comma separated
    Csv,
}
