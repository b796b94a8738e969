//! `config.json` to [`Config`].

use std::path::{Path, PathBuf};

use perigee_arch::{Config, Gating, KvLayout, Yarn};
use perigee_gguf::{Gguf, Writer};
use serde_json::Value;

use crate::Error;
use crate::checkpoint::read_json;

/// Types of text models with the layers of DeepSeek-V3.
const MODEL_TYPES: [&str; 2] = ["kimi_k2", "deepseek_v3"];

/// What `config.json` says.
pub(crate) struct Hyperparameters {
    pub(crate) config: Config,
    /// The head is the embedding.
    pub(crate) tied_head: bool,
    /// The router has a bias for selection.
    pub(crate) selection_bias: bool,
    /// The checkpoint says that its experts are packed integers of 4 bits.
    pub(crate) packed: bool,
}

/// Reads and checks a folder's `config.json`; `name` becomes `general.name`.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Hyperparameters, Error> {
    let file = folder.join("config.json");
    let root = read_json(&file)?;
    // Models that see images nest the text model's values.
    let nested = root.get("text_config").is_some_and(Value::is_object);
    let text = Object {
        file: file.clone(),
        path: if nested { "text_config." } else { "" }.to_owned(),
        value: if nested { &root["text_config"] } else { &root },
    };
    check_family(&text)?;
    let root = Object {
        file,
        path: String::new(),
        value: &root,
    };
    let quantization = match text.object("quantization_config")? {
        Some(quantization) => Some(quantization),
        None => root.object("quantization_config")?,
    };
    if let Some(quantization) = &quantization {
        check_quantization(quantization)?;
    }
    let selection_bias = text.text("topk_method")? == Some("noaux_tc");
    let config = as_read_back(&text.file, &config(&text, name)?)?;
    Ok(Hyperparameters {
        config,
        tied_head: text.flag("tie_word_embeddings")?.unwrap_or(false),
        selection_bias,
        packed: quantization.is_some(),
    })
}

fn check_family(text: &Object<'_>) -> Result<(), Error> {
    let found = text.text("model_type")?.unwrap_or("none");
    if !MODEL_TYPES.contains(&found) {
        let known = MODEL_TYPES.join(" and ");
        return Err(text.wrong("model_type", format!("is {found:?}; {known} are supported")));
    }
    text.only("moe_layer_freq", &Value::from(1))?;
    text.only("attention_bias", &Value::from(false))?;
    text.only("hidden_act", &Value::from("silu"))
}

/// Packed symmetric integers of 4 bits in groups of 32 along the input, and nothing else.
fn check_quantization(quantization: &Object<'_>) -> Result<(), Error> {
    quantization.must("quant_method", &Value::from("compressed-tensors"))?;
    quantization.must("format", &Value::from("pack-quantized"))?;
    let groups = quantization
        .object("config_groups")?
        .ok_or_else(|| quantization.wrong("config_groups", "is missing"))?;
    let names: Vec<&String> = groups
        .value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    if names.is_empty() {
        return Err(quantization.wrong("config_groups", "is empty"));
    }
    for name in names {
        let group = groups
            .object(name)?
            .ok_or_else(|| groups.wrong(name, "is missing"))?;
        let weights = group
            .object("weights")?
            .ok_or_else(|| group.wrong("weights", "is missing"))?;
        weights.must("num_bits", &Value::from(4))?;
        weights.must("group_size", &Value::from(32))?;
        weights.must("symmetric", &Value::from(true))?;
        weights.only("type", &Value::from("int"))?;
        weights.only("strategy", &Value::from("group"))?;
        // Columns in another order than the matrix's own.
        if !matches!(weights.get("actorder"), None | Some(Value::Bool(false))) {
            return Err(weights.wrong("actorder", "is set, which is not supported"));
        }
    }
    Ok(())
}

fn config(text: &Object<'_>, name: &str) -> Result<Config, Error> {
    let n_routed_experts = text.count("n_routed_experts")?.unwrap_or(0);
    let if_moe = |key: &str| match n_routed_experts {
        0 => Ok(0),
        _ => text.need_count(key),
    };
    let gating = match text.text("scoring_func")? {
        Some("sigmoid") => Gating::Sigmoid,
        Some("softmax") => Gating::Softmax,
        other => {
            let found = other.unwrap_or("none");
            let problem = format!("is {found:?}, expected sigmoid or softmax");
            return Err(text.wrong("scoring_func", problem));
        }
    };
    let (rope_base, yarn) = rope(text)?;
    Ok(Config {
        name: name.to_owned(),
        n_layers: text.need_count("num_hidden_layers")?,
        hidden: text.need_count("hidden_size")?,
        vocab_size: text.need_count("vocab_size")?,
        context_length: text.need_count("max_position_embeddings")?,
        n_heads: text.need_count("num_attention_heads")?,
        qk_nope_head_dim: text.need_count("qk_nope_head_dim")?,
        qk_rope_head_dim: text.need_count("qk_rope_head_dim")?,
        v_head_dim: text.need_count("v_head_dim")?,
        q_lora_rank: text.count("q_lora_rank")?.filter(|&rank| rank > 0),
        kv_lora_rank: text.need_count("kv_lora_rank")?,
        intermediate_size: text.need_count("intermediate_size")?,
        first_k_dense: text.count("first_k_dense_replace")?.unwrap_or(0),
        n_routed_experts,
        n_experts_used: if_moe("num_experts_per_tok")?,
        n_shared_experts: text.count("n_shared_experts")?.unwrap_or(0),
        moe_intermediate_size: if_moe("moe_intermediate_size")?,
        gating,
        norm_topk: text.flag("norm_topk_prob")?.unwrap_or(false),
        routed_scale: text.float("routed_scaling_factor")?.unwrap_or(1.0),
        n_group: text.count("n_group")?.unwrap_or(1),
        topk_group: text.count("topk_group")?.unwrap_or(1),
        rms_eps: text
            .float("rms_norm_eps")?
            .ok_or_else(|| text.wrong("rms_norm_eps", "is missing"))?,
        rope_base,
        rope_linear_factor: 1.0,
        yarn,
    })
}

