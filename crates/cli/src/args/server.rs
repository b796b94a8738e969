//! The HTTP surface.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;

/// Options of `perigee serve`; `[server]` in the configuration file.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", env = "PERIGEE_HOST")]
    pub(crate) host: Option<String>,
    /// Port to listen on; 0 = any free one [default: 8080]
    #[arg(long, value_name = "PORT", env = "PERIGEE_PORT")]
    pub(crate) port: Option<u16>,
    /// Key that clients must send; may be repeated
    #[arg(
        long,
        value_name = "KEY",
        env = "PERIGEE_API_KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Vec<String>,
    /// File with one key a line
    #[arg(long, value_name = "FILE", env = "PERIGEE_API_KEY_FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Names of the model for clients, comma separated [default: the file's name]
    #[arg(short, long, value_name = "NAME,…", env = "PERIGEE_ALIAS")]
    pub(crate) alias: Option<String>,
    /// Sequences that generate at once; others queue (short form: -np) [default: 4]
    #[arg(long, value_name = "N", env = "PERIGEE_PARALLEL")]
    pub(crate) parallel: Option<usize>,
    /// Requests that may wait for a free sequence; more are refused with 429 [default: 32]
    #[arg(long, value_name = "N", env = "PERIGEE_QUEUE")]
    pub(crate) queue: Option<usize>,
    /// Largest request body in MiB [default: 64]
    #[arg(long, value_name = "MIB", env = "PERIGEE_MAX_BODY_MIB")]
    pub(crate) max_body_mib: Option<usize>,
    /// Seconds between the comments that keep a silent stream open [default: 15]
    #[arg(long, value_name = "S", env = "PERIGEE_SSE_PING_INTERVAL")]
    pub(crate) sse_ping_interval: Option<u64>,
    /// Show a page to talk to the model at /, or none (--no-webui means none) [default: auto]
    // Switches of llama.cpp have no value, and of several the last one counts.
    #[arg(
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        default_missing_value = "auto",
        overrides_with = "webui",
        env = "PERIGEE_WEBUI"
    )]
    pub(crate) webui: Option<WebPage>,
    /// Let web pages of other origins use the server
    #[arg(long, env = "PERIGEE_CORS")]
    pub(crate) cors: bool,
    /// Chat format: builtin (Kimi's own), gguf (the template in the file), or a Jinja file [default: builtin for Kimi vocabularies]
    #[arg(long, value_name = "builtin|gguf|FILE", env = "PERIGEE_CHAT_TEMPLATE")]
    pub(crate) chat_template: Option<String>,
    /// Jinja template file; wins over --chat-template
    #[arg(long, value_name = "FILE", env = "PERIGEE_CHAT_TEMPLATE_FILE")]
    pub(crate) chat_template_file: Option<PathBuf>,
    /// Defaults of template arguments as JSON: '{"thinking": false}'
    #[arg(long, value_name = "JSON", env = "PERIGEE_CHAT_TEMPLATE_KWARGS")]
    pub(crate) chat_template_kwargs: Option<String>,
    /// Seconds that open requests may take to finish at shutdown [default: 30]
    #[arg(long, value_name = "S", env = "PERIGEE_SHUTDOWN_TIMEOUT")]
    pub(crate) shutdown_timeout: Option<u64>,
}

/// Which web page is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WebPage {
    // ik_llama.cpp has a choice of them; here is one.
    #[default]
    #[value(alias = "llamacpp")]
    #[serde(alias = "llamacpp")]
    Auto,
    None,
}

impl ServerArgs {
    /// Fills what was not typed from the file.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            host: self.host.or(file.host),
            port: self.port.or(file.port),
            api_key: if self.api_key.is_empty() {
                file.api_key
            } else {
                self.api_key
            },
            api_key_file: self.api_key_file.or(file.api_key_file),
            alias: self.alias.or(file.alias),
            parallel: self.parallel.or(file.parallel),
            queue: self.queue.or(file.queue),
            max_body_mib: self.max_body_mib.or(file.max_body_mib),
            sse_ping_interval: self.sse_ping_interval.or(file.sse_ping_interval),
            webui: self.webui.or(file.webui),
            cors: self.cors || file.cors,
            chat_template: self.chat_template.or(file.chat_template),
            chat_template_file: self.chat_template_file.or(file.chat_template_file),
            chat_template_kwargs: self.chat_template_kwargs.or(file.chat_template_kwargs),
            shutdown_timeout: self.shutdown_timeout.or(file.shutdown_timeout),
        }
    }
}
