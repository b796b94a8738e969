//! What the routes share: the loaded model, or how far its loading has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use perigee_chat::ChatFormat;
use perigee_engine::EngineHandle;
use perigee_tokenizer::Tokenizer;
use serde_json::{Map, Value};

use crate::openai::sampling::SamplingDefaults;

/// Settings of the HTTP surface, resolved by the caller.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Names of the model (`--alias`, comma list); the first one is canonical.
    pub aliases: Vec<String>,
    /// Accepted keys; empty = every request is accepted.
    pub api_keys: Vec<String>,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Interval of the comment lines that keep a silent stream open.
    pub ping_interval: Duration,
    /// Show a page to talk to the model at `/`.
    pub page: bool,
    /// Answer cross-origin requests (`--cors`).
    pub cors: bool,
    /// Samplers where the request says nothing.
    pub sampling: SamplingDefaults,
    /// `--chat-template-kwargs`: defaults of template arguments and thinking switches.
    pub template_kwargs: Map<String, Value>,
}

/// Facts about the model for `/v1/models`.
#[derive(Clone, Debug)]
pub struct ModelCard {
    /// Trained context.
    pub context_trained: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Weights in the file.
    pub n_params: u64,
    /// Bytes of the file, all shards.
    pub file_bytes: u64,
    /// What users must know about a model that is not what they may take it for.
    pub notice: Option<String>,
}

/// The rooms below, ready to serve.
pub struct Ready {
    /// Submits sequences.
    pub engine: EngineHandle,
    /// Text and ids.
    pub tokenizer: Arc<Tokenizer>,
    /// The conversation format.
    pub chat: ChatFormat,
    /// For `/v1/models`.
    pub card: ModelCard,
}

/// Shared by all requests; the model appears in it when it has been loaded.
pub struct ServerState {
    pub(crate) options: ServerOptions,
    ready: OnceLock<Arc<Ready>>,
    loaded_bytes: AtomicU64,
    total_bytes: AtomicU64,
    pub(crate) started: u64,
}

impl ServerState {
    /// A server whose model is still being loaded.
    pub fn new(options: ServerOptions) -> Arc<Self> {
        let started = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        Arc::new(Self {
            options,
            ready: OnceLock::new(),
            loaded_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            started,
        })
    }

    /// Reports how far loading has come; shown by `/health`.
    pub fn set_progress(&self, loaded: u64, total: u64) {
        self.loaded_bytes.store(loaded, Ordering::Relaxed);
        self.total_bytes.store(total, Ordering::Relaxed);
    }

    /// Opens the routes that need a model. The first call counts.
    pub fn set_ready(&self, ready: Ready) {
        // A second model would be a bug of the caller; requests keep the first.
        let _ = self.ready.set(Arc::new(ready));
    }

    /// The model, once it is there.
    pub(crate) fn ready(&self) -> Option<Arc<Ready>> {
        self.ready.get().cloned()
    }

    /// Loaded fraction, 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        let total = self.total_bytes.load(Ordering::Relaxed);
        if total == 0 {
            0.0
        } else {
            self.loaded_bytes.load(Ordering::Relaxed) as f64 / total as f64
        }
    }
}
