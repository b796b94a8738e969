//! Arguments of the commands that make model files.

use std::path::PathBuf;

use clap::ValueEnum;

use super::ModelArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    perigee quantize kimi-bf16.gguf kimi-IQ3_K.gguf IQ3_K-mix --imatrix kimi.dat\n  \
    perigee quantize kimi-bf16.gguf out.gguf Q8_0 --custom-q 'ffn_down_exps=q4_0,ffn_(gate|up)_exps=iq2_ks'\n  \
    perigee quantize kimi-bf16.gguf Q4_K_M --dry-run\n\
    An interrupted run goes on where it was when the same command is given again.")]
pub(crate) struct QuantizeArgs {
    /// A GGUF file, any shard of a split model, or a folder that holds one
    #[arg(required_unless_present = "list")]
    pub(crate) source: Option<PathBuf>,
    /// [OUT.gguf] RECIPE [THREADS]: a type for all matrices (Q8_0, IQ4_K, …), the name of a
    /// recipe (--list) or a recipe file; OUT.gguf may be left out with --dry-run
    #[arg(value_name = "OUT.gguf RECIPE", num_args = 1..=3, required_unless_present = "list")]
    pub(crate) rest: Vec<String>,
    /// List the recipes that come with the program, and all types
    #[arg(long)]
    pub(crate) list: bool,
    /// Rules before those of the recipe; the first that matches a tensor's name wins
    #[arg(long, value_name = "REGEX=TYPE,…")]
    pub(crate) custom_q: Vec<String>,
    /// The same, as llama.cpp spells it
    #[arg(long, value_name = "REGEX=TYPE")]
    pub(crate) tensor_type: Vec<String>,
    /// Such rules from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) tensor_type_file: Option<PathBuf>,
    /// Type of token_embd.weight
    #[arg(long, value_name = "TYPE")]
    pub(crate) token_embedding_type: Option<String>,
    /// Type of output.weight
    #[arg(long, value_name = "TYPE")]
    pub(crate) output_tensor_type: Option<String>,
    /// Leave output.weight as it is in the source
    #[arg(long, conflicts_with = "output_tensor_type")]
    pub(crate) leave_output_tensor: bool,
    /// Weigh errors with an importance matrix, in either format (perigee imatrix makes one)
    #[arg(long, value_name = "FILE")]
    pub(crate) imatrix: Option<PathBuf>,
    /// Use importances only for tensors whose names contain this; repeatable
    #[arg(
        long,
        value_name = "WORD",
        requires = "imatrix",
        conflicts_with = "exclude_weights"
    )]
    pub(crate) include_weights: Vec<String>,
    /// Use no importances for tensors whose names contain this; repeatable
    #[arg(long, value_name = "WORD", requires = "imatrix")]
    pub(crate) exclude_weights: Vec<String>,
    /// Q4_0 with the scale max|x|/7, which keeps the integers of 4-bit checkpoints (Q4_X)
    #[arg(long)]
    pub(crate) symmetric_q40: bool,
    /// Every matrix in the one type of the recipe, without its other rules
    #[arg(long)]
    pub(crate) pure: bool,
    /// Write as many shards as the source has
    #[arg(long)]
    pub(crate) keep_split: bool,
    /// Encode tensors that are quantised already: what they lost stays lost
    #[arg(long)]
    pub(crate) allow_requantize: bool,
    /// Show types and sizes, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImatrixArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to run, in chunks of --ctx-size tokens (default 512)
    #[arg(short, long, value_name = "TEXT_FILE")]
    pub(crate) file: PathBuf,
    /// Where to write: NAME.dat in ik_llama.cpp's format, any other name as GGUF, which
    /// llama.cpp reads; repeat it for both
    #[arg(short, long, value_name = "FILE", default_value = "imatrix.gguf")]
    pub(crate) output: Vec<PathBuf>,
    /// Run at most this many chunks
    #[arg(long, value_name = "N")]
    pub(crate) chunks: Option<usize>,
    /// Write after every so many chunks
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) output_frequency: usize,
    /// Collect for output.weight too
    #[arg(long)]
    pub(crate) process_output: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// A checkpoint's folder: config.json, *.safetensors, tiktoken.model
    pub(crate) checkpoint: PathBuf,
    /// The GGUF file to write
    pub(crate) out: PathBuf,
    /// Type of matrices that are not packed integers
    #[arg(long, value_enum, default_value_t = MatrixType::Q8_0)]
    pub(crate) matrices: MatrixType,
    /// Accept the nearest f16 where a group's scale has none that is exact
    #[arg(long)]
    pub(crate) round_scales: bool,
    /// The model's name in the file [default: the folder's]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Show what would be written, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Threads [default: all cores]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatrixType {
    /// 8 bits
    #[value(name = "q8_0")]
    Q8_0,
    /// As in the checkpoint
    #[value(name = "bf16")]
    Bf16,
    /// 32 bits
    #[value(name = "f32")]
    F32,
}
