//! Reading a model under a budget.

use perigee_arch::{Config, Error, Inventory, KvKind, inventory};
use perigee_gguf::Gguf;
use perigee_testkit::Synthetic;
use perigee_testkit::hostile::{Draft, small};

use crate::budget::within_budget;

/// A valid model, to be altered.
pub(crate) fn model() -> Draft {
    Draft::of(&Synthetic::new(small()).to_bytes())
}

/// All that is known of a file before its weights are used.
pub(crate) fn read(bytes: Vec<u8>) -> Result<(Config, Inventory), Error> {
    let gguf = Gguf::from_vec("model.gguf", bytes)?;
    for tensor in gguf.tensors() {
        assert_eq!(gguf.bytes(tensor).len(), tensor.n_bytes);
    }
    let config = Config::from_metadata(gguf.metadata())?;
    assert!(config.kq_scale().is_finite() && config.kq_scale() > 0.0);
    let frequencies = config.rope_frequencies();
    assert_eq!(frequencies.len() * 2, config.qk_rope_head_dim);
    assert!(frequencies.iter().all(|f| (0.0..=1.0).contains(f)));
    // Beyond any memory is an answer.
    let _ = config.kv_bytes(KvKind::F16, u64::MAX);
    let _ = config.workspace_bytes(1 << 20, config.context_length as u64);
    let inventory = inventory(&gguf, &config)?;
    for expected in &inventory.tensors {
        assert!(gguf.tensor(&expected.name).is_some());
    }
    Ok((config, inventory))
}

/// The file must be refused with an error that says `subject`.
pub(crate) fn refused(draft: &Draft, subject: &str) -> Error {
    let bytes = draft.to_bytes();
    let Err(error) = within_budget(|| read(bytes)) else {
        panic!("a hostile file was accepted ({subject})")
    };
    let message = error.to_string();
    assert!(
        message.contains(subject),
        "{message:?} says nothing of {subject:?}"
    );
    error
}

/// The model, altered, must be refused with an error that says `subject`.
pub(crate) fn refused_when(change: impl FnOnce(&mut Draft), subject: &str) -> Error {
    let mut draft = model();
    change(&mut draft);
    refused(&draft, subject)
}

/// The model, altered, must be accepted.
pub(crate) fn accepted_when(change: impl FnOnce(&mut Draft)) -> (Config, Inventory) {
    let mut draft = model();
    change(&mut draft);
    let bytes = draft.to_bytes();
    within_budget(|| read(bytes)).expect("no rule is broken")
}
