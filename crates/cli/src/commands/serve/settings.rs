//! Decisions of `perigee serve`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use perigee_chat::TemplateChoice;
use perigee_server::ServerOptions;
use perigee_topology::Machine;
use serde_json::{Map, Value};

use crate::args::{ModelArgs, ServeArgs, ServerArgs, WebPage};
use crate::commands::turn::sampling_defaults;
use crate::settings::{ConfigFile, ModelSettings, Source};

/// Everything that serving needs, decided.
pub(super) struct ServeSettings {
    pub(super) source: ModelSource,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) parallel: usize,
    pub(super) queue: usize,
    pub(super) template: TemplateChoice,
    pub(super) shutdown_timeout: Duration,
    pub(super) options: ServerOptions,
}

/// What answers.
pub(super) enum ModelSource {
    /// A model file or the embedded one.
    Weights(ModelSettings),
    /// A script, and the context that it plays in.
    #[cfg(feature = "scripted")]
    Script(std::path::PathBuf, Option<usize>),
}

impl ModelSource {
    /// CPUs of the cores that the compute threads leave alone.
    pub(super) fn spare_cpus(&self) -> Vec<usize> {
        match self {
            Self::Weights(model) => Machine::spare_cpus(model.threads),
            #[cfg(feature = "scripted")]
            Self::Script(..) => Vec::new(),
        }
    }
}

impl ServeSettings {
    /// Command line and environment over file over defaults.
    pub(super) fn resolve(args: ServeArgs) -> Result<Self> {
        let file = ConfigFile::read(args.model.config.as_deref())?;
        let server = args.server.or(file.server);
        let sampling = args.sampling.or(file.sampling);
        #[cfg(feature = "scripted")]
        let source = match args.scripted {
            Some(path) => ModelSource::Script(path, args.model.ctx_size),
            None => weights(args.model.or(file.model))?,
        };
        #[cfg(not(feature = "scripted"))]
        let source = weights(args.model.or(file.model))?;
        let parallel = server.parallel.unwrap_or(4);
        ensure!(
            (1..=256).contains(&parallel),
            "--parallel {parallel}: expected 1 to 256 sequences"
        );
        let max_body_mib = server.max_body_mib.unwrap_or(64);
        Ok(Self {
            host: server
                .host
                .clone()
                .unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: server.port.unwrap_or(8080),
            parallel,
            queue: server.queue.unwrap_or(32),
            template: template(&server)?,
            shutdown_timeout: Duration::from_secs(server.shutdown_timeout.unwrap_or(30)),
            options: ServerOptions {
                aliases: aliases(server.alias.as_deref(), &source),
                api_keys: api_keys(&server)?,
                max_body_bytes: max_body_mib
                    .checked_mul(1 << 20)
                    .context("--max-body-mib is too large")?,
                ping_interval: Duration::from_secs(server.sse_ping_interval.unwrap_or(15).max(1)),
                page: server.webui.unwrap_or_default() == WebPage::Auto,
                cors: server.cors,
                sampling: sampling_defaults(sampling),
                template_kwargs: template_kwargs(server.chat_template_kwargs.as_deref())?,
            },
            source,
        })
    }
}

fn weights(args: ModelArgs) -> Result<ModelSource> {
    Ok(ModelSource::Weights(ModelSettings::resolve(args)?))
}

/// The names of `--alias`, or the name of the file without its shard number.
fn aliases(alias: Option<&str>, source: &ModelSource) -> Vec<String> {
    let named: Vec<String> = alias
        .iter()
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if !named.is_empty() {
        return named;
    }
    let name = match source {
        ModelSource::Weights(settings) => match &settings.source {
            Source::Path(path) => path.file_stem().map_or_else(
                || "model".to_owned(),
                |stem| stem.to_string_lossy().into_owned(),
            ),
            Source::Demo => "perigee-demo".to_owned(),
        },
        #[cfg(feature = "scripted")]
        ModelSource::Script(..) => "scripted".to_owned(),
    };
    // `Kimi-K2.6-IQ3_K-00001-of-00012` is one model of twelve files.
    let shard = name.rfind("-of-").and_then(|end| name[..end].rfind('-'));
    vec![
        shard
            .map_or(name.as_str(), |start| &name[..start])
            .to_owned(),
    ]
}

fn api_keys(server: &ServerArgs) -> Result<Vec<String>> {
    let mut keys = server.api_key.clone();
    if let Some(path) = &server.api_key_file {
        let text = fs::read_to_string(path)
            .with_context(|| format!("--api-key-file {}", path.display()))?;
        keys.extend(
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
        ensure!(
            !keys.is_empty(),
            "--api-key-file {} holds no key",
            path.display()
        );
    }
    ensure!(
        keys.iter().all(|key| !key.is_empty()),
        "--api-key must not be empty"
    );
    Ok(keys)
}

/// `--chat-template-file` always wins.
fn template(server: &ServerArgs) -> Result<TemplateChoice> {
    let read = |flag: &str, path: &std::path::Path| {
        let text =
            fs::read_to_string(path).with_context(|| format!("{flag} {}", path.display()))?;
        Ok(TemplateChoice::Source(text))
    };
    if let Some(path) = &server.chat_template_file {
        return read("--chat-template-file", path);
    }
    match server.chat_template.as_deref() {
        None => Ok(TemplateChoice::Auto),
        Some("builtin") => Ok(TemplateChoice::Builtin),
        Some("gguf") => Ok(TemplateChoice::Gguf),
        Some(path) => read("--chat-template", path.as_ref()),
    }
}

fn template_kwargs(json: Option<&str>) -> Result<Map<String, Value>> {
    let Some(json) = json else {
        return Ok(Map::new());
    };
    serde_json::from_str(json)
        .with_context(|| format!("--chat-template-kwargs {json}: not a JSON object"))
}
