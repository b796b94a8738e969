//! The report as one JSON object.

use anyhow::Result;
use perigee_arch::{Config, Inventory, KvKind, peers, unusual};
use perigee_gguf::{Gguf, Value};
use serde_json::{Map, Value as Json, json};

use super::{ROLES, role_sum};
use crate::args::InspectArgs;

/// Longest array of the metadata that is printed whole.
const MOST_ITEMS: usize = 64;

/// The report, and whether the file can be run.
pub(super) fn report(gguf: &Gguf, args: &InspectArgs) -> Result<(Json, Result<()>)> {
    let metadata = gguf.metadata();
    let mut report = json!({
        "name": metadata.str("general.name")?,
        "architecture": metadata.str("general.architecture")?,
        "files": gguf.paths(),
        "file_bytes": gguf.file_bytes(),
        "n_tensors": gguf.tensors().len(),
        "types": types(gguf),
    });
    let checked = Config::from_metadata(metadata)
        .and_then(|config| perigee_arch::inventory(gguf, &config).map(|found| (config, found)));
    let outcome = match checked {
        Ok((config, inventory)) => {
            report["model"] = model(&config);
            report["roles"] = roles(gguf, &inventory);
            report["form"] = form(&inventory);
            report["unusual"] = unusual(gguf, &config, &inventory)?.into();
            let mut runs = Map::new();
            runs.insert(
                "perigee".to_owned(),
                json!({"loads": true, "obstacles": []}),
            );
            for peer in peers(gguf, &config, &inventory)? {
                let verdict = json!({
                    "loads": peer.obstacles.is_empty(),
                    "obstacles": peer.obstacles,
                });
                runs.insert(peer.name.to_owned(), verdict);
            }
            report["programs"] = Json::Object(runs);
            Ok(())
        }
        Err(error) => {
            let obstacle = error.to_string();
            report["programs"] = json!({"perigee": {"loads": false, "obstacles": [obstacle]}});
            Err(error.into())
        }
    };
    if args.tensors {
        let tensors = gguf.tensors().iter().map(|tensor| {
            json!({
                "name": tensor.name,
                "type": tensor.kind.name(),
                "shape": tensor.shape,
                "shard": tensor.shard,
                "offset": tensor.offset,
                "bytes": tensor.n_bytes,
            })
        });
        report["tensors"] = tensors.collect();
    }
    if args.metadata {
        let entries = metadata.iter();
        let entries = entries.map(|(key, value)| (key.to_owned(), plain(value)));
        report["metadata"] = Json::Object(entries.collect());
    }
    Ok((report, outcome))
}

fn types(gguf: &Gguf) -> Json {
    let mut sums: Map<String, Json> = Map::new();
    for tensor in gguf.tensors() {
        let sum = sums
            .entry(tensor.kind.name())
            .or_insert_with(|| json!({"tensors": 0, "bytes": 0}));
        let add = |value: &Json, n: u64| Json::from(value.as_u64().unwrap_or(0) + n);
        sum["tensors"] = add(&sum["tensors"], 1);
        sum["bytes"] = add(&sum["bytes"], tensor.n_bytes as u64);
    }
    Json::Object(sums)
}

fn model(config: &Config) -> Json {
    let kv = |kind| config.kv_bytes(kind, config.context_length as u64);
    json!({
        "n_layers": config.n_layers,
        "first_k_dense": config.first_k_dense,
        "hidden": config.hidden,
        "vocab_size": config.vocab_size,
        "context_length": config.context_length,
        "n_heads": config.n_heads,
        "q_lora_rank": config.q_lora_rank,
        "kv_lora_rank": config.kv_lora_rank,
        "qk_nope_head_dim": config.qk_nope_head_dim,
        "qk_rope_head_dim": config.qk_rope_head_dim,
        "v_head_dim": config.v_head_dim,
        "intermediate_size": config.intermediate_size,
        "n_routed_experts": config.n_routed_experts,
        "n_experts_used": config.n_experts_used,
        "n_shared_experts": config.n_shared_experts,
        "moe_intermediate_size": config.moe_intermediate_size,
        "rope_base": config.rope_base,
        "yarn": config.yarn.map(|yarn| json!({
            "factor": yarn.factor,
            "original_context": yarn.original_context,
        })),
        "kv_bytes_at_full_context": {"f16": kv(KvKind::F16), "q8_0": kv(KvKind::Q8_0)},
    })
}

fn roles(gguf: &Gguf, inventory: &Inventory) -> Json {
    let roles = ROLES.iter().map(|&role| {
        let sum = role_sum(gguf, inventory, role);
        let report = json!({"tensors": sum.n, "bytes": sum.bytes, "types": sum.types});
        (format!("{role:?}"), report)
    });
    Json::Object(roles.collect())
}

fn form(inventory: &Inventory) -> Json {
    json!({
        "kv_layout": format!("{:?}", inventory.kv_layout),
        "merged_gate_up": inventory.merged_gate_up,
        "tied_head": inventory.tied_head,
        "selection_bias": inventory.selection_bias,
        "unused": inventory.ignored,
    })
}

/// A value of the metadata; of long arrays only how long they are.
fn plain(value: &Value) -> Json {
    match value {
        Value::U8(v) => (*v).into(),
        Value::I8(v) => (*v).into(),
        Value::U16(v) => (*v).into(),
        Value::I16(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::F32(v) => f64::from(*v).into(),
        Value::F64(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Str(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Array(items) if items.len() > MOST_ITEMS => json!({"items": items.len()}),
        Value::Array(items) => items.iter().map(|item| plain(&item)).collect(),
    }
}
