//! What a recipe makes of the tensors of a file.

use perigee_gguf::{Gguf, Writer};
use perigee_quant::QuantKind;
use perigee_quantize::{Plan, PlanError, Recipe, Selection};

use crate::models::{importances, kimi, noisy, plan, weighted};

fn kind(asked: QuantKind, row_len: u64) -> (QuantKind, Option<QuantKind>) {
    let source = noisy("m.gguf", &[("blk.0.ffn_up.weight", &[row_len, 2])]);
    let plan = plan(&source, &Recipe::pure(asked));
    let planned = &plan.tensors[0];
    assert_eq!(planned.from, QuantKind::F32);
    (planned.declared.kind, planned.asked)
}

#[test]
fn rows_too_short_for_a_type_get_one_of_smaller_blocks_and_no_fewer_bits() {
    use QuantKind::*;
    for row_len in [32, 64, 128, 160] {
        for (asked, given) in [
            (Iq3K, Iq4Nl),
            (Iq2Kt, Iq4Nl),
            (Q4K, Iq4Nl),
            (Iq4K, Iq4Nl),
            (Q5K, Q5_0),
            (Iq5K, Q5_0),
            (Q6K, Q8_0),
            (Iq6K, Q8_0),
        ] {
            assert_eq!(
                kind(asked, row_len),
                (given, Some(asked)),
                "{asked:?} {row_len}"
            );
        }
        for fits in [Q4_0, Q8_0, Q6_0, F16, Bf16] {
            assert_eq!(kind(fits, row_len), (fits, None), "{fits:?} {row_len}");
        }
    }
    for row_len in [1, 33, 48, 100] {
        for asked in [Iq3K, Q4_0, Q8_0] {
            assert_eq!(
                kind(asked, row_len),
                (F16, Some(asked)),
                "{asked:?} {row_len}"
            );
        }
    }
    assert_eq!(kind(Iq3K, 512), (Iq3K, None));
    assert_eq!(kind(F32, 48), (F32, None));
}

#[test]
fn vectors_norms_and_the_router_stay_as_they_are() {
    let untouched: &[(&str, &[u64])] = &[
        ("blk.0.attn_norm.weight", &[64, 2]),
        ("blk.0.attn_q_a_norm.weight", &[64]),
        ("output_norm.weight", &[64]),
        ("blk.1.ffn_gate_inp.weight", &[64, 8]),
        ("blk.1.exp_probs_b.bias", &[64, 2]),
        ("blk.0.ffn_up.weight", &[64]),
        ("rope_freqs", &[64, 2]),
    ];
    let source = noisy("m.gguf", untouched);
    for recipe in [
        Recipe::pure(QuantKind::Q8_0),
        Recipe::pure(QuantKind::Iq1Kt),
        Recipe::parse_file(".=q4_0\nrest=q4_0").unwrap(),
    ] {
        for planned in plan(&source, &recipe).tensors {
            let name = &planned.declared.name;
            assert_eq!(
                (planned.declared.kind, planned.asked),
                (QuantKind::F32, None),
                "{name}"
            );
        }
    }
    let source = kimi().gguf();
    for planned in plan(&source, &Recipe::pure(QuantKind::Q8_0)).tensors {
        let name = &planned.declared.name;
        let stays = name.contains("norm")
            || name.ends_with("ffn_gate_inp.weight")
            || !name.ends_with(".weight");
        let wanted = if stays {
            QuantKind::F32
        } else {
            QuantKind::Q8_0
        };
        assert_eq!(planned.declared.kind, wanted, "{name}");
    }
}

fn quantised(kind: QuantKind) -> Gguf {
    let mut writer = Writer::new();
    let bytes = vec![0; 4 * kind.row_bytes(256).unwrap()];
    writer.tensor("blk.0.ffn_up.weight", kind, &[256, 4], bytes);
    Gguf::from_vec("quantised.gguf", writer.to_bytes()).unwrap()
}

