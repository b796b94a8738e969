use std::time::Duration;

use super::super::super::Test;
use super::super::super::report::Context;
use super::*;

const WHOLE: &str = "kimi-k2.6@IQ3_K";

fn estimate(spec: &str) -> Estimate {
    let parse = |text: &str| text.parse::<ModelSpec>().unwrap();
    let whole = spec.split(':').next().unwrap();
    Estimate::new(spec, &parse(spec), whole, &parse(whole))
}

fn measured(milliseconds: u64) -> Measured {
    let test = Test {
        n_prompt: 0,
        n_gen: 10,
        depth: 0,
        n_seqs: 1,
    };
    let slower = Duration::from_millis(milliseconds + 500);
    Measured {
        context: Context {
            model: "m".to_owned(),
            size_bytes: 1,
            n_params: 1,
            threads: 2,
            ubatch: 512,
            all_logits: true,
        },
        rows: vec![Row {
            test,
            seconds: vec![slower, Duration::from_millis(milliseconds)],
            steps: Vec::new(),
        }],
        finite: true,
    }
}

#[test]
fn the_whole_is_everything_but_moe_layers_and_each_of_those() {
    let mut estimate = estimate("kimi-k2.6@IQ3_K:layers=3,vocab=4096");
    let shapes = estimate.shapes();
    let counts: Vec<(usize, usize)> = shapes
        .iter()
        .map(|shape| (shape.spec.config.n_layers, shape.spec.config.vocab_size))
        .collect();
    assert_eq!(counts, [(3, 4096), (1, 4096), (1, 163_840)]);
    // Two MoE layers take 600 ms.
    estimate.models = [1000, 400, 700].map(measured).into();
    estimate.bandwidth = Some(ReadBandwidth {
        best: 1e11,
        median: 9e10,
    });
    let whole = 0.7 + 60.0 * 0.3;
    assert!((estimate.whole_rate(0).unwrap() - 10.0 / whole).abs() < 1e-12);
    let json = estimate.json();
    let found = &json["extrapolated"];
    assert_eq!(found["n_moe_layers"], 60);
    let rate = found["decode_tokens_per_second"].as_f64().unwrap();
    let fraction = bytes_per_token(&estimate.whole) * rate / 1e11;
    assert_eq!(found["bandwidth_fraction"], json!(fraction));
    assert_eq!(json["prefill_tokens_per_second"], Value::Null);
    assert_eq!(json["doubts"], json!([]));
    let text = estimate.text();
    assert!(!text.contains("Warning"), "{text}");
    assert!(text.contains("C + 60 × (A − B) / 2"), "{text}");
    assert!(
        text.contains("| 1870.000 |") || text.contains("1870.000"),
        "{text}"
    );
}

#[test]
fn noise_makes_no_negative_times() {
    let mut estimate = estimate("kimi-k2.6@IQ3_K:layers=2");
    assert_eq!(estimate.shapes().len(), 2, "the head is the whole one");
    estimate.models = [1000, 1100].map(measured).into();
    assert_eq!(estimate.whole_rate(0), Some(10.0 / 1.1));
    let text = estimate.text();
    assert!(
        text.contains("tg10: A, which has more layers, was faster than B"),
        "{text}"
    );
}

#[test]
fn other_dimensions_say_nothing_about_the_whole() {
    for (overrides, part) in [
        ("layers=2,experts=16", "other dimensions"),
        ("layers=1", "layers=2"),
        ("layers=2,dense=2", "2 dense layers"),
    ] {
        let estimate = estimate(&format!("{WHOLE}:{overrides}"));
        let obstacle = estimate.obstacle.as_deref().unwrap();
        assert!(obstacle.contains(part), "{overrides}: {obstacle}");
        assert_eq!(estimate.shapes().len(), 1);
    }
}

#[test]
fn kimi_reads_its_active_weights() {
    // 61 layers of MLA, 60 × 9 experts of 44 million weights, a head of 1.2 billion: 32 billion
    // in all, at 8.5 bits but for 21.1 billion routed ones.
    let bytes = bytes_per_token(&WHOLE.parse().unwrap());
    let routed = 60.0 * 8.0 * 7168.0 * 2048.0 * (2.0 * 3.4375 + 4.5) / 8.0;
    assert!(
        bytes > routed && bytes < routed + 13e9 * 8.5 / 8.0,
        "{bytes}"
    );
}

#[test]
fn more_than_the_bandwidth_is_doubted() {
    let mut estimate = estimate("kimi-k2.6@IQ3_K:layers=3,vocab=4096");
    estimate.models = [1000, 400, 700].map(measured).into();
    estimate.bandwidth = Some(ReadBandwidth {
        best: 1e9,
        median: 1e9,
    });
    let doubts = estimate.json()["doubts"].as_array().unwrap().len();
    assert_eq!(doubts, 2, "{}", estimate.text());
    assert!(
        estimate
            .text()
            .contains("of the bandwidth that was measured")
    );
}
