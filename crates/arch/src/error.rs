//! Why a file is not a model that this program can run.

/// A model file that breaks a rule of its architecture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// The container itself is broken.
    #[error(transparent)]
    Gguf(#[from] perigee_gguf::Error),
    #[error("{file}: architecture {found:?} is not supported (deepseek2 is)")]
    Architecture { file: String, found: String },
    #[error("{file}: metadata key {key:?} is missing")]
    MissingKey { file: String, key: String },
    #[error("{file}: {key} is {value}; {rule}")]
    Range {
        file: String,
        key: String,
        value: String,
        rule: &'static str,
    },
    #[error("{file}: tensor {tensor} is missing")]
    MissingTensor { file: String, tensor: String },
    #[error("{file}: tensor {tensor}: shape {found:?}, expected {expected}")]
    Shape {
        file: String,
        tensor: String,
        found: Vec<u64>,
        expected: String,
    },
    #[error("{file}: tensor {tensor}: type {found}, expected F32")]
    NotF32 {
        file: String,
        tensor: String,
        found: &'static str,
    },
    #[error("{file}: {what} {found}, but the vocabulary has {expected} tokens")]
    Vocabulary {
        file: String,
        what: String,
        found: u64,
        expected: u64,
    },
    #[error("{file}: merge {index} is not two tokens with a space between")]
    Merge { file: String, index: usize },
    #[error("model spec {spec:?}: {problem}")]
    Spec { spec: String, problem: String },
}
