//! What can go wrong between a file and its logits.

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not a model of the family.
    #[error(transparent)]
    Arch(#[from] perigee_arch::Error),
}

/// Why a step failed. The sequences of the batch are lost, the model is not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A numerical fault (bad block, overflow): the logits of output row `row` are not finite.
    #[error("logits of output row {row} are not finite")]
    NotFinite {
        /// Row in the logits of the batch.
        row: usize,
    },
}
