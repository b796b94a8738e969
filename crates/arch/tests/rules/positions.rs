//! Softmax scale and rotary frequencies of the published models.

use perigee_arch::{Config, Yarn};
use perigee_testkit::shapes;

fn config(rope_base: f32, scaling: Option<(f32, f32)>) -> Config {
    let yarn = scaling.map(|(factor, log_multiplier)| Yarn {
        factor,
        original_context: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        log_multiplier,
    });
    Config {
        rope_base,
        yarn,
        ..shapes::kimi()
    }
}

fn kimi_k2() -> Config {
    config(50_000.0, Some((32.0, 0.1)))
}

fn kimi_k2_6() -> Config {
    config(50_000.0, Some((64.0, 0.1)))
}

fn deepseek_v3() -> Config {
    config(10_000.0, Some((40.0, 0.1)))
}

fn deepseek_v2_lite() -> Config {
    config(10_000.0, Some((40.0, 0.0707)))
}

fn moonlight() -> Config {
    config(50_000.0, None)
}

fn assert_close(found: f32, expected: f64) {
    let error = (f64::from(found) / expected - 1.0).abs();
    assert!(error < 1e-6, "{found} is not {expected}");
}

#[test]
fn the_softmax_scales_of_the_family_are_the_published_ones() {
    let scales = [
        (kimi_k2(), 0.130_860_8),
        (kimi_k2_6(), 0.144_679_625_8),
        (deepseek_v3(), 0.135_233_778_9),
        (deepseek_v2_lite(), 0.114_721_386_8),
        (moonlight(), 0.072_168_783_6),
    ];
    for (config, expected) in scales {
        assert_close(config.kq_scale(), expected);
    }
}

#[test]
fn the_rotary_frequencies_of_kimi_k2_6_are_the_published_ones() {
    let frequencies = kimi_k2_6().rope_frequencies();
    assert_eq!(frequencies.len(), 32);
    let expected = [
        (0, 1.0),
        (1, 7.131_110_849e-1),
        (7, 9.377_785_861e-2),
        (8, 6.687_403_050e-2),
        (9, 4.377_665_595e-2),
        (10, 2.842_795_908e-2),
        (14, 4.465_848_749e-3),
        (19, 1.583_749_910e-4),
        (20, 1.807_023_387e-5),
        (31, 4.382_206_456e-7),
    ];
    for (i, frequency) in expected {
        assert_close(frequencies[i], frequency);
    }
}

#[test]
fn without_scaling_frequencies_are_powers_of_the_base() {
    let frequencies = moonlight().rope_frequencies();
    for (i, &frequency) in frequencies.iter().enumerate() {
        assert_close(frequency, 50_000_f64.powf(-(i as f64) / 32.0));
    }
}

#[test]
fn linear_scaling_divides_all_frequencies() {
    let plain = moonlight();
    let scaled = Config {
        rope_linear_factor: 4.0,
        ..plain.clone()
    };
    for (&a, &b) in plain
        .rope_frequencies()
        .iter()
        .zip(&scaled.rope_frequencies())
    {
        assert_close(b, f64::from(a) / 4.0);
    }
    assert_eq!(plain.kq_scale(), scaled.kq_scale());
}

#[test]
fn frequencies_never_grow_with_the_pair() {
    for config in [
        kimi_k2(),
        kimi_k2_6(),
        deepseek_v3(),
        deepseek_v2_lite(),
        moonlight(),
    ] {
        let frequencies = config.rope_frequencies();
        assert!(
            frequencies.is_sorted_by(|a, b| a > b),
            "{config:?}: {frequencies:?}"
        );
    }
}
