//! The models and the token sequence of the comparison with other engines.
//!
//! All experts of every model are used: with a selection, a rounding swaps one expert for
//! another and even one engine disagrees with itself.

use crate::{Kinds, Synthetic, shapes};
use perigee_arch::{Config, KvLayout};
use perigee_gguf::TokenId;
use perigee_quant::QuantKind;

/// Who can load a file. ik_llama.cpp reads all of them; llama.cpp knows none of ik's
/// types and refuses files with `attn_kv_b` beside `attn_k_b` and `attn_v_b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engines {
    /// ik_llama.cpp and llama.cpp.
    Both,
    /// ik_llama.cpp.
    Ik,
}

/// One model to compare on.
pub struct Case {
    /// Kind and layout: `iq3_k-split`.
    pub name: &'static str,
    /// The model.
    pub synthetic: Synthetic,
    /// Bound on the mean KL between this program and each engine.
    pub kl_bound: f64,
    /// Who can load the file.
    pub engines: Engines,
}

/// The first `n` tokens of a fixed sequence of ordinary tokens without a short period.
pub fn tokens(n: u32) -> Vec<TokenId> {
    let token = |i: u32| i.wrapping_mul(2_654_435_761).rotate_left(9) % 480;
    (0..n).map(|i| TokenId(token(i))).collect()
}

/// Every model. The bounds are by what an engine itself does to the numbers: for F32 and
/// F16 files only the order of sums, half-precision activations and the F16 cache count,
/// BF16 leaves activations eight bits of mantissa, and quantised files round them to
/// eight-bit integers.
pub fn cases() -> Vec<Case> {
    use Engines::{Both, Ik};
    use QuantKind::{Bf16, F16, F32, Iq3K, Iq4K, Q4_0, Q6K, Q8_0};
    let split = |kinds| Synthetic::new(shapes::kimi()).kinds(kinds);
    let joined = |kinds| split(kinds).layout(KvLayout::Joined);
    let both = |kinds| split(kinds).layout(KvLayout::Both);
    let uniform = Kinds::uniform;
    let experts = |gate_up, down| Kinds::recipe(gate_up, down, Q8_0);
    let case = |name, synthetic, kl_bound, engines| Case {
        name,
        synthetic,
        kl_bound,
        engines,
    };
    vec![
        case("f32-split", split(uniform(F32)), 1e-5, Both),
        case("f32-joined", joined(uniform(F32)), 1e-5, Both),
        case("f32-both", both(uniform(F32)), 1e-5, Ik),
        case(
            "f32-merged",
            split(uniform(F32)).merged_gate_up(),
            1e-5,
            Both,
        ),
        case("f32-lite", lite(), 1e-5, Both),
        case("f16-split", split(uniform(F16)), 1e-5, Both),
        case("f16-both", both(uniform(F16)), 1e-5, Ik),
        case("bf16-split", split(uniform(Bf16)), 5e-4, Both),
        case("q8_0-split", split(uniform(Q8_0)), 5e-3, Both),
        case("q8_0-joined", joined(uniform(Q8_0)), 5e-3, Both),
        case("q8_0-both", both(uniform(Q8_0)), 5e-3, Ik),
        case("q4_0-split", split(experts(Q4_0, Q4_0)), 5e-3, Both),
        case("q6_k-split", split(experts(Q6K, Q6K)), 5e-3, Both),
        case("iq3_k-split", split(experts(Iq3K, Q4_0)), 5e-3, Ik),
        case("iq3_k-both", both(experts(Iq3K, Q4_0)), 5e-3, Ik),
        case("iq4_k-split", split(experts(Iq4K, Iq4K)), 5e-3, Ik),
    ]
}

/// Without q-LoRA. Both engines know such a model by its 27 layers, so these are thin.
fn lite() -> Synthetic {
    Synthetic::new(Config {
        name: "tiny-lite".to_owned(),
        n_layers: 27,
        hidden: 128,
        qk_nope_head_dim: 32,
        v_head_dim: 32,
        intermediate_size: 128,
        moe_intermediate_size: 32,
        n_experts_used: 8,
        ..shapes::moonlight()
    })
}

/// A hash of a file's bytes (64-bit FNV-1a), which stored logits carry to say which file
/// they belong to: a better encoder writes another file.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
