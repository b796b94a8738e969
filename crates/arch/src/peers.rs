//! Whether other programs can load a file, and what is unusual about it.

use std::collections::BTreeSet;

use perigee_gguf::{Error, Gguf};
use perigee_quant::QuantKind;

use crate::{Config, Inventory, KvLayout, Role};

/// Why a program cannot load a file; empty when it can, as far as the header shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The program.
    pub name: &'static str,
    /// One sentence each.
    pub obstacles: Vec<String>,
}

/// ik_llama.cpp and llama.cpp, by the rules that their loaders follow.
///
/// # Errors
/// A key of the file has another type than it should.
pub fn peers(gguf: &Gguf, config: &Config, inventory: &Inventory) -> Result<[Peer; 2], Error> {
    let ik = Peer {
        name: "ik_llama.cpp",
        obstacles: ik(gguf, config, inventory)?,
    };
    let llama = Peer {
        name: "llama.cpp",
        obstacles: llama(gguf, config, inventory)?,
    };
    Ok([ik, llama])
}

/// Ids from here on are ik_llama.cpp's own.
const IK_TYPES: u32 = 97;

fn types(gguf: &Gguf, is_wanted: impl Fn(QuantKind) -> bool) -> Option<String> {
    let found = gguf.tensors().iter().map(|tensor| tensor.kind);
    let found: BTreeSet<&str> = found
        .filter(|&kind| is_wanted(kind))
        .map(QuantKind::name)
        .collect();
    let names: Vec<&str> = found.into_iter().collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn has_mla_keys(gguf: &Gguf) -> Result<bool, Error> {
    let metadata = gguf.metadata();
    let key = metadata.u64("deepseek2.attention.key_length_mla")?;
    let value = metadata.u64("deepseek2.attention.value_length_mla")?;
    Ok(key.is_some() && value.is_some())
}

fn ik(gguf: &Gguf, config: &Config, inventory: &Inventory) -> Result<Vec<String>, Error> {
    let mut obstacles = Vec::new();
    let missing = |kind| matches!(kind, QuantKind::Tq1_0 | QuantKind::Tq2_0 | QuantKind::Nvfp4);
    if let Some(types) = types(gguf, missing) {
        obstacles.push(format!("it has no {types}"));
    }
    let one_kv_head = gguf.metadata().u64("deepseek2.attention.head_count_kv")? == Some(1);
    if one_kv_head && (config.kv_lora_rank, config.qk_rope_head_dim) != (512, 64) {
        let (rank, rope) = (config.kv_lora_rank, config.qk_rope_head_dim);
        obstacles.push(format!(
            "its MLA has latents of 512 and rotated parts of 64 only, not {rank} and {rope}"
        ));
    }
    if one_kv_head && !config.n_heads.is_multiple_of(4) {
        obstacles.push(format!(
            "it aborts on {} heads: no multiple of 4",
            config.n_heads
        ));
    }
    if inventory.tied_head {
        obstacles.push("it demands output.weight".to_owned());
    }
    let has_moe = (0..config.n_layers).any(|layer| config.is_moe(layer));
    let scale = gguf.metadata().get("deepseek2.expert_weights_scale");
    if has_moe && scale.is_none() {
        obstacles.push("it demands the key expert_weights_scale".to_owned());
    }
    if config.n_routed_experts > 512 {
        let n = config.n_routed_experts;
        obstacles.push(format!("it has at most 512 experts, not {n}"));
    }
    if config.n_group > 1 {
        obstacles.push("it loads the file and ignores the groups of experts".to_owned());
    }
    Ok(obstacles)
}

fn llama(gguf: &Gguf, config: &Config, inventory: &Inventory) -> Result<Vec<String>, Error> {
    let mut obstacles = Vec::new();
    if let Some(types) = types(gguf, |kind| kind.id() >= IK_TYPES) {
        obstacles.push(format!("it has no {types}"));
    }
    match (inventory.kv_layout, has_mla_keys(gguf)?) {
        (KvLayout::Both, _) => obstacles.push(
            "attn_kv_b beside attn_k_b and attn_v_b is a wrong number of tensors to it".to_owned(),
        ),
        (KvLayout::Split, false) => obstacles.push(
            "attn_k_b and attn_v_b without the keys key_length_mla and value_length_mla: it looks for attn_kv_b"
                .to_owned(),
        ),
        (KvLayout::Joined, true) => obstacles.push(
            "attn_kv_b with the keys key_length_mla and value_length_mla: it looks for attn_k_b and attn_v_b"
                .to_owned(),
        ),
        (KvLayout::Split, true) | (KvLayout::Joined, false) => {}
    }
    if config.n_routed_experts > 1024 {
        let n = config.n_routed_experts;
        obstacles.push(format!("it has at most 1024 experts, not {n}"));
    }
    Ok(obstacles)
}

/// What published files of the family do not have, one sentence each.
///
/// # Errors
/// A key of the file has another type than it should.
pub fn unusual(gguf: &Gguf, config: &Config, inventory: &Inventory) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let of_role = |role| {
        let expected = inventory.tensors.iter();
        let of_role = expected.filter(move |expected| expected.role == role);
        of_role.filter_map(|expected| gguf.tensor(&expected.name))
    };
    for role in [Role::Norm, Role::Router] {
        let kinds: BTreeSet<&str> = of_role(role)
            .filter(|tensor| tensor.kind != QuantKind::F32)
            .map(|tensor| tensor.kind.name())
            .collect();
        if !kinds.is_empty() {
            let kinds: Vec<&str> = kinds.into_iter().collect();
            found.push(format!("{role:?} tensors in {}, not F32", kinds.join(", ")));
        }
    }
    for part in ["gate", "up", "down"] {
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        for tensor in of_role(Role::RoutedExperts) {
            if tensor.name.contains(&format!("ffn_{part}_exps")) {
                let name = tensor.kind.name();
                match kinds.iter_mut().find(|(kind, _)| *kind == name) {
                    Some((_, n)) => *n += 1,
                    None => kinds.push((name, 1)),
                }
            }
        }
        if kinds.len() > 1 {
            let kinds: Vec<String> = kinds
                .iter()
                .map(|(kind, n)| format!("{kind} ×{n}"))
                .collect();
            found.push(format!(
                "routed {part} of several types: {}",
                kinds.join(", ")
            ));
        }
    }
    let legacy = [
        (
            inventory.kv_layout == KvLayout::Joined,
            "attn_kv_b only: converted before April 2025",
        ),
        (
            inventory.merged_gate_up,
            "gate and up of the experts in one tensor",
        ),
        (
            inventory.tied_head,
            "no output.weight: the embedding is the head",
        ),
        (
            !inventory.selection_bias && config.n_routed_experts > 0,
            "no selection bias of the router",
        ),
    ];
    found.extend(
        legacy
            .into_iter()
            .filter(|(is_so, _)| *is_so)
            .map(|(_, what)| what.to_owned()),
    );
    let metadata = gguf.metadata();
    if metadata.get("tokenizer.chat_template").is_none() {
        found.push("no chat template: Kimi's own format is used".to_owned());
    }
    match metadata.str("tokenizer.ggml.pre")? {
        Some("kimi-k2") => {}
        Some(pre) => found.push(format!("a vocabulary of pre-type {pre:?}, not \"kimi-k2\"")),
        None => found.push("a vocabulary without a pre-type".to_owned()),
    }
    if metadata.get("tokenizer.ggml.merges").is_none() {
        found.push("no merges: they follow from the order of tokens".to_owned());
    }
    if let Some(alignment) = metadata.u64("general.alignment")?.filter(|&n| n != 32) {
        found.push(format!("tensors aligned to {alignment} bytes, not 32"));
    }
    if config.yarn.is_none() {
        found.push("no YaRN: positions as they were trained".to_owned());
    }
    if !inventory.ignored.is_empty() {
        found.push(format!(
            "{} tensors that nothing uses",
            inventory.ignored.len()
        ));
    }
    Ok(found)
}
