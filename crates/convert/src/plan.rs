//! What will be written, from headers alone.

use std::collections::BTreeMap;
use std::path::Path;

use perigee_arch::{Config, Expected, KvLayout, Role, expected_tensors};
use perigee_gguf::{Declared, Value};
use perigee_quant::QuantKind;
use rustc_hash::FxHashSet;

use crate::checkpoint::Checkpoint;
use crate::int4::GROUP;
use crate::names::{self, Leftover, Source};
use crate::safetensors::{Dtype, Located};
use crate::{Error, hyperparameters, vocabulary};

/// How to convert.
#[derive(Clone, Debug)]
pub struct Options {
    /// Type of all matrices but the router and packed experts: Q8_0, BF16 or F32. A matrix
    /// whose rows are no whole number of Q8_0 blocks keeps a float type.
    pub matrices: QuantKind,
    /// Round the scales of packed experts that have no exact f16 instead of refusing them.
    pub round_scales: bool,
    /// `general.name`; the folder's name when absent.
    pub name: Option<String>,
    /// Threads that read and encode; 0 for as many as the machine has cores.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            matrices: QuantKind::Q8_0,
            round_scales: false,
            name: None,
            threads: 0,
        }
    }
}

/// One tensor of the file to be written.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Name, encoding and shape.
    pub declared: Declared,
    /// Size in bytes.
    pub n_bytes: u64,
    pub(crate) origin: Origin,
}

/// Checked tensors of the checkpoint that a planned one is made of.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Rows(Located),
    /// `[heads, key + value, rank]`: key and value rows of each head.
    KeyHeads(Located, Heads),
    ValueHeads(Located, Heads),
    /// One matrix an expert.
    Experts(Vec<Located>),
    PackedExperts(Vec<Packed>),
}

/// Rows of a head in `kv_b_proj`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) key: usize,
    pub(crate) value: usize,
}

/// A matrix of packed integers.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) codes: Located,
    pub(crate) scales: Located,
}

/// A checked checkpoint and the file that it will become. Nothing is written yet.
#[derive(Debug)]
pub struct Plan {
    /// Hyper-parameters.
    pub config: Config,
    /// Tensors in the order of the file.
    pub tensors: Vec<Planned>,
    /// What a person should know: parts left out, types that differ from the wish.
    pub notes: Vec<String>,
    pub(crate) metadata: Vec<(String, Value)>,
}

impl Plan {
    /// Reads the headers, the configuration and the vocabulary of the checkpoint in `folder`.
    ///
    /// # Errors
    /// An option out of range; a file that cannot be read or breaks a rule of its format; a
    /// tensor that is missing, of a wrong shape or type, or unknown to this program.
    pub fn new(folder: &Path, options: &Options) -> Result<Self, Error> {
        if !matches!(
            options.matrices,
            QuantKind::Q8_0 | QuantKind::Bf16 | QuantKind::F32
        ) {
            return Err(Error::Option {
                option: "matrices",
                problem: format!(
                    "type {}; Q8_0, BF16 and F32 are possible",
                    options.matrices.name()
                ),
            });
        }
        let name = options.name.clone().unwrap_or_else(|| folder_name(folder));
        let hyper = hyperparameters::read(folder, &name)?;
        let vocabulary = vocabulary::read(folder, hyper.config.vocab_size)?;
        let checkpoint = Checkpoint::open(folder)?;
        let prefix = names::text_prefix(
            checkpoint
                .tensors()
                .map(|tensor| tensor.tensor.name.as_str()),
        );
        let mut builder = Builder {
            checkpoint: &checkpoint,
            config: &hyper.config,
            matrices: options.matrices,
            packed_allowed: hyper.packed,
            used: FxHashSet::default(),
            notes: vocabulary.notes,
        };
        let expected = expected_tensors(
            &hyper.config,
            KvLayout::Split,
            false,
            hyper.tied_head,
            hyper.selection_bias,
        );
        let mut tensors = Vec::with_capacity(expected.len());
        for expected in &expected {
            tensors.push(builder.planned(prefix, expected)?);
        }
        builder.leftovers(prefix, hyper.tied_head)?;
        let notes = builder.notes;
        let mut metadata = hyper.config.to_metadata(KvLayout::Split);
        metadata.push(("general.file_type".to_owned(), file_type(&tensors, options)));
        metadata.extend(vocabulary.entries);
        Ok(Self {
            config: hyper.config,
            tensors,
            notes,
            metadata,
        })
    }