#[test]
fn quantised_tensors_are_encoded_again_only_on_demand() {
    let recipe = Recipe::pure(QuantKind::Q4_0);
    let source = quantised(QuantKind::Q8_0);
    let error = Plan::new(&source, &recipe, None, false).unwrap_err();
    assert!(
        matches!(
            error,
            PlanError::Requantize {
                from: "Q8_0",
                to: "Q4_0",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("blk.0.ffn_up.weight"), "{error}");
    let plan = Plan::new(&source, &recipe, None, true).unwrap();
    assert_eq!(plan.tensors[0].declared.kind, QuantKind::Q4_0);
    for kind in [
        QuantKind::F16,
        QuantKind::Bf16,
        QuantKind::F32,
        QuantKind::Q4_0,
    ] {
        Plan::new(&quantised(kind), &recipe, None, false).unwrap();
    }
}

#[test]
fn types_without_encoder_are_kept_and_never_made() {
    let without = QuantKind::ALL.iter().filter(|kind| !kind.has_encoder());
    for &kind in without {
        let recipe = Recipe::pure(kind);
        let kept = Plan::new(&quantised(kind), &recipe, None, false).unwrap();
        assert_eq!(kept.tensors[0].declared.kind, kind);
        let error = Plan::new(&quantised(QuantKind::F16), &recipe, None, true).unwrap_err();
        assert!(
            matches!(&error, PlanError::NoEncoder { kind: found, .. } if *found == kind.name()),
            "{error}"
        );
    }
}

#[test]
fn importances_count_for_the_selected_and_for_block_types() {
    let folder = tempfile::tempdir().unwrap();
    let source = noisy(
        "m.gguf",
        &[
            ("blk.0.ffn_up.weight", &[256, 2]),
            ("blk.0.ffn_down.weight", &[256, 2]),
            ("blk.0.attn_q_a.weight", &[256, 2]),
            ("output_norm.weight", &[256]),
        ],
    );
    let imatrix = importances(&source, folder.path());
    let of = |recipe: &str, selection: &Selection| {
        let recipe = Recipe::parse_file(recipe).unwrap();
        let plan = Plan::new(&source, &recipe, Some((&imatrix, selection)), false).unwrap();
        let weighted: Vec<bool> = plan
            .tensors
            .iter()
            .map(|planned| planned.weighted)
            .collect();
        weighted
    };
    let words = || vec!["ffn_up".to_owned(), "attn".to_owned()];
    assert_eq!(of("rest=q4_0", &Selection::All), [true, true, true, false]);
    assert_eq!(
        of("rest=q4_0", &Selection::Include(words())),
        [true, false, true, false]
    );
    assert_eq!(
        of("rest=q4_0", &Selection::Exclude(words())),
        [false, true, false, false]
    );
    assert_eq!(of("rest=f16", &Selection::All), [false; 4]);
    let symmetric = "symmetric_q4_0\nattn=q5_0\nrest=q4_0";
    assert_eq!(of(symmetric, &Selection::All), [false, false, true, false]);

    let other = noisy("m.gguf", &[("blk.0.ffn_up.weight", &[512, 2])]);
    let recipe = Recipe::pure(QuantKind::Q4_0);
    let error = Plan::new(&other, &recipe, Some((&imatrix, &Selection::All)), false).unwrap_err();
    assert!(matches!(error, PlanError::Imatrix(_)), "{error}");
    let left_out = Selection::Exclude(vec!["ffn_up".to_owned()]);
    Plan::new(&other, &recipe, Some((&imatrix, &left_out)), false).unwrap();
}

#[test]
fn sums_add_up() {
    let source = kimi().gguf();
    let folder = tempfile::tempdir().unwrap();
    let imatrix = importances(&source, folder.path());
    let plan = weighted(&source, &Recipe::named("Q2_K_S").unwrap(), &imatrix);
    let by_kind = plan.by_kind();
    let tensors: usize = by_kind.values().map(|(tensors, _)| tensors).sum();
    let bytes: u64 = by_kind.values().map(|(_, bytes)| bytes).sum();
    assert_eq!((tensors, bytes), (plan.tensors.len(), plan.weight_bytes()));
    let weights = source
        .tensors()
        .iter()
        .map(|tensor| tensor.shape.iter().product::<u64>());
    assert_eq!(plan.n_weights(), weights.sum::<u64>());
}
