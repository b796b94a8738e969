//! What the user can type: one struct per subcommand, shared groups in `args/`.

mod bench;
mod files;
mod model;
mod sampling;
mod server;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use bench::{BenchArgs, BenchCommand, BenchFormat, KernelsArgs};
pub(crate) use files::{ConvertArgs, ImatrixArgs, MatrixType, QuantizeArgs};
pub(crate) use model::{ActivationKind, CacheType, InstructionSet, LoadHow, ModelArgs};
pub(crate) use sampling::SamplingArgs;
pub(crate) use server::{ServerArgs, WebPage};

/// Kimi-K2 on one box: serves GGUF models of the deepseek2 family over an
/// OpenAI-compatible API, chats in the terminal, measures.
#[derive(Debug, Parser)]
#[command(name = "perigee", version, max_term_width = 100)]
#[command(
    after_help = "Try `perigee serve --demo`, then `perigee serve -m MODEL.gguf`.\n\
    Options of the model, the server and the sampler can also be set as PERIGEE_NAME in the\n\
    environment or in a TOML file (--config);\n\
    the command line wins over the environment, the environment over the file."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a model over HTTP (OpenAI chat completions with tool calls)
    Serve(Box<ServeArgs>),
    /// Talk to a model in the terminal
    Chat(Box<ChatArgs>),
    /// Answer one prompt and exit
    Run(Box<RunArgs>),
    /// Show what a GGUF file holds and whether it can be run
    Inspect(InspectArgs),
    /// Turn text into token ids
    Tokenize(TokenizeArgs),
    /// Measure how well a model predicts a text
    Perplexity(PerplexityArgs),
    /// Measure prompt and generation speed
    Bench(Box<BenchArgs>),
    /// Write a model in other types
    Quantize(Box<QuantizeArgs>),
    /// Learn from a text which columns of each matrix matter, for quantize
    Imatrix(Box<ImatrixArgs>),
    /// Write a published checkpoint (safetensors) as a GGUF, packed integers without loss
    Convert(Box<ConvertArgs>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// Serve a model that says what this JSON file tells it (for testing clients)
    #[cfg(feature = "scripted")]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "demo"])]
    pub(crate) scripted: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Answer without thinking first
    #[arg(long)]
    pub(crate) no_thinking: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// The prompt: a user message, or with --raw the text to continue
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) prompt: String,
    /// Continue the text itself, without the chat format
    #[arg(long)]
    pub(crate) raw: bool,
    /// System prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    /// Answer without thinking first
    #[arg(long, conflicts_with = "raw")]
    pub(crate) no_thinking: bool,
    /// Most tokens to generate [default: until the model ends or the context is full]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) predict: Option<usize>,
    /// Compute the prompt once before, so that the run itself finds it in the prefix cache
    #[arg(long)]
    pub(crate) warm_prefix: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// A GGUF file, any shard of a split model, or a folder that holds one
    pub(crate) file: PathBuf,
    /// List every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
    /// List the metadata
    #[arg(long)]
    pub(crate) metadata: bool,
    /// Decode every weight and name the tensors that hold infinities or what is no number
    #[arg(long)]
    pub(crate) check: bool,
    /// Print one JSON object instead
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenizeArgs {
    /// A GGUF file with the vocabulary
    #[arg(short, long, value_name = "FILE", required_unless_present = "demo")]
    pub(crate) model: Option<PathBuf>,
    /// Use the vocabulary of the embedded demonstration model
    #[arg(long, conflicts_with = "model")]
    pub(crate) demo: bool,
    /// The text [default: standard input]
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    pub(crate) prompt: Option<String>,
    /// Read the text from a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Read spelled control tokens such as <|im_end|> as control tokens
    #[arg(long)]
    pub(crate) parse_special: bool,
    /// Print ids only, separated by spaces
    #[arg(long)]
    pub(crate) ids: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to score, in chunks of --ctx-size tokens (default 512), each scored on its second half
    #[arg(
        short,
        long,
        value_name = "TEXT_FILE",
        required_unless_present = "token_file"
    )]
    pub(crate) file: Option<PathBuf>,
    /// Score at most this many chunks
    #[arg(long, value_name = "N", conflicts_with = "token_file")]
    pub(crate) chunks: Option<usize>,
    /// Score token ids separated by white space, as one sequence, from its second token on
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub(crate) token_file: Option<PathBuf>,
    /// Write the logits of every token as a NumPy array, f32 [n_tokens, n_vocab]
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) logits_out: Option<PathBuf>,
}
