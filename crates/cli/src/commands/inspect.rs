//! `perigee inspect`: what a file holds, and what keeps it from running.

mod check;
mod json;

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use perigee_arch::{Config, Inventory, KvKind, Role, peers, unusual};
use perigee_gguf::{Gguf, Value};

use crate::args::InspectArgs;
use crate::settings::Source;
use crate::startup;
use crate::units::size;

/// Prints the report; fails after it if the file cannot be run.
pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let gguf = startup::open_container(&Source::Path(args.file.clone()))?;
    let mut out = io::stdout().lock();
    let faults = match args.check {
        true => check::faults(&gguf),
        false => Vec::new(),
    };
    if args.json {
        let (mut report, checked) = json::report(&gguf, args)?;
        if args.check {
            report["faults"] = faults.iter().map(ToString::to_string).collect();
        }
        writeln!(out, "{report:#}")?;
        return checked.and_then(|()| check::verdict(&faults));
    }
    container(&gguf, &mut out)?;
    if args.metadata {
        metadata(&gguf, &mut out)?;
    }
    by_type(&gguf, &mut out)?;
    if args.tensors {
        tensors(&gguf, &mut out)?;
    }
    let config = Config::from_metadata(gguf.metadata())?;
    architecture(&config, &mut out)?;
    let inventory = perigee_arch::inventory(&gguf, &config)?;
    by_role(&gguf, &inventory, &mut out)?;
    verdict(&gguf, &config, &inventory, &mut out)?;
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    check::verdict(&faults)
}

fn verdict(
    gguf: &Gguf,
    config: &Config,
    inventory: &Inventory,
    out: &mut impl Write,
) -> Result<()> {
    for (i, what) in unusual(gguf, config, inventory)?.iter().enumerate() {
        let label = if i == 0 { "unusual" } else { "" };
        writeln!(out, "{label:<14}{what}")?;
    }
    writeln!(out)?;
    for peer in peers(gguf, config, inventory)? {
        if peer.obstacles.is_empty() {
            writeln!(out, "{} should load this file.", peer.name)?;
        }
        for obstacle in &peer.obstacles {
            writeln!(out, "{}: {obstacle}.", peer.name)?;
        }
    }
    writeln!(out, "Perigee can run this model.")?;
    Ok(())
}

fn container(gguf: &Gguf, out: &mut impl Write) -> Result<()> {
    let name = gguf.metadata().str("general.name")?.unwrap_or("(unnamed)");
    let architecture = gguf
        .metadata()
        .str("general.architecture")?
        .unwrap_or("(none)");
    writeln!(out, "name          {name}")?;
    writeln!(out, "architecture  {architecture}")?;
    let n_shards = gguf.paths().len();
    let shards = if n_shards == 1 {
        "1 file".to_owned()
    } else {
        format!("{n_shards} shards")
    };
    writeln!(
        out,
        "file          {shards}, {}, {} tensors",
        size(gguf.file_bytes()),
        gguf.tensors().len()
    )?;
    Ok(())
}

fn architecture(config: &Config, out: &mut impl Write) -> Result<()> {
    let query = config
        .q_lora_rank
        .map_or("direct q".to_owned(), |rank| format!("q_lora_rank {rank}"));
    writeln!(
        out,
        "\nlayers        {} ({} dense first), hidden {}",
        config.n_layers, config.first_k_dense, config.hidden
    )?;
    writeln!(
        out,
        "attention     {} heads, {query}, kv_lora_rank {}, head {}+{} / {}",
        config.n_heads,
        config.kv_lora_rank,
        config.qk_nope_head_dim,
        config.qk_rope_head_dim,
        config.v_head_dim
    )?;
    writeln!(
        out,
        "experts       {} routed ({} used), {} shared, ffn {} (dense {})",
        config.n_routed_experts,
        config.n_experts_used,
        config.n_shared_experts,
        config.moe_intermediate_size,
        config.intermediate_size
    )?;
    let yarn = config.yarn.map_or(String::new(), |yarn| {
        format!(", YaRN ×{} from {}", yarn.factor, yarn.original_context)
    });
    writeln!(
        out,
        "context       {}{yarn}, rope base {}",
        config.context_length, config.rope_base
    )?;
    writeln!(out, "vocabulary    {}", config.vocab_size)?;
    let kv = |kind: KvKind| {
        let bytes = config.kv_bytes(kind, config.context_length as u64);
        bytes.map_or_else(|| "more than any memory".to_owned(), size)
    };
    writeln!(
        out,
        "KV cache      {} in f16, {} in q8_0, at the full context",
        kv(KvKind::F16),
        kv(KvKind::Q8_0)
    )?;
    Ok(())
}

