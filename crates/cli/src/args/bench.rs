//! Arguments of `perigee bench`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::ModelArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    perigee bench -m MODEL.gguf\n  \
    perigee bench --synthetic kimi-k2.6@IQ3_K:layers=2,vocab=4096\n\
    The second makes two layers with random weights in memory (8 GB), measures them and says how\n\
    fast all layers would be, without any download.")]
pub(crate) struct BenchArgs {
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
    /// Repetitions of each test [default: 5, with --synthetic 2]
    #[arg(short, long, value_name = "N")]
    pub(crate) repetitions: Option<usize>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = BenchFormat::Md)]
    pub(crate) output: BenchFormat,
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
