//! What the program needs to know after all decisions: command line, then
//! environment, then file, then default.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use perigee_arch::KvKind;
use perigee_cpu::Isa;
use perigee_placement::Rule;
use perigee_topology::Machine;
use serde::Deserialize;

use crate::args::{
    ActivationKind, CacheType, InstructionSet, LoadHow, ModelArgs, SamplingArgs, ServerArgs,
};

/// The settings file: the same names as the long options, in three sections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ConfigFile {
    pub(crate) model: ModelArgs,
    pub(crate) server: ServerArgs,
    pub(crate) sampling: SamplingArgs,
}

impl ConfigFile {
    /// Reads the file of `--config`; an empty one when none was named.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text =
            fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?;
        // toml's message spans lines with a picture of the place; one line is enough here.
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            anyhow::anyhow!(
                "--config {}, line {line}: {}",
                path.display(),
                error.message()
            )
        })
    }
}

/// Where the model comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A path on this machine.
    Path(PathBuf),
    /// The embedded demonstration model.
    Demo,
}

/// How the model is to be loaded.
#[derive(Debug)]
pub(crate) struct ModelSettings {
    pub(crate) source: Source,
    /// `None`: decided from the model and the memory.
    pub(crate) context: Option<usize>,
    pub(crate) threads: usize,
    pub(crate) ubatch: usize,
    pub(crate) kv: KvKind,
    pub(crate) rules: Vec<Rule>,
    pub(crate) load: LoadHow,
    pub(crate) activations: ActivationKind,
    pub(crate) deterministic: bool,
}

impl ModelSettings {
    /// Decides everything that can be decided without opening the model.
    pub(crate) fn resolve(args: ModelArgs) -> Result<Self> {
        let source = match (&args.model, args.demo) {
            (Some(path), _) => Source::Path(path.clone()),
            (None, true) => Source::Demo,
            (None, false) => {
                bail!("no model: give -m PATH, or --demo for the embedded demonstration model")
            }
        };
        Self::with_source(source, args)
    }

    /// The same for a model whose source has been decided.
    pub(crate) fn with_source(source: Source, args: ModelArgs) -> Result<Self> {
        if let (Some(k), Some(v)) = (args.cache_type_k, args.cache_type_v) {
            ensure!(
                k == v,
                "-ctk and -ctv differ: MLA keeps keys and values in one row of one type"
            );
        }
        let kv = match args
            .cache_type_k
            .or(args.cache_type_v)
            .unwrap_or(CacheType::F16)
        {
            CacheType::F16 => KvKind::F16,
            CacheType::Q8_0 => KvKind::Q8_0,
        };
        if let Some(isa) = args.isa.map(InstructionSet::isa) {
            let names: Vec<&str> = Isa::available().map(Isa::name).collect();
            ensure!(
                isa.choose(),
                "--isa: this CPU has no {}, only {}",
                isa.name(),
                names.join(", ")
            );
        }
        let threads = args.threads.unwrap_or_else(Machine::default_threads);
        ensure!(
            (1..=4096).contains(&threads),
            "-t {threads}: expected 1 to 4096 threads"
        );
        let ubatch = args.ubatch_size.unwrap_or(512);
        ensure!(
            (1..=65_536).contains(&ubatch),
            "-ub {ubatch}: expected 1 to 65536 tokens"
        );
        let mut rules = Vec::new();
        for list in &args.override_tensor {
            rules.extend(Rule::parse_list(list).with_context(|| format!("-ot {list}"))?);
        }
        if args.cpu_moe {
            rules.extend(perigee_placement::cpu_moe_rules());
        }
        if let Some(n) = args.n_cpu_moe {
            rules.extend(perigee_placement::n_cpu_moe_rules(n));
        }
        if let Some(n) = args.gpu_layers.filter(|&n| n > 0) {
            eprintln!(
                "perigee: -ngl {n}: this build has no GPU support; all layers are computed on the CPU"
            );
        }
        Ok(Self {
            source,
            // llama.cpp's 0 means "as trained".
            context: args.ctx_size.filter(|&n| n > 0),
            threads,
            ubatch,
            kv,
            rules,
            load: args.load.unwrap_or_default(),
            activations: args.activations.unwrap_or_default(),
            deterministic: args.deterministic,
        })
    }
}