    /// Bytes of all tensors.
    pub fn n_bytes(&self) -> u64 {
        // Each is at most the size of its source, give or take a small factor.
        self.tensors
            .iter()
            .fold(0, |sum, tensor| sum.saturating_add(tensor.n_bytes))
    }
}

struct Builder<'a> {
    checkpoint: &'a Checkpoint,
    config: &'a Config,
    matrices: QuantKind,
    packed_allowed: bool,
    /// Tensors of the checkpoint that have a place.
    used: FxHashSet<String>,
    notes: Vec<String>,
}

impl Builder<'_> {
    fn planned(&mut self, prefix: &str, expected: &Expected) -> Result<Planned, Error> {
        let shape = expected.shapes[0].clone();
        let source = names::source(prefix, expected).ok_or_else(|| Error::MissingTensor {
            folder: self.checkpoint.folder.clone(),
            tensor: format!("for {}", expected.name),
        })?;
        let (origin, dtype) = self.origin(&source, &shape)?;
        let kind = match (&origin, expected.role) {
            (Origin::PackedExperts(_), _) => QuantKind::Q4_0,
            (_, Role::Norm | Role::Router) => QuantKind::F32,
            _ => self.matrix_kind(&expected.name, shape[0], dtype),
        };
        let declared = Declared {
            name: expected.name.clone(),
            kind,
            shape,
        };
        let n_bytes = declared.n_bytes().ok_or_else(|| {
            let (name, shape) = (&declared.name, &declared.shape);
            Error::file(
                &self.checkpoint.folder,
                format!("{name} of shape {shape:?} has no {} form", kind.name()),
            )
        })?;
        Ok(Planned {
            declared,
            n_bytes,
            origin,
        })
    }

    /// The type asked for, or where rows have no whole number of its blocks, the narrowest that
    /// holds the source's values.
    fn matrix_kind(&mut self, name: &str, row_len: u64, dtype: Dtype) -> QuantKind {
        let wish = self.matrices;
        if row_len.is_multiple_of(wish.block_len() as u64) {
            return wish;
        }
        let kind = match dtype {
            Dtype::Bf16 => QuantKind::Bf16,
            _ => QuantKind::F32,
        };
        self.notes.push(format!(
            "{name} stays {}: rows of {row_len} are no whole number of {} blocks",
            kind.name(),
            wish.name()
        ));
        kind
    }

    /// The source's tensors, each with the shape that the file's shape dictates.
    fn origin(&mut self, source: &Source, shape: &[u64]) -> Result<(Origin, Dtype), Error> {
        // Checkpoints name the contiguous dimension last.
        let reversed: Vec<u64> = shape.iter().rev().copied().collect();
        match source {
            Source::Whole(name) => {
                let tensor = self.float(name, &reversed)?;
                let dtype = tensor.tensor.dtype;
                Ok((Origin::Rows(tensor), dtype))
            }
            Source::KeyHeads(name) | Source::ValueHeads(name) => {
                let heads = Heads {
                    key: self.config.qk_nope_head_dim,
                    value: self.config.v_head_dim,
                };
                // Bounded by the ranges of a configuration.
                let rows = self.config.n_heads * (heads.key + heads.value);
                let tensor = self.float(name, &[rows as u64, self.config.kv_lora_rank as u64])?;
                let dtype = tensor.tensor.dtype;
                let origin = match source {
                    Source::KeyHeads(_) => Origin::KeyHeads(tensor, heads),
                    _ => Origin::ValueHeads(tensor, heads),
                };
                Ok((origin, dtype))
            }
            Source::Experts { module, projection } => {
                let matrix = &reversed[1..];
                let names = (0..self.config.n_routed_experts)
                    .map(|expert| format!("{module}.{expert}.{projection}"));
                let packed = format!("{module}.0.{projection}.weight_packed");
                if self.checkpoint.get(&packed).is_some() {
                    let experts = names.map(|name| self.packed(&name, matrix));
                    let experts = experts.collect::<Result<_, _>>()?;
                    return Ok((Origin::PackedExperts(experts), Dtype::Bf16));
                }
                let experts = names.map(|name| self.float(&format!("{name}.weight"), matrix));
                let experts: Vec<Located> = experts.collect::<Result<_, _>>()?;
                let dtype = experts
                    .iter()
                    .map(|expert| expert.tensor.dtype)
                    .find(|&dtype| dtype != Dtype::Bf16)
                    .unwrap_or(Dtype::Bf16);
                Ok((Origin::Experts(experts), dtype))
            }
        }
    }

    fn float(&mut self, name: &str, shape: &[u64]) -> Result<Located, Error> {
        let tensor = self.checkpoint.need(name)?;
        if tensor.tensor.dtype.float_bytes().is_none() {
            let found = &tensor.tensor.dtype_name;
            return Err(tensor.error(format!("type {found}, expected BF16, F16 or F32")));
        }
        tensor.expect_shape(shape)?;
        self.used.insert(name.to_owned());
        Ok(tensor.clone())
    }

    /// The three tensors of a packed matrix of `[rows, columns]`.
    fn packed(&mut self, name: &str, shape: &[u64]) -> Result<Packed, Error> {
        let (rows, columns) = (shape[0], shape[1]);
        let part = |suffix: &str| format!("{name}.weight_{suffix}");
        let codes = self.checkpoint.need(&part("packed"))?;
        if !self.packed_allowed {
            return Err(codes.error("packed, but config.json has no quantization_config"));
        }
        if codes.tensor.dtype != Dtype::I32 {
            let found = &codes.tensor.dtype_name;
            return Err(codes.error(format!("type {found}, expected I32")));
        }
        if !columns.is_multiple_of(GROUP as u64) {
            return Err(codes.error(format!("{columns} columns are no whole number of groups")));
        }
        codes.expect_shape(&[rows, columns / 8])?;
        let scales = self.float(&part("scale"), &[rows, columns / GROUP as u64])?;
        if let Some(stated) = self.checkpoint.get(&part("shape")) {
            check_stated_shape(stated, shape)?;
            self.used.insert(part("shape"));
        }
        self.used.insert(part("packed"));
        let codes = codes.clone();
        Ok(Packed { codes, scales })
    }

    /// Notes what is left out for a reason, and refuses what this program does not know.
    fn leftovers(&mut self, prefix: &str, tied_head: bool) -> Result<(), Error> {
        let mut counts: BTreeMap<Leftover, usize> = BTreeMap::new();
        let mut unknown: Option<&Located> = None;
        for tensor in self.checkpoint.tensors() {
            let name = tensor.tensor.name.as_str();
            if self.used.contains(name) {
                continue;
            }
            let kind = names::leftover(prefix, self.config.n_layers, tied_head, name);
            if kind == Leftover::Unknown {
                // The first by name, so that the message does not depend on a hash.
                unknown = unknown
                    .filter(|other| *other.tensor.name < *name)
                    .or(Some(tensor));
            }
            *counts.entry(kind).or_default() += 1;
        }
        if let Some(tensor) = unknown {
            return Err(tensor.error("not a tensor of a model of this configuration"));
        }
        for (kind, n) in counts {
            let what = match kind {
                Leftover::OtherPart(part) => format!("{part}, which is not of the text model"),
                Leftover::DraftLayer(layer) => {
                    format!("layer {layer}, which only drafts further tokens")
                }
                Leftover::TiedHead => "the head, which is the embedding".to_owned(),
                Leftover::Frequencies | Leftover::Unknown => continue,
            };
            self.notes.push(format!("{n} tensors left out of {what}"));
        }
        Ok(())
    }
}

