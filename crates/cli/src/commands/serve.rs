//! `perigee serve`: listens at once, loads meanwhile, serves until told to stop.

mod settings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use perigee_chat::{ChatFormat, TemplateChoice};
use perigee_engine::{EngineHandle, EngineOptions, Event, Request, SamplingParams, TokenId};
use perigee_model::Model;
use perigee_server::{ModelCard, Ready, ServerState};
use perigee_tokenizer::Tokenizer;
use perigee_topology::Machine;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::settings::ServeSettings;
use crate::args::ServeArgs;
use crate::progress::LoadProgress;
use crate::settings::ModelSettings;
use crate::startup::{self, Needs};

/// Said wherever the embedded model speaks.
pub(crate) const DEMO_BANNER: &str = "\
This is the demonstration model of Perigee, not Kimi: twenty million parameters that small talk,
some facts, small sums and tool calls fit into. It knows nothing else, and errs.";

/// HTTP needs little: the cores belong to the compute threads.
const HTTP_THREADS: usize = 2;

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(args: ServeArgs) -> Result<()> {
    let settings = ServeSettings::resolve(args)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(HTTP_THREADS)
        .thread_name("http")
        .enable_all();
    // A compute thread that polls for work looks busy to nobody: the system would put an HTTP
    // thread on its core, and every loop would wait for it.
    let spare = settings.source.spare_cpus();
    if !spare.is_empty() {
        builder.on_thread_start(move || {
            // Where the system refuses, the thread runs anywhere.
            Machine::bind_thread(&spare);
        });
    }
    let runtime = builder.build().context("starting the HTTP threads")?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: ServeSettings) -> Result<()> {
    let listener = listen(&settings.host, settings.port).await?;
    let address = listener.local_addr().context("asking for the address")?;
    let page = settings.options.page.then(|| browser_address(address));
    warn_if_open(&settings);
    let state = ServerState::new(settings.options.clone());
    let grace = settings.shutdown_timeout;
    let (loaded, loading) = oneshot::channel();
    {
        let state = Arc::clone(&state);
        let loader = move || {
            // The receiver is gone only if the server has already stopped.
            let _ = loaded.send(load(settings, &state));
        };
        std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(loader)
            .context("starting the loader")?;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(perigee_server::serve(
        listener,
        state,
        async { stopped.await.unwrap_or(()) },
        grace,
    ));
    tracing::info!("listening on http://{address}, loading the model");
    let engine = tokio::select! {
        result = loading => result.context("the loader ended without a result")??,
        () = signal() => return Ok(()),
    };
    if let Some(page) = page {
        tracing::info!("a page to talk to the model: {page}");
    }
    tracing::info!("ready: http://{address}/v1");
    signal().await;
    tracing::info!(
        "stopping: open requests have {} s to finish",
        grace.as_secs()
    );
    // The server can only be gone if its listener failed; its result says so.
    let _ = stop.send(());
    let served = server.await.context("the server task failed")?;
    tokio::task::spawn_blocking(move || engine.shutdown(Duration::ZERO))
        .await
        .context("stopping the engine")?;
    served.context("serving")
}

/// Loads the model, starts its engine and opens the routes.
fn load(settings: ServeSettings, state: &ServerState) -> Result<EngineHandle> {
    let parallel = settings.parallel;
    let (model, tokenizer, context, card, deterministic) = match settings.source {
        settings::ModelSource::Weights(model) => load_weights(&model, parallel, state)?,
        #[cfg(feature = "scripted")]
        settings::ModelSource::Script(path, context) => {
            crate::scripted::load(&path, context, parallel)?
        }
    };
    let chat = chat_format(&tokenizer, &settings.template)?;
    let options = EngineOptions {
        parallel,
        queue: settings.queue,
        context,
        deterministic,
    };
    let engine = EngineHandle::start(model, Arc::clone(&tokenizer), options);
    warm_up(&engine)?;
    state.set_ready(Ready {
        engine: engine.clone(),
        tokenizer,
        chat,
        card,
    });
    Ok(engine)
}

/// Computes one token, so that the first request does not pay for cold pages and idle cores, and
/// a model that cannot compute is found before clients are.
fn warm_up(engine: &EngineHandle) -> Result<()> {
    let request = Request {
        prompt: vec![TokenId(0)],
        sampling: SamplingParams::default(),
        stop_ids: Vec::new(),
        max_tokens: Some(1),
        deadline: None,
        cache_prompt: false,
    };
    let mut stream = engine.submit(request)?;
    loop {
        match stream.blocking_next() {
            Some(Event::Done { .. }) => return Ok(()),
            Some(Event::Failed { message }) => bail!("the model cannot compute: {message}"),
            Some(_) => {}
            None => bail!("the engine stopped while warming up"),
        }
    }
}

/// A model, its vocabulary, the context of a request, facts for clients, and whether bits are fixed.
pub(crate) type Served = (Box<dyn Model>, Arc<Tokenizer>, usize, ModelCard, bool);

fn load_weights(settings: &ModelSettings, parallel: usize, state: &ServerState) -> Result<Served> {
    let progress = LoadProgress::new("loading");
    let needs = Needs {
        parallel,
        output_rows: parallel,
        text: true,
        context: None,
    };
    let loaded = startup::load(settings, needs, &|done, total| {
        progress.set(done, total);
        state.set_progress(done, total);
    })?;
    progress.finish();
    tracing::info!(
        "{}: {} layers, {} experts, context {}, {} threads",
        loaded.config.name,
        loaded.config.n_layers,
        loaded.config.n_routed_experts,
        loaded.context,
        settings.threads
    );
    let is_demo = matches!(settings.source, crate::settings::Source::Demo);
    if is_demo {
        eprintln!("{DEMO_BANNER}");
    }
    let card = ModelCard {
        context_trained: loaded.config.context_length,
        hidden: loaded.config.hidden,
        n_params: loaded.n_params,
        file_bytes: loaded.file_bytes,
        // Its lines are broken for terminals.
        notice: is_demo.then(|| DEMO_BANNER.replace('\n', " ")),
    };
    Ok((
        Box::new(loaded.model),
        loaded.tokenizer.context("the vocabulary was not loaded")?,
        loaded.context,
        card,
        settings.deterministic,
    ))
}

fn chat_format(tokenizer: &Tokenizer, choice: &TemplateChoice) -> Result<ChatFormat> {
    ChatFormat::new(tokenizer, choice).context("--chat-template")
}

async fn listen(host: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind((host, port))
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                anyhow::anyhow!("port {port} on {host} is in use: choose another with --port")
            }
            std::io::ErrorKind::PermissionDenied => {
                anyhow::anyhow!("port {port} needs more rights: choose one above 1023 with --port")
            }
            _ => anyhow::anyhow!("cannot listen on {host}:{port} (--host, --port): {error}"),
        })
}

/// Where a browser on this machine finds the page. No browser can go to the address that stands for
/// all of them.
fn browser_address(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}/")
}

fn warn_if_open(settings: &ServeSettings) {
    let loopback = settings.host == "localhost"
        || settings
            .host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback());
    if !loopback && settings.options.api_keys.is_empty() {
        tracing::warn!(
            "anyone who can reach {}:{} can use this server: set --api-key",
            settings.host,
            settings.port
        );
    }
}

/// Resolves at the first SIGINT or SIGTERM.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return tokio::signal::ctrl_c().await.unwrap_or(());
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
