//! From settings to a model that is ready to run.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use perigee_arch::{Config, Inventory, KvKind};
use perigee_gguf::Gguf;
use perigee_model::{Activations, Deepseek2, LoadMode, LoadOptions, Observer};
use perigee_tokenizer::Tokenizer;
use perigee_topology::Machine;

use crate::args::LoadHow;
use crate::settings::{ModelSettings, Source};

/// Tokens in a KV block: small enough that a short request wastes little, large enough that
/// block tables stay short.
const KV_BLOCK_LEN: usize = 64;

/// An opened file that has passed every check.
pub(crate) struct Opened {
    pub(crate) gguf: Arc<Gguf>,
    pub(crate) config: Config,
    pub(crate) inventory: Inventory,
}

/// A loaded model with what belongs to it.
pub(crate) struct Loaded {
    pub(crate) model: Deepseek2,
    /// There if it was needed.
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    pub(crate) config: Config,
    /// Tokens that one request may span.
    pub(crate) context: usize,
    pub(crate) n_params: u64,
    pub(crate) file_bytes: u64,
}

/// What a command needs of the loaded model beyond the user's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// Sequences at once.
    pub(crate) parallel: usize,
    /// Logit rows of one batch.
    pub(crate) output_rows: usize,
    /// Whether text is turned into ids or back: networks run without a vocabulary too.
    pub(crate) text: bool,
    /// Context when the user named none; `None` = as trained, as far as memory goes.
    pub(crate) context: Option<usize>,
}

/// Opens the container only.
pub(crate) fn open_container(source: &Source) -> Result<Gguf> {
    Ok(match source {
        Source::Path(path) => Gguf::open(path)?,
        Source::Demo => Gguf::from_bytes("demo", perigee_demo::GGUF)?,
    })
}

/// Opens the file and checks it against its own configuration.
pub(crate) fn open(source: &Source) -> Result<Opened> {
    check(open_container(source)?)
}

/// Checks an opened container against its own configuration.
pub(crate) fn check(gguf: Gguf) -> Result<Opened> {
    let config = Config::from_metadata(gguf.metadata())?;
    let inventory = perigee_arch::inventory(&gguf, &config)?;
    Ok(Opened {
        gguf: Arc::new(gguf),
        config,
        inventory,
    })
}

