use super::{Reference, forward};
use crate::{Synthetic, norms, shapes};
use perigee_arch::KvLayout;
use perigee_gguf::TokenId;
use perigee_quant::QuantKind;

fn tokens(n: u32) -> Vec<TokenId> {
    (0..n).map(|i| TokenId((i * 37 + 11) % 480)).collect()
}

#[test]
fn all_forms_of_a_file_are_the_same_model() {
    let config = shapes::kimi();
    let plain = Synthetic::new(config.clone());
    let want = forward(&plain.gguf(), &config, &tokens(6), 0);
    let forms = [
        ("joined", plain.clone().layout(KvLayout::Joined)),
        ("both", plain.clone().layout(KvLayout::Both)),
        ("merged", plain.clone().merged_gate_up()),
    ];
    for (form, synthetic) in forms {
        let got = forward(&synthetic.gguf(), &config, &tokens(6), 0);
        assert_eq!(norms::max_abs(&got, &want), 0.0, "{form}");
    }
}

#[test]
fn a_token_does_not_see_the_ones_after_it() {
    for config in shapes::all() {
        let reference = Reference::new(&Synthetic::new(config.clone()).gguf(), &config);
        let long = reference.forward(&tokens(5));
        let short = reference.forward(&tokens(3));
        assert_eq!(norms::max_abs(&long[..3], &short), 0.0, "{}", config.name);
    }
}

/// Rotary positions are relative: only distances can matter.
#[test]
fn a_shift_of_all_positions_changes_nothing() {
    let config = shapes::kimi();
    let gguf = Synthetic::new(config.clone()).gguf();
    let here = forward(&gguf, &config, &tokens(6), 0);
    let far = forward(&gguf, &config, &tokens(6), 250_000);
    let distance = norms::max_abs(&far, &here);
    assert!(distance < 1e-8, "{distance}");
}

#[test]
fn a_gap_in_the_positions_changes_the_logits_behind_it() {
    let config = shapes::kimi();
    let reference = Reference::new(&Synthetic::new(config.clone()).gguf(), &config);
    let dense = reference.forward(&tokens(4));
    let sparse = reference.forward_at(&tokens(4), &[0, 1, 100_000, 100_001]);
    assert_eq!(norms::max_abs(&sparse[..2], &dense[..2]), 0.0);
    assert!(norms::nrmse(&sparse[2..], &dense[2..]) > 1e-3);
}

#[test]
fn logits_have_the_spread_of_a_trained_head() {
    for config in shapes::all() {
        let logits = forward(
            &Synthetic::new(config.clone()).gguf(),
            &config,
            &tokens(4),
            0,
        );
        let n = (4 * config.vocab_size) as f64;
        let variance = logits.iter().flatten().map(|l| l * l).sum::<f64>() / n;
        let deviation = variance.sqrt();
        assert!(
            (1.2..1.8).contains(&deviation),
            "{}: {deviation}",
            config.name
        );
    }
}

#[test]
fn a_tied_head_reads_the_embedding() {
    let config = shapes::kimi();
    let tied = Synthetic::new(config.clone()).tied_head();
    let logits = forward(&tied.gguf(), &config, &tokens(3), 0);
    assert!(logits.iter().flatten().all(|l| l.is_finite()));
    assert_eq!(logits[0].len(), config.vocab_size);
}

#[test]
fn a_coarser_cache_is_farther_from_the_exact_logits() {
    let config = shapes::kimi();
    let gguf = Synthetic::new(config.clone()).gguf();
    let exact = forward(&gguf, &config, &tokens(8), 0);
    let error = |kind| {
        let cached = Reference::new(&gguf, &config).cache_kind(kind);
        norms::nrmse(&cached.forward(&tokens(8)), &exact)
    };
    let (f32, f16, q8_0) = (
        error(QuantKind::F32),
        error(QuantKind::F16),
        error(QuantKind::Q8_0),
    );
    assert!(f32 < 1e-6, "{f32}");
    assert!((1e-5..1e-3).contains(&f16), "{f16}");
    assert!((1e-3..3e-2).contains(&q8_0), "{q8_0}");
}
