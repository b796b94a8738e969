//! Files that break one rule each.

use std::sync::{Arc, LazyLock};

use perigee_arch::{Config, Error};
use perigee_gguf::{Gguf, Value, Writer};
use perigee_testkit::{Synthetic, shapes};

/// The name under which tests read files from memory.
pub(crate) const FILE: &str = "model.gguf";

/// Weights are slow to draw: all tests share one file.
static KIMI: LazyLock<Arc<Gguf>> = LazyLock::new(|| Synthetic::new(shapes::kimi()).gguf());

/// The metadata of a small Kimi without its tensors and its vocabulary.
pub(crate) struct Keys(Vec<(String, Value)>);

impl Keys {
    /// All that a file says beside its vocabulary.
    pub(crate) fn of(gguf: &Gguf) -> Self {
        let entries = gguf.metadata().iter();
        let entries = entries.filter(|(key, _)| !key.starts_with("tokenizer."));
        Self(
            entries
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect(),
        )
    }

    pub(crate) fn kimi() -> Self {
        Self::of(&KIMI)
    }

    /// Replaces or adds a key, without the prefix `deepseek2.`.
    pub(crate) fn set(self, name: &str, value: Value) -> Self {
        self.set_full(&format!("deepseek2.{name}"), value)
    }

    /// Replaces or adds a key.
    pub(crate) fn set_full(mut self, key: &str, value: Value) -> Self {
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.to_owned(), value));
        self
    }

    /// Removes a key, without the prefix `deepseek2.`.
    pub(crate) fn without(self, name: &str) -> Self {
        self.without_full(&format!("deepseek2.{name}"))
    }

    /// Removes a key.
    pub(crate) fn without_full(mut self, key: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|(known, _)| known != key);
        assert_eq!(self.0.len() + 1, before, "{key} was there");
        self
    }

    /// The configuration that is read from these keys.
    pub(crate) fn read(&self) -> Result<Config, Error> {
        let mut writer = Writer::new();
        for (key, value) in &self.0 {
            writer.metadata(key, value.clone());
        }
        let gguf = Gguf::from_vec(FILE, writer.to_bytes()).expect("the container is valid");
        Config::from_metadata(gguf.metadata())
    }

    /// The configuration, which must be accepted.
    pub(crate) fn accepted(&self) -> Config {
        self.read().expect("no rule is broken")
    }

    /// The error, which must name the file and `subject`.
    pub(crate) fn refused(&self, subject: &str) -> Error {
        let Err(error) = self.read() else {
            panic!("keys that break a rule were accepted ({subject})")
        };
        assert_names(&error, subject);
        error
    }
}

/// The message must name the file and what in it is wrong.
pub(crate) fn assert_names(error: &Error, subject: &str) {
    let message = error.to_string();
    assert!(
        message.starts_with("model.gguf: "),
        "{message:?} names no file"
    );
    assert!(
        message.contains(subject),
        "{message:?} says nothing of {subject:?}"
    );
}

/// A file that can be altered before it is read.
pub(crate) struct Model {
    entries: Vec<(String, Value)>,
    tensors: Vec<Stored>,
}

/// A tensor of a [`Model`].
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) kind: perigee_quant::QuantKind,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Model {
    pub(crate) fn kimi() -> Self {
        let gguf = &*KIMI;
        let entries = gguf.metadata().iter();
        let tensors = gguf.tensors().iter().map(|tensor| Stored {
            name: tensor.name.clone(),
            kind: tensor.kind,
            shape: tensor.shape.clone(),
            bytes: gguf.bytes(tensor).to_vec(),
        });
        Self {
            entries: entries
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect(),
            tensors: tensors.collect(),
        }
    }

    /// Replaces or adds a key.
    pub(crate) fn set(mut self, key: &str, value: Value) -> Self {
        self.entries.retain(|(known, _)| known != key);
        self.entries.push((key.to_owned(), value));
        self
    }

    /// Removes a tensor.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let before = self.tensors.len();
        self.tensors.retain(|tensor| tensor.name != name);
        assert_eq!(self.tensors.len() + 1, before, "{name} was there");
        self
    }

    /// Adds a tensor.
    pub(crate) fn with(mut self, tensor: Stored) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// Changes a tensor.
    pub(crate) fn alter(mut self, name: &str, change: impl FnOnce(&mut Stored)) -> Self {
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.name == name);
        change(tensor.expect("the tensor is there"));
        self
    }

    pub(crate) fn gguf(&self) -> Gguf {
        let mut writer = Writer::new();
        for (key, value) in &self.entries {
            writer.metadata(key, value.clone());
        }
        for Stored {
            name,
            kind,
            shape,
            bytes,
        } in &self.tensors
        {
            writer.tensor(name, *kind, shape, bytes.clone());
        }
        Gguf::from_vec(FILE, writer.to_bytes()).expect("the container is valid")
    }
}