/// Opens, plans and loads. `progress(done, total)` counts bytes of weights.
pub(crate) fn load(
    settings: &ModelSettings,
    needs: Needs,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Loaded> {
    load_observed(settings, needs, None, progress)
}

/// [`load`], with an observer of the inputs of weights.
pub(crate) fn load_observed(
    settings: &ModelSettings,
    needs: Needs,
    observer: Option<Arc<dyn Observer>>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Loaded> {
    load_opened(open(&settings.source)?, settings, needs, observer, progress)
}

/// [`load_observed`] for a file that is open, whatever the source in the settings.
pub(crate) fn load_opened(
    opened: Opened,
    settings: &ModelSettings,
    needs: Needs,
    observer: Option<Arc<dyn Observer>>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Loaded> {
    let Opened {
        gguf,
        config,
        inventory,
    } = opened;
    // Before the weights: a vocabulary that cannot be used should not take minutes to be found.
    let tokenizer = match needs.text {
        true => Some(Arc::new(Tokenizer::from_metadata(gguf.metadata())?)),
        false => None,
    };
    let plan = perigee_placement::plan(&gguf, &inventory, &settings.rules)?;
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    let context = decide_context(&config, settings, needs, Machine::memory_limit())?;
    let packed = perigee_model::packed_bytes(&gguf);
    let kv = config
        .kv_token_bytes(settings.kv)
        .map_or(u64::MAX, |bytes| bytes.saturating_mul(context as u64));
    let options = LoadOptions {
        n_threads: settings.threads,
        kv: settings.kv,
        // Each running sequence can leave one block partly filled.
        n_blocks: context.div_ceil(KV_BLOCK_LEN) + needs.parallel,
        block_len: KV_BLOCK_LEN,
        ubatch: settings.ubatch,
        max_output_rows: needs.output_rows.min(settings.ubatch.max(needs.parallel)),
        deterministic: settings.deterministic,
        load: decide_load(
            (settings.load, settings.activations.activations()),
            (packed, kv),
            Machine::available_memory(),
        )?,
        observer,
    };
    let n_params = gguf
        .tensors()
        .iter()
        .map(|tensor| tensor.shape.iter().product::<u64>())
        .sum();
    let file_bytes = gguf.file_bytes();
    let model = perigee_model::load(gguf, &plan, &options, progress)?;
    Ok(Loaded {
        model,
        tokenizer,
        config,
        context,
        n_params,
        file_bytes,
    })
}

/// Memory left to everything else when weights are packed without having been asked to.
const ROOM_TO_SPARE: u64 = 1 << 30;

/// Where `packed` bytes of weights stay, beside `kv` bytes of KV cache.
fn decide_load(
    (how, activations): (LoadHow, Activations),
    (packed, kv): (u64, u64),
    available: Option<u64>,
) -> Result<LoadMode> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let needed = packed.saturating_add(kv).saturating_add(ROOM_TO_SPARE);
    if activations == Activations::F32 {
        ensure!(
            how != LoadHow::Pack,
            "--activations f32 decodes weights as they lie in the file; leave --load pack out"
        );
        return Ok(LoadMode::Map(activations));
    }
    Ok(match (how, available) {
        (LoadHow::Map, _) => LoadMode::Map(activations),
        (LoadHow::Pack, _) => LoadMode::Pack,
        (LoadHow::Auto, Some(available)) if needed <= available => {
            tracing::info!(
                "weights: packed in memory, {:.1} GiB of {:.1} GiB available (--load map keeps them in the file)",
                gib(packed),
                gib(available),
            );
            LoadMode::Pack
        }
        (LoadHow::Auto, available) => {
            tracing::warn!(
                "weights: left in the mapped file, which is slower: packed they need {:.1} GiB and the KV cache \
                 {:.1} GiB, {:.1} GiB are available (-c lowers the KV cache, --load pack packs anyway)",
                gib(packed),
                gib(kv),
                gib(available.unwrap_or(0)),
            );
            LoadMode::Map(activations)
        }
    })
}

/// The context that the user asked for if its KV fits the machine, or the largest sensible one.
fn decide_context(
    config: &Config,
    settings: &ModelSettings,
    needs: Needs,
    memory: Option<u64>,
) -> Result<usize> {
    let token_bytes = config
        .kv_token_bytes(settings.kv)
        .context("the KV cache of this model is beyond all memory")?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    if let Some(context) = settings.context.or(needs.context) {
        let wanted = token_bytes
            .checked_mul(context as u64)
            .context("-c (--ctx-size) is beyond all memory")?;
        if let Some(memory) = memory {
            let smaller = if settings.kv == KvKind::F16 {
                " or use -ctk q8_0"
            } else {
                ""
            };
            ensure!(
                wanted <= memory,
                "a context of {context} tokens needs {:.1} GiB for its KV cache, but this machine has {:.1} GiB: \
                 lower -c (--ctx-size){smaller}",
                gib(wanted),
                gib(memory),
            );
        }
        if context > config.context_length {
            tracing::warn!(
                "-c {context} is beyond the trained context of {} tokens",
                config.context_length
            );
        }
        return Ok(context);
    }
    // A quarter of the memory for KV leaves room for weights; rows are only touched when used.
    let affordable = memory.map_or(u64::MAX, |memory| memory / 4 / token_bytes.max(1));
    let mut context = config.context_length;
    while context as u64 > affordable && context > 1024 {
        context /= 2;
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_packed_when_they_fit_with_room_to_spare() {
        let gib = 1 << 30;
        let decide = |how, available| {
            decide_load((how, Activations::Int8), (10 * gib, 2 * gib), available).unwrap()
        };
        let map = LoadMode::Map(Activations::Int8);
        assert_eq!(decide(LoadHow::Auto, Some(13 * gib)), LoadMode::Pack);
        assert_eq!(decide(LoadHow::Auto, Some(13 * gib - 1)), map);
        assert_eq!(decide(LoadHow::Auto, None), map);
        assert_eq!(decide(LoadHow::Pack, Some(0)), LoadMode::Pack);
        assert_eq!(decide(LoadHow::Map, Some(100 * gib)), map);
    }

    #[test]
    fn exact_activations_keep_weights_in_the_file() {
        let decide = |how| decide_load((how, Activations::F32), (1, 1), Some(u64::MAX));
        let map = LoadMode::Map(Activations::F32);
        assert_eq!(decide(LoadHow::Auto).unwrap(), map);
        assert_eq!(decide(LoadHow::Map).unwrap(), map);
        let error = decide(LoadHow::Pack).unwrap_err().to_string();
        assert!(error.contains("--load pack"), "{error}");
    }
}
