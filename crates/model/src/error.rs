//! What can go wrong between a file and its logits.

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not a model of the family.
    #[error(transparent)]
    Arch(#[from] perigee_arch::Error),
    /// The plan was made for another file.
    #[error("plan has {found} homes, the model has {expected} tensors")]
    PlanLength {
        /// Homes in the plan.
        found: usize,
        /// Tensors of the model.
        expected: usize,
    },
    /// The plan asks for memory that this build cannot address.
    #[error("tensor {tensor}: planned for CPU node {node}, this build has node 0 only")]
    NoSuchNode {
        /// Name in the file.
        tensor: String,
        /// Node in the plan.
        node: u32,
    },
    /// A tensor that the inventory promised is not there.
    #[error("tensor {tensor}: missing")]
    Missing {
        /// Name in the file.
        tensor: String,
    },
    /// A tensor is not as large as its shape.
    #[error("tensor {tensor}: {found} bytes, expected {expected}")]
    TensorBytes {
        /// Name in the file.
        tensor: String,
        /// Bytes in the file.
        found: usize,
        /// Bytes of the shape that the configuration dictates.
        expected: usize,
    },
    /// An option that leaves nothing to run with.
    #[error("{option} must be at least 1")]
    ZeroOption {
        /// Field of the load options.
        option: &'static str,
    },
    /// A buffer does not fit the memory.
    #[error("{what} needs {} MiB, {limit} MiB of memory are there", n_bytes >> 20, limit = limit >> 20)]
    OutOfMemory {
        /// The buffer.
        what: &'static str,
        /// Its size; `u64::MAX` when not representable.
        n_bytes: u64,
        /// Memory of the machine or of the process's cgroup; 0 when unknown.
        limit: u64,
    },
}

/// Why a step failed. The sequences of the batch are lost, the model is not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A numerical fault (bad block, overflow): the logits of output row `row` are not finite.
    #[error("logits of output row {row} are not finite")]
    NotFinite {
        /// Row in the logits of the batch.
        row: usize,
    },
    /// More tokens than [`Limits::max_batch_tokens`](crate::Limits::max_batch_tokens).
    #[error("batch of {found} tokens, limit {limit}")]
    TooManyTokens {
        /// Tokens in the batch.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// More rows than [`Limits::max_output_rows`](crate::Limits::max_output_rows).
    #[error("batch with {found} output rows, limit {limit}")]
    TooManyOutputs {
        /// Rows wanted.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The buffer for logits has another size than `n_outputs · vocab_size`.
    #[error("room for {found} logits, expected {expected}")]
    LogitsLength {
        /// Floats in the buffer.
        found: usize,
        /// Floats of the batch.
        expected: usize,
    },
    /// An id that is not in the vocabulary.
    #[error("token id {token}, vocabulary of {vocab_size}")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// The runs of a batch must be non-empty and follow one another.
    #[error("run {run} is empty or does not follow the previous one")]
    BadRun {
        /// Index of the run.
        run: usize,
    },
    /// A block table that does not reach the last token of its run.
    #[error("run {run}: {found} blocks, {expected} needed")]
    BlockTableTooShort {
        /// Index of the run.
        run: usize,
        /// Blocks in the table.
        found: usize,
        /// Blocks up to the last token.
        expected: usize,
    },
    /// A block that does not exist.
    #[error("run {run}: block {block} of {n_blocks}")]
    BlockOutOfRange {
        /// Index of the run.
        run: usize,
        /// The block.
        block: u32,
        /// Blocks that exist.
        n_blocks: usize,
    },
}
