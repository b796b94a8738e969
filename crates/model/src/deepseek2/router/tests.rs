use perigee_testkit::shapes;

use super::*;

fn routes_of(config: &Config, logits: &[f32], bias: Option<&[f32]>) -> Vec<Route> {
    let config = Config {
        n_routed_experts: logits.len(),
        ..config.clone()
    };
    let mut scratch = vec![0.0; scratch_len(&config)];
    let mut routes = vec![Route::default(); config.n_experts_used];
    route(&config, logits, bias, &mut scratch, &mut routes);
    routes
}

fn check(config: &Config, logits: &[f32], bias: Option<&[f32]>, expected: &[(u32, f32)]) {
    let routes = routes_of(config, logits, bias);
    assert_eq!(routes.len(), expected.len());
    for (route, (expert, weight)) in routes.iter().zip(expected) {
        assert_eq!(route.expert, *expert, "{routes:?}");
        let error = (route.weight / weight - 1.0).abs();
        assert!(error < 1e-6, "{routes:?} for {expected:?}");
    }
}

fn top2() -> Config {
    Config {
        n_experts_used: 2,
        norm_topk: false,
        routed_scale: 1.0,
        ..shapes::kimi()
    }
}

#[test]
fn the_largest_scores_win_and_ties_go_to_the_lower_index() {
    let half = 0.5;
    check(
        &top2(),
        &[-1.0, 0.0, 0.0, 0.0],
        None,
        &[(1, half), (2, half)],
    );
}

#[test]
fn the_bias_selects_but_does_not_weigh() {
    let bias = [0.0, 0.0, 0.0, 10.0];
    let third = sigmoid(3.0);
    let logits = [1.0, 2.0, 3.0, -4.0];
    check(&top2(), &logits, None, &[(2, third), (1, sigmoid(2.0))]);
    let expected = [(3, sigmoid(-4.0)), (2, third)];
    check(&top2(), &logits, Some(&bias), &expected);
}

#[test]
fn normalised_weights_sum_to_the_scale() {
    let config = Config {
        norm_topk: true,
        routed_scale: 2.827,
        ..top2()
    };
    let routes = routes_of(&config, &[0.3, -0.7, 1.9, 0.0], None);
    let sum: f32 = routes.iter().map(|route| route.weight).sum();
    assert!((sum - 2.827).abs() < 1e-6, "{sum}");
    // All scores underflow: no division by zero.
    let routes = routes_of(&config, &[-200.0; 4], None);
    assert!(routes.iter().all(|route| route.weight == 0.0), "{routes:?}");
}

#[test]
fn softmax_weights_are_raw_probabilities() {
    let config = Config {
        gating: Gating::Softmax,
        ..top2()
    };
    let logits = [0.0, 3f32.ln(), 0.0, 5f32.ln()];
    check(&config, &logits, None, &[(3, 0.5), (1, 0.3)]);
}

/// Groups of two; the best single score is in a group whose sum loses.
#[test]
fn only_the_best_groups_take_part() {
    let config = Config {
        n_group: 3,
        topk_group: 1,
        ..top2()
    };
    let logits = [4.0, -4.0, 1.0, 1.5, 0.0, 0.5];
    let expected = [(3, sigmoid(1.5)), (2, sigmoid(1.0))];
    check(&config, &logits, None, &expected);
    let kept = Config {
        topk_group: 2,
        ..config
    };
    let expected = [(3, sigmoid(1.5)), (2, sigmoid(1.0))];
    check(&kept, &logits, None, &expected);
    let equal = [0.0; 6];
    check(&kept, &equal, None, &[(0, 0.5), (1, 0.5)]);
}

#[test]
fn scores_that_are_not_numbers_select_distinct_experts() {
    let config = Config {
        n_experts_used: 4,
        ..top2()
    };
    for logits in [[f32::NAN; 4], [f32::NAN, 1.0, f32::INFINITY, f32::NAN]] {
        let mut experts: Vec<u32> = routes_of(&config, &logits, None)
            .iter()
            .map(|route| route.expert)
            .collect();
        experts.sort_unstable();
        assert_eq!(experts, [0, 1, 2, 3]);
    }
}
