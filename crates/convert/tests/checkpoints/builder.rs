//! A checkpoint as published, but tiny, with a safetensors writer of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::bf16;
use perigee_testkit::Vocabulary;
use serde_json::{Value as Json, json};

pub(crate) const HIDDEN: usize = 256;
/// Large enough that the embedding is converted in more than one piece.
pub(crate) const VOCAB: usize = 4352;
pub(crate) const LAYERS: usize = 3;
pub(crate) const HEADS: usize = 4;
pub(crate) const NOPE: usize = 32;
pub(crate) const ROPE: usize = 16;
pub(crate) const VALUE: usize = 64;
pub(crate) const Q_RANK: usize = 96;
pub(crate) const KV_RANK: usize = 128;
pub(crate) const FFN: usize = 160;
pub(crate) const EXPERTS: usize = 5;
pub(crate) const EXPERT_FFN: usize = 64;

/// One tensor of a safetensors file.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// A checkpoint that can be changed before it is written.
pub(crate) struct Checkpoint {
    /// Prefix of the text model's tensors.
    pub(crate) prefix: &'static str,
    pub(crate) config: Json,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// The integers of each packed matrix and its scales.
    pub(crate) experts: BTreeMap<String, (Vec<i8>, Vec<bf16>)>,
}

/// Numbers that look random, the same ones every time.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From −0.5 to 0.5.
    fn weight(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}

impl Checkpoint {
    /// K2.5 and K2.6: the text model nested, with a vision tower beside it.
    pub(crate) fn k2_6() -> Self {
        let mut checkpoint = Self::new("language_model.");
        let mut text = text_config();
        text["quantization_config"] = quantization();
        checkpoint.config = json!({
            "model_type": "kimi_k25",
            "architectures": ["KimiK25ForConditionalGeneration"],
            "text_config": text,
            "vision_config": {"hidden_size": 8},
        });
        checkpoint.fill(true);
        let mut numbers = Numbers(99);
        for name in [
            "vision_tower.patch_embed.proj.weight",
            "vision_tower.encoder.a",
            "mm_projector.proj.0.bias",
        ] {
            checkpoint.bf16(name, &[3, 5], &mut numbers);
        }
        checkpoint
    }

    /// K2-Thinking: the same text model on its own.
    pub(crate) fn k2_thinking() -> Self {
        let mut checkpoint = Self::new("");
        checkpoint.config = text_config();
        checkpoint.config["quantization_config"] = quantization();
        checkpoint.fill(true);
        checkpoint
    }

    /// The text model without quantisation, all weights bf16.
    pub(crate) fn plain() -> Self {
        let mut checkpoint = Self::new("");
        checkpoint.config = text_config();
        checkpoint.fill(false);
        checkpoint
    }

    fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            config: Json::Null,
            tensors: BTreeMap::new(),
            experts: BTreeMap::new(),
        }
    }

    fn fill(&mut self, packed: bool) {
        let mut numbers = Numbers(1);
        let n = &mut numbers;
        let prefix = self.prefix;
        self.bf16(
            &format!("{prefix}model.embed_tokens.weight"),
            &[VOCAB, HIDDEN],
            n,
        );
        self.bf16(&format!("{prefix}model.norm.weight"), &[HIDDEN], n);
        self.bf16(&format!("{prefix}lm_head.weight"), &[VOCAB, HIDDEN], n);
        for layer in 0..LAYERS {
            let at = |name: &str| format!("{prefix}model.layers.{layer}.{name}");
            self.bf16(&at("input_layernorm.weight"), &[HIDDEN], n);
            self.bf16(&at("post_attention_layernorm.weight"), &[HIDDEN], n);
            let attention = |name: &str| at(&format!("self_attn.{name}.weight"));
            self.bf16(&attention("q_a_proj"), &[Q_RANK, HIDDEN], n);
            self.bf16(&attention("q_a_layernorm"), &[Q_RANK], n);
            self.bf16(&attention("q_b_proj"), &[HEADS * (NOPE + ROPE), Q_RANK], n);
            self.bf16(
                &attention("kv_a_proj_with_mqa"),
                &[KV_RANK + ROPE, HIDDEN],
                n,
            );
            self.bf16(&attention("kv_a_layernorm"), &[KV_RANK], n);
            self.bf16(
                &attention("kv_b_proj"),
                &[HEADS * (NOPE + VALUE), KV_RANK],
                n,
            );
            self.bf16(&attention("o_proj"), &[HIDDEN, HEADS * VALUE], n);
            if layer == 0 {
                self.ffn(&at("mlp"), FFN, n);
                continue;
            }
            self.bf16(&at("mlp.gate.weight"), &[EXPERTS, HIDDEN], n);
            let bias: Vec<u8> = (0..EXPERTS)
                .flat_map(|_| n.weight().to_le_bytes())
                .collect();
            let bias_name = at("mlp.gate.e_score_correction_bias");
            self.put(&bias_name, "F32", &[EXPERTS], bias);
            self.ffn(&at("mlp.shared_experts"), EXPERT_FFN, n);
            for expert in 0..EXPERTS {
                let module = at(&format!("mlp.experts.{expert}"));
                if !packed {
                    self.ffn(&module, EXPERT_FFN, n);
                    continue;
                }
                self.packed(&format!("{module}.gate_proj"), EXPERT_FFN, HIDDEN, n);
                self.packed(&format!("{module}.up_proj"), EXPERT_FFN, HIDDEN, n);
                self.packed(&format!("{module}.down_proj"), HIDDEN, EXPERT_FFN, n);
            }
        }
    }

    fn ffn(&mut self, module: &str, width: usize, numbers: &mut Numbers) {
        self.bf16(
            &format!("{module}.gate_proj.weight"),
            &[width, HIDDEN],
            numbers,
        );
        self.bf16(
            &format!("{module}.up_proj.weight"),
            &[width, HIDDEN],
            numbers,
        );
        self.bf16(
            &format!("{module}.down_proj.weight"),
            &[HIDDEN, width],
            numbers,
        );
    }

    fn bf16(&mut self, name: &str, shape: &[usize], numbers: &mut Numbers) {
        let n: usize = shape.iter().product();
        let weights = (0..n).flat_map(|_| bf16::from_f32(numbers.weight()).to_le_bytes());
        self.put(name, "BF16", shape, weights.collect());
    }

    pub(crate) fn put(&mut self, name: &str, dtype: &'static str, shape: &[usize], bytes: Vec<u8>) {
        let shape = shape.iter().map(|&n| n as u64).collect();
        let tensor = Tensor {
            dtype,
            shape,
            bytes,
        };
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// Random integers, all 16 of them, and scales as trained ones are.
    fn packed(&mut self, name: &str, rows: usize, columns: usize, numbers: &mut Numbers) {
        let integers: Vec<i8> = (0..rows * columns)
            .map(|_| (numbers.next() % 16) as i8 - 8)
            .collect();
        let scales: Vec<bf16> = (0..rows * columns / 32)
            .map(|_| bf16::from_f32((numbers.weight() + 0.6) * 0.01))
            .collect();
        self.put_packed(name, rows, columns, &integers, &scales);
    }

    /// The three tensors of a packed matrix.
    pub(crate) fn put_packed(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
        integers: &[i8],
        scales: &[bf16],
    ) {
        let words = integers.chunks(8).map(|eight| {
            let mut word = 0_u32;
            for (i, &q) in eight.iter().enumerate() {
                word |= ((i32::from(q) + 8) as u32) << (4 * i);
            }
            word
        });
        let words: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        self.put(
            &format!("{name}.weight_packed"),
            "I32",
            &[rows, columns / 8],
            words,
        );
        let bytes = scales
            .iter()
            .flat_map(|scale| scale.to_le_bytes())
            .collect();
        self.put(
            &format!("{name}.weight_scale"),
            "BF16",
            &[rows, columns / 32],
            bytes,
        );
        let shape = [rows, columns]
            .iter()
            .flat_map(|&n| (n as i32).to_le_bytes())
            .collect();
        self.put(&format!("{name}.weight_shape"), "I32", &[2], shape);
        self.experts
            .insert(name.to_owned(), (integers.to_vec(), scales.to_vec()));
    }

    /// The weights of a bf16 tensor, by its name without the prefix.
    pub(crate) fn weights(&self, name: &str) -> Vec<f32> {
        let tensor = &self.tensors[&format!("{}{name}", self.prefix)];
        let chunks = tensor.bytes.chunks_exact(2);
        match tensor.dtype {
            "BF16" => chunks
                .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
                .collect(),
            "F32" => tensor
                .bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            other => panic!("{name} is {other}"),
        }
    }

    /// Writes everything, the tensors dealt out to three files.
    pub(crate) fn write(&self, folder: &Path) {
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        write_vocabulary(folder);
        let mut weight_map = BTreeMap::new();
        for shard in 0..3 {
            let name = shard_name(shard);
            let dealt = self.tensors.iter().skip(shard).step_by(3);
            let tensors: Vec<(&String, &Tensor)> = dealt.collect();
            fs::write(folder.join(&name), safetensors_file(&tensors)).unwrap();
            weight_map.extend(
                tensors
                    .into_iter()
                    .map(|(tensor, _)| (tensor, name.clone())),
            );
        }
        let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
        fs::write(
            folder.join("model.safetensors.index.json"),
            index.to_string(),
        )
        .unwrap();
    }
}