fn by_type(gguf: &Gguf, out: &mut impl Write) -> Result<()> {
    let mut sums: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for tensor in gguf.tensors() {
        let sum = sums.entry(tensor.kind.name()).or_default();
        *sum = (sum.0 + 1, sum.1 + tensor.n_bytes as u64);
    }
    writeln!(out, "\n{:<16}{:>8}{:>14}", "type", "tensors", "size")?;
    for (name, (n, bytes)) in sums {
        writeln!(out, "{name:<16}{n:>8}{:>14}", size(bytes))?;
    }
    Ok(())
}

/// In the order of the report.
const ROLES: [Role; 8] = [
    Role::Embedding,
    Role::Head,
    Role::Norm,
    Role::Attention,
    Role::DenseFfn,
    Role::Router,
    Role::SharedExpert,
    Role::RoutedExperts,
];

/// Tensors, bytes and types of one role.
#[derive(Default)]
struct RoleSum {
    n: usize,
    bytes: u64,
    types: BTreeMap<&'static str, usize>,
}

fn role_sum(gguf: &Gguf, inventory: &Inventory, role: Role) -> RoleSum {
    let mut sum = RoleSum::default();
    let expected = inventory.tensors.iter();
    for expected in expected.filter(|expected| expected.role == role) {
        if let Some(tensor) = gguf.tensor(&expected.name) {
            sum.n += 1;
            sum.bytes += tensor.n_bytes as u64;
            *sum.types.entry(tensor.kind.name()).or_default() += 1;
        }
    }
    sum
}

fn by_role(gguf: &Gguf, inventory: &Inventory, out: &mut impl Write) -> Result<()> {
    writeln!(out, "\n{:<16}{:>8}{:>14}  types", "role", "tensors", "size")?;
    for role in ROLES {
        let RoleSum { n, bytes, types } = role_sum(gguf, inventory, role);
        let types: Vec<String> = types
            .iter()
            .map(|(name, n)| format!("{name} ×{n}"))
            .collect();
        writeln!(
            out,
            "{:<16}{n:>8}{:>14}  {}",
            format!("{role:?}"),
            size(bytes),
            types.join(", ")
        )?;
    }
    let form = [
        format!("{:?} KV up-projection", inventory.kv_layout),
        if inventory.merged_gate_up {
            "merged gate and up".to_owned()
        } else {
            "separate gate and up".to_owned()
        },
        if inventory.tied_head {
            "head tied to the embedding".to_owned()
        } else {
            "own head".to_owned()
        },
        if inventory.selection_bias {
            "selection bias".to_owned()
        } else {
            "no selection bias".to_owned()
        },
    ];
    writeln!(out, "\nform          {}", form.join(", "))?;
    if !inventory.ignored.is_empty() {
        writeln!(out, "unused        {}", inventory.ignored.join(", "))?;
    }
    Ok(())
}

fn tensors(gguf: &Gguf, out: &mut impl Write) -> Result<()> {
    writeln!(out)?;
    for tensor in gguf.tensors() {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        writeln!(
            out,
            "{:<44}{:<8}[{}]",
            tensor.name,
            tensor.kind.name(),
            shape.join(", ")
        )?;
    }
    Ok(())
}

fn metadata(gguf: &Gguf, out: &mut impl Write) -> Result<()> {
    writeln!(out)?;
    for (key, value) in gguf.metadata().iter() {
        writeln!(out, "{key:<52}{}", shown(value))?;
    }
    Ok(())
}

/// A value on one line: long strings and lists are cut.
fn shown(value: &Value) -> String {
    const MOST: usize = 80;
    match value {
        Value::Str(bytes) => {
            let text: String = String::from_utf8_lossy(bytes).chars().take(MOST).collect();
            format!("{text:?}")
        }
        Value::Array(items) => format!("list of {}", items.len()),
        other => format!("{other:?}").chars().take(MOST).collect(),
    }
}