/// The base and YaRN, under the older key `rope_scaling` or the newer `rope_parameters`.
fn rope(text: &Object<'_>) -> Result<(f32, Option<Yarn>), Error> {
    let scaling = match text.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => text.object("rope_parameters")?,
    };
    let inner_base = match &scaling {
        Some(scaling) => scaling.float("rope_theta")?,
        None => None,
    };
    let base = match inner_base {
        Some(base) => base,
        None => text
            .float("rope_theta")?
            .ok_or_else(|| text.wrong("rope_theta", "is missing"))?,
    };
    let Some(scaling) = scaling else {
        return Ok((base, None));
    };
    let kind = match scaling.text("type")? {
        Some(kind) => Some(kind),
        None => scaling.text("rope_type")?,
    };
    match kind {
        Some("yarn") => {}
        None | Some("default") => return Ok((base, None)),
        Some(other) => {
            let problem = format!("is {other:?}; only yarn is supported");
            return Err(scaling.wrong("type", problem));
        }
    }
    let original = "original_max_position_embeddings";
    // The rotated part is scaled by the quotient of the two magnitudes, which files cannot say.
    let all_dim = scaling.float("mscale_all_dim")?.unwrap_or(0.0);
    let mscale = scaling.float("mscale")?.unwrap_or(1.0);
    if mscale != all_dim {
        let problem = format!("is {mscale}, but mscale_all_dim is {all_dim}; they must be equal");
        return Err(scaling.wrong("mscale", problem));
    }
    let original_context = scaling.need_count(original)?;
    let yarn = Yarn {
        factor: scaling
            .float("factor")?
            .ok_or_else(|| scaling.wrong("factor", "is missing"))?,
        original_context: u32::try_from(original_context)
            .map_err(|_| scaling.wrong(original, format!("is {original_context}")))?,
        beta_fast: scaling.float("beta_fast")?.unwrap_or(32.0),
        beta_slow: scaling.float("beta_slow")?.unwrap_or(1.0),
        log_multiplier: (0.1 * f64::from(all_dim)) as f32,
    };
    Ok((base, Some(yarn)))
}

/// Demands what readers of the result demand, before hours of work: the metadata is written to
/// memory and read back.
fn as_read_back(file: &Path, config: &Config) -> Result<Config, Error> {
    let mut writer = Writer::new();
    for (key, value) in config.to_metadata(KvLayout::Split) {
        writer.metadata(&key, value);
    }
    let gguf = Gguf::from_vec(&file.display().to_string(), writer.to_bytes())
        .map_err(perigee_arch::Error::from)?;
    Ok(Config::from_metadata(gguf.metadata())?)
}

/// A JSON object of a file, for errors that name the key with its path.
pub(crate) struct Object<'a> {
    file: PathBuf,
    path: String,
    value: &'a Value,
}

impl<'a> Object<'a> {
    pub(crate) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::Key {
            file: self.file.clone(),
            key: format!("{}{key}", self.path),
            problem: problem.into(),
        }
    }

    /// The value, if it is there and not null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    fn object(&self, key: &str) -> Result<Option<Object<'a>>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        if !value.is_object() {
            return Err(self.wrong(key, "is not an object"));
        }
        Ok(Some(Object {
            file: self.file.clone(),
            path: format!("{}{key}.", self.path),
            value,
        }))
    }

    fn count(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        // No size of a model is larger, and sums of two stay in range.
        let count = value.as_u64().filter(|&n| n <= u64::from(u32::MAX));
        count
            .map(|n| Some(n as usize))
            .ok_or_else(|| self.wrong(key, format!("is {value}, expected a count")))
    }

    fn need_count(&self, key: &str) -> Result<usize, Error> {
        self.count(key)?
            .ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_f64()
            .map(|v| Some(v as f32))
            .ok_or_else(|| self.wrong(key, format!("is {value}, expected a number")))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(key, format!("is {value}, expected true or false")))
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.wrong(key, format!("is {value}, expected a string")))
    }

    /// Demands a value where the key is there.
    fn only(&self, key: &str, expected: &Value) -> Result<(), Error> {
        match self.get(key) {
            Some(found) if found != expected => {
                Err(self.wrong(key, format!("is {found}; only {expected} is supported")))
            }
            _ => Ok(()),
        }
    }

    /// Demands a value.
    fn must(&self, key: &str, expected: &Value) -> Result<(), Error> {
        if self.get(key).is_none() {
            return Err(self.wrong(key, format!("is missing; it must be {expected}")));
        }
        self.only(key, expected)
    }
}