pub(crate) fn shard_name(shard: usize) -> String {
    format!("model-{:05}-of-000003.safetensors", shard + 1)
}

/// The shard that holds a tensor.
pub(crate) fn shard_of(folder: &Path, tensor: &str) -> PathBuf {
    let index = fs::read(folder.join("model.safetensors.index.json")).unwrap();
    let index: Json = serde_json::from_slice(&index).unwrap();
    folder.join(index["weight_map"][tensor].as_str().unwrap())
}

/// Length, header, bytes.
pub(crate) fn safetensors_file(tensors: &[(&String, &Tensor)]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        let begin = bytes.len();
        bytes.extend_from_slice(&tensor.bytes);
        let entry = json!({
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [begin, bytes.len()],
        });
        header.insert((*name).clone(), entry);
    }
    with_header(&Json::Object(header).to_string(), &bytes)
}

/// A file with any header.
pub(crate) fn with_header(header: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    file
}

/// The header of a file and the bytes behind it.
pub(crate) fn split_header(file: &[u8]) -> (Json, Vec<u8>) {
    let len = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = serde_json::from_slice(&file[8..8 + len]).unwrap();
    (header, file[8 + len..].to_vec())
}

fn text_config() -> Json {
    json!({
        "model_type": "kimi_k2",
        "architectures": ["DeepseekV3ForCausalLM"],
        "attention_bias": false,
        "first_k_dense_replace": 1,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "kv_lora_rank": KV_RANK,
        "max_position_embeddings": 262_144,
        "moe_intermediate_size": EXPERT_FFN,
        "moe_layer_freq": 1,
        "n_group": 1,
        "n_routed_experts": EXPERTS,
        "n_shared_experts": 1,
        "norm_topk_prob": true,
        "num_attention_heads": HEADS,
        "num_experts_per_tok": 2,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": HEADS,
        "num_nextn_predict_layers": 0,
        "q_lora_rank": Q_RANK,
        "qk_nope_head_dim": NOPE,
        "qk_rope_head_dim": ROPE,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "factor": 64.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
            "type": "yarn",
        },
        "rope_theta": 50000.0,
        "routed_scaling_factor": 2.827,
        "scoring_func": "sigmoid",
        "tie_word_embeddings": false,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "v_head_dim": VALUE,
        "vocab_size": VOCAB,
    })
}

fn quantization() -> Json {
    json!({
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
        "kv_cache_scheme": null,
        "config_groups": {"group_0": {
            "targets": ["Linear"],
            "input_activations": null,
            "output_activations": null,
            "weights": {
                "actorder": null,
                "dynamic": false,
                "group_size": 32,
                "num_bits": 4,
                "strategy": "group",
                "symmetric": true,
                "type": "int",
            },
        }},
    })
}

fn write_vocabulary(folder: &Path) {
    use base64::Engine;
    let vocabulary = Vocabulary::kimi(VOCAB);
    let (ordinary, control) = vocabulary.tokens().split_at(vocabulary.first_control());
    // The first 256 tokens are the bytes in the order of their spellings' table.
    let printable = (0x21..=0x7e).chain(0xa1..=0xac).chain(0xae..=0xff);
    let hidden = (0..=0x20).chain(0x7f..=0xa0).chain([0xad]);
    let bytes: BTreeMap<&str, u8> = ordinary
        .iter()
        .map(String::as_str)
        .zip(printable.chain(hidden))
        .collect();
    let mut ranks = String::new();
    for (rank, token) in ordinary.iter().enumerate() {
        let token: Vec<u8> = token.chars().map(|c| bytes[&*c.to_string()]).collect();
        let token = base64::prelude::BASE64_STANDARD.encode(token);
        ranks.push_str(&format!("{token} {rank}\n"));
    }
    fs::write(folder.join("tiktoken.model"), ranks).unwrap();
    let added = (ordinary.len()..)
        .zip(control)
        .filter(|(_, name)| !name.contains("reserved"));
    let added: BTreeMap<String, Json> = added
        .map(|(id, name)| (id.to_string(), json!({"content": name, "special": true})))
        .collect();
    let config = json!({
        "added_tokens_decoder": added,
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
    });
    fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    fs::write(folder.join("chat_template.jinja"), "{{ messages }}").unwrap();
    let end = vocabulary.id("<|im_end|>").unwrap();
    let generation = json!({"eos_token_id": end}).to_string();
    fs::write(folder.join("generation_config.json"), generation).unwrap();
}
