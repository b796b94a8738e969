//! Agreement with the f64 reference. F32 weights and an F32 cache leave nothing but the
//! rounding of some hundred f32 operations per value: 1e-5 of the logits' spread.

use perigee_arch::{Config, KvLayout};
use perigee_gguf::TokenId;
use perigee_quant::QuantKind;
use perigee_testkit::reference::{self, Reference};
use perigee_testkit::{Kinds, Synthetic, norms, shapes};

use super::{forward, model, options, rows, run, tokens};
use crate::{Activations, Batch, BlockId, LoadMode, LoadOptions, Outputs};

const ROUNDING: f64 = 1e-5;

fn check(synthetic: &Synthetic, n_tokens: usize, kv: QuantKind, bound: f64) {
    check_forms(std::slice::from_ref(synthetic), n_tokens, kv, bound);
}

/// Checks files that hold the same model in several forms; the reference runs the first.
fn check_forms(forms: &[Synthetic], n_tokens: usize, kv: QuantKind, bound: f64) {
    let tokens = tokens(n_tokens, 1);
    let want = reference::forward(&forms[0].gguf(), forms[0].config(), &tokens, 0);
    for form in forms {
        let mut model = model(form, kv, &options());
        let logits = run(&mut model, &tokens, n_tokens);
        let error = norms::nrmse(&rows(&logits, &model), &want);
        assert!(error < bound, "{error}: {form:?}");
    }
}

fn layouts(config: &Config) -> [Synthetic; 3] {
    [KvLayout::Split, KvLayout::Joined, KvLayout::Both]
        .map(|layout| Synthetic::new(config.clone()).layout(layout))
}

#[test]
fn every_member_of_the_family_agrees_in_every_layout() {
    for config in shapes::all() {
        check_forms(&layouts(&config), 7, QuantKind::F32, ROUNDING);
    }
}

#[test]
fn every_form_of_a_file_agrees() {
    let plain = Synthetic::new(shapes::kimi());
    let forms = [
        plain.clone().merged_gate_up(),
        plain.clone().tied_head(),
        plain.clone().without_selection_bias(),
        Synthetic::new(Config {
            n_shared_experts: 0,
            ..shapes::kimi()
        }),
        Synthetic::new(Config {
            first_k_dense: 3,
            ..shapes::kimi()
        }),
    ];
    for synthetic in forms {
        check(&synthetic, 5, QuantKind::F32, ROUNDING);
    }
}

/// 150 tokens at once take the expanded form.
#[test]
fn long_prefill_agrees_in_the_expanded_form() {
    let config = Config {
        n_layers: 2,
        ..shapes::kimi()
    };
    check_forms(&layouts(&config), 150, QuantKind::F32, ROUNDING);
}

#[test]
fn both_forms_of_attention_agree() {
    let synthetic = Synthetic::new(shapes::kimi());
    let tokens = tokens(300, 2);
    let logits = [false, true].map(|deterministic| {
        let options = LoadOptions {
            deterministic,
            ..options()
        };
        let mut model = model(&synthetic, QuantKind::F32, &options);
        let logits = run(&mut model, &tokens, 300);
        rows(&logits, &model)
    });
    let error = norms::nrmse(&logits[0], &logits[1]);
    assert!(error > 0.0, "the two forms were not both run");
    assert!(error < ROUNDING, "{error}");
}

/// The reference computes with the dequantised weights, and so does the model.
#[test]
fn quantised_weights_agree() {
    for kind in [
        QuantKind::F16,
        QuantKind::Bf16,
        QuantKind::Q8_0,
        QuantKind::Q4_0,
    ] {
        let synthetic = Synthetic::new(shapes::kimi()).kinds(Kinds::uniform(kind));
        check(&synthetic, 5, QuantKind::F32, ROUNDING);
    }
}

/// Packed weights meet activations of 8 bits: some hundredths of the logits' spread, and
/// distributions that are closer than 5e-3.
#[test]
fn packed_weights_are_close_in_both_forms_of_attention() {
    for kind in [QuantKind::Q8_0, QuantKind::Q4_0, QuantKind::Iq4Nl] {
        let synthetic = Synthetic::new(shapes::kimi()).kinds(Kinds::uniform(kind));
        let tokens = tokens(150, 4);
        let want = reference::forward(&synthetic.gguf(), synthetic.config(), &tokens, 0);
        let mut rounded = Vec::new();
        for (load, deterministic) in [
            (LoadMode::Map(Activations::F32), false),
            (LoadMode::Map(Activations::Int8), false),
            (LoadMode::Pack, false),
            (LoadMode::Pack, true),
        ] {
            let options = LoadOptions {
                load,
                deterministic,
                ..options()
            };
            let mut model = model(&synthetic, QuantKind::F32, &options);
            let logits = rows(&run(&mut model, &tokens, 150), &model);
            let error = norms::nrmse(&logits, &want);
            let kl = norms::mean_kl(&logits, &want);
            let what = format!("{} {load:?} {deterministic}: {error}, {kl}", kind.name());
            let is_exact = load == LoadMode::Map(Activations::F32);
            assert!((error < 1e-4) == is_exact, "{what}");
            assert!(error < 4e-2 && kl < 5e-3, "{what}");
            if !is_exact && !deterministic {
                rounded.push(logits);
            }
        }
        // Weights in the file and packed ones have one arithmetic.
        assert!(rounded[0] == rounded[1], "{}", kind.name());
    }
}

/// The cache rounds latents to 11 bits, or to 8 bits per block of 32.
#[test]
fn cache_kinds_are_close() {
    let synthetic = Synthetic::new(shapes::kimi());
    check(&synthetic, 24, QuantKind::F16, 1e-3);
    check(&synthetic, 24, QuantKind::Q8_0, 2e-2);
}

/// Tokens far apart. With one position a block, the table of the query at position `p` cycles
/// through the blocks of tokens `0..=i`, each equally often, its own last: the softmax is that
/// over tokens `0..=i` alone, each at its own position, and yet the sequence has `p + 1` rows.
#[test]
fn far_positions_agree_behind_a_sparse_prefix() {
    let config = Config {
        n_layers: 2,
        ..shapes::kimi()
    };
    let synthetic = Synthetic::new(config.clone());
    let options = LoadOptions {
        block_len: 1,
        n_blocks: 4,
        ..options()
    };
    let tokens: Vec<TokenId> = tokens(4, 3);
    for far in [5_000, 20_000, 100_000, 250_000] {
        let mut model = model(&synthetic, QuantKind::F32, &options);
        // Position p of token i needs (p + 1) divisible by i + 1.
        let positions: Vec<usize> = [0, far / 3, far / 2, far]
            .into_iter()
            .enumerate()
            .map(|(i, p): (usize, usize)| (p + 1).next_multiple_of(i + 1) - 1)
            .collect();
        let mut logits = Vec::new();
        for (i, position) in positions.iter().enumerate() {
            let cycle: Vec<BlockId> = (0..=i as u32).map(BlockId).collect();
            let mut batch = Batch::default();
            let table = cycle.repeat((position + 1) / (i + 1));
            batch.push(&tokens[i..=i], *position, &table, Outputs::All);
            logits.extend(forward(&mut model, &batch));
        }
        let reference = Reference::new(&synthetic.gguf(), &config);
        let want = reference.forward_at(&tokens, &positions);
        let error = norms::nrmse(&rows(&logits, &model), &want);
        assert!(error < ROUNDING, "position {far}: {error}");
    }
}