/// `weight_shape` says once more what the shapes of the other two imply.
fn check_stated_shape(stated: &Located, expected: &[u64]) -> Result<(), Error> {
    stated.expect_shape(&[expected.len() as u64])?;
    let width = match stated.tensor.dtype {
        Dtype::I32 => 4,
        Dtype::I64 => 8,
        _ => {
            let found = &stated.tensor.dtype_name;
            return Err(stated.error(format!("type {found}, expected I32 or I64")));
        }
    };
    let bytes = stated.read(0, width * expected.len())?;
    let dims: Vec<u64> = bytes
        .chunks_exact(width)
        .map(|dim| {
            // Little-endian; a negative one is larger than any expected dimension.
            let byte = |(i, &byte): (usize, &u8)| u64::from(byte) << (8 * i);
            dim.iter().enumerate().map(byte).sum()
        })
        .collect();
    if dims != expected {
        return Err(stated.error(format!("says {dims:?}, expected {expected:?}")));
    }
    Ok(())
}

/// llama.cpp's number for "mostly this type".
fn file_type(tensors: &[Planned], options: &Options) -> Value {
    let packed = tensors
        .iter()
        .any(|tensor| matches!(tensor.origin, Origin::PackedExperts(_)));
    Value::U32(match options.matrices {
        _ if packed => 2,
        QuantKind::Q8_0 => 7,
        QuantKind::Bf16 => 32,
        _ => 0,
    })
}

fn folder_name(folder: &Path) -> String {
    let absolute = folder.canonicalize();
    let name = absolute.as_deref().unwrap_or(folder).file_name();
    name.map_or_else(
        || "unnamed".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
