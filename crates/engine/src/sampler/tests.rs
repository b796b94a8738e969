use perigee_tokenizer::VocabParts;

use super::*;

/// 256 single bytes, then control tokens.
fn tokenizer() -> Tokenizer {
    let bytes: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    Tokenizer::new(VocabParts::from_ranks(bytes)).expect("a vocabulary of bytes")
}

fn logits_of(probabilities: &[f64], n_vocab: usize) -> Vec<f32> {
    let mut logits = vec![-60.0; n_vocab];
    for (logit, p) in logits.iter_mut().zip(probabilities) {
        *logit = p.ln() as f32;
    }
    logits
}

/// Relative frequencies of the first tokens over many draws.
fn frequencies(params: SamplingParams, probabilities: &[f64]) -> Vec<f64> {
    let tokenizer = tokenizer();
    let mut sampler = Sampler::new(
        &SamplingParams {
            seed: Some(1),
            ..params
        },
        &tokenizer,
    );
    let mut scratch = Scratch::default();
    let mut counts = vec![0.0; probabilities.len()];
    const N: usize = 4000;
    for _ in 0..N {
        let mut logits = logits_of(probabilities, tokenizer.vocab_size());
        let sampled = sampler
            .sample(&mut logits, &[TokenId(65)], 0, &tokenizer, &mut scratch)
            .unwrap();
        counts[sampled.id.0 as usize] += 1.0 / N as f64;
    }
    counts
}

fn check(params: SamplingParams, probabilities: &[f64], expected: &[f64]) {
    let found = frequencies(params, probabilities);
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < 0.03,
            "token {i}: {found}, expected {expected}"
        );
        assert!(
            *expected > 0.0 || *found == 0.0,
            "token {i} should be impossible, was drawn {found}"
        );
    }
}

const P: [f64; 5] = [0.4, 0.3, 0.15, 0.1, 0.05];

#[test]
fn plain_sampling_follows_the_distribution() {
    check(SamplingParams::default(), &P, &P);
}

#[test]
fn temperature_sharpens_and_flattens() {
    let tempered = |t: f64| {
        let weights: Vec<f64> = P.iter().map(|p| p.powf(1.0 / t)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| w / sum).collect::<Vec<f64>>()
    };
    for t in [0.5, 2.0] {
        check(
            SamplingParams {
                temperature: t as f32,
                ..Default::default()
            },
            &P,
            &tempered(t),
        );
    }
}

#[test]
fn each_truncation_keeps_what_its_definition_says() {
    let renormalised = |kept: &[usize]| {
        let sum: f64 = kept.iter().map(|&i| P[i]).sum();
        (0..P.len())
            .map(|i| if kept.contains(&i) { P[i] / sum } else { 0.0 })
            .collect::<Vec<f64>>()
    };
    check(
        SamplingParams {
            top_k: 2,
            ..Default::default()
        },
        &P,
        &renormalised(&[0, 1]),
    );
    check(
        SamplingParams {
            top_p: 0.8,
            ..Default::default()
        },
        &P,
        &renormalised(&[0, 1, 2]),
    );
    check(
        SamplingParams {
            top_p: 0.69,
            ..Default::default()
        },
        &P,
        &renormalised(&[0, 1]),
    );
    check(
        SamplingParams {
            min_p: 0.3,
            ..Default::default()
        },
        &P,
        &renormalised(&[0, 1, 2]),
    );
    // −ln p: 0.92 1.20 1.90 2.30 3.00; entropy 1.39; closest: 1, 0, 2 (distances 0.19, 0.48, 0.50).
    check(
        SamplingParams {
            typical_p: 0.5,
            ..Default::default()
        },
        &P,
        &renormalised(&[0, 1]),
    );
    check(
        SamplingParams {
            typical_p: 0.75,
            ..Default::default()
        },
        &P,
        &renormalised(&[0, 1, 2]),
    );
    let xtc = SamplingParams {
        xtc_probability: 1.0,
        xtc_threshold: 0.12,
        ..Default::default()
    };
    check(xtc, &P, &renormalised(&[2, 3, 4]));
}

#[test]
fn a_large_vocabulary_is_truncated_like_a_sorted_one() {
    let mut random = Random::new(3);
    let logits: Vec<f32> = (0..20_000).map(|_| (random.unit() * 12.0) as f32).collect();
    let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    for mass in [0.01, 0.5, 0.95] {
        let mut reached = 0.0;
        let expected = sorted.iter().take_while(|(_, l)| {
            let before = reached;
            reached += f64::from(*l).exp() / sum;
            before < mass
        });
        let expected: Vec<u32> = expected.map(|&(id, _)| id).collect();
        let mut candidates = Candidates::default();
        candidates.load(&logits);
        candidates.keep_mass(mass as f32);
        let found: Vec<u32> = candidates.items().iter().map(|c| c.id).collect();
        assert!(
            found.len().abs_diff(expected.len()) <= 1,
            "{mass}: {} and {}",
            found.len(),
            expected.len()
        );
        let common = found.len().min(expected.len());
        assert_eq!(found[..common], expected[..common], "{mass}");
    }
    let mut candidates = Candidates::default();
    candidates.load(&logits);
    candidates.keep_best(100);
    let found: Vec<u32> = candidates.items().iter().map(|c| c.id).collect();
    let expected: Vec<u32> = sorted[..100].iter().map(|&(id, _)| id).collect();
    assert_eq!(found, expected);
}

fn one(
    params: &SamplingParams,
    logits: &mut [f32],
    tokens: &[TokenId],
    n_generated: usize,
) -> Sampled {
    let tokenizer = tokenizer();
    Sampler::new(params, &tokenizer)
        .sample(
            logits,
            tokens,
            n_generated,
            &tokenizer,
            &mut Scratch::default(),
        )
        .unwrap()
}

fn ids(text: &str) -> Vec<TokenId> {
    tokenizer().encode_text(text)
}

#[test]
fn greedy_takes_the_best_and_of_equals_the_lowest_id() {
    let greedy = SamplingParams {
        temperature: 0.0,
        ..Default::default()
    };
    let mut logits = vec![0.0; tokenizer().vocab_size()];
    assert_eq!(one(&greedy, &mut logits, &[TokenId(0)], 0).id, TokenId(0));
    logits.fill(0.0);
    (logits[9], logits[7]) = (1.0, 1.0);
    assert_eq!(one(&greedy, &mut logits, &[TokenId(0)], 0).id, TokenId(7));
}

#[test]
fn biases_ban_and_favour() {
    let mut logits = vec![0.0; tokenizer().vocab_size()];
    logits[5] = 9.0;
    let logit_bias = vec![
        (TokenId(5), f32::NEG_INFINITY),
        (TokenId(8), 3.0),
        (TokenId(u32::MAX), 1.0),
    ];
    let params = SamplingParams {
        temperature: 0.0,
        logit_bias,
        ..Default::default()
    };
    assert_eq!(one(&params, &mut logits, &[TokenId(0)], 0).id, TokenId(8));
}

#[test]
fn if_everything_is_banned_there_is_still_an_answer() {
    let n = tokenizer().vocab_size() as u32;
    let logit_bias = (0..n).map(|id| (TokenId(id), f32::NEG_INFINITY)).collect();
    let params = SamplingParams {
        logit_bias,
        ..Default::default()
    };
    let mut logits = vec![0.0; n as usize];
    assert_eq!(one(&params, &mut logits, &[TokenId(0)], 0).id, TokenId(0));
}

#[test]
fn broken_logits_are_an_error() {
    let tokenizer = tokenizer();
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut logits = vec![0.0; tokenizer.vocab_size()];
        logits[3] = broken;
        let sampled = Sampler::new(&SamplingParams::default(), &tokenizer).sample(
            &mut logits,
            &[TokenId(0)],
            0,
            &tokenizer,
            &mut Scratch::default(),
        );
        assert_eq!(sampled.err(), Some(SampleError::NotFinite));
    }
}

#[test]
fn penalties_follow_their_formulas_and_spare_control_tokens() {
    let control = tokenizer().control("<|im_end|>").unwrap();
    let mut tokens = ids("ab");
    let (a, b) = (tokens[0].0 as usize, tokens[1].0 as usize);
    tokens.extend([tokens[1], control]);
    let fresh = || vec![2.0_f32; tokenizer().vocab_size()];
    let apply = |params: &SamplingParams, n_generated: usize| {
        let mut logits = fresh();
        logits[a] = -2.0;
        Counts::default().apply(params, &mut logits, &tokens, n_generated, &tokenizer());
        (logits[a], logits[b], logits[control.0 as usize])
    };
    let repeat = SamplingParams {
        repeat_penalty: 2.0,
        ..Default::default()
    };
    assert_eq!(apply(&repeat, 0), (-4.0, 1.0, 2.0));
    let short = SamplingParams {
        repeat_penalty: 2.0,
        repeat_last_n: 2,
        ..Default::default()
    };
    assert_eq!(apply(&short, 0), (-2.0, 1.0, 2.0));
    let both = SamplingParams {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..Default::default()
    };
    assert_eq!(apply(&both, 3), (-2.0, 1.0, 2.0));
    assert_eq!(apply(&both, 0), (-2.0, 2.0, 2.0));
}

#[test]
fn penalties_rest_between_the_tokens_that_were_named() {
    let tokenizer = tokenizer();
    let (begin, end, word) = (TokenId(1), TokenId(2), TokenId(3));
    let params = SamplingParams {
        temperature: 0.0,
        presence_penalty: 5.0,
        rest_penalties: Some((begin, vec![end])),
        ..Default::default()
    };
    let mut sampler = Sampler::new(&params, &tokenizer);
    let mut scratch = Scratch::default();
    let mut tokens = vec![TokenId(9)];
    let mut said = Vec::new();
    for wanted in [word, begin, word, word, end, word] {
        let mut logits = vec![0.0; tokenizer.vocab_size()];
        logits[wanted.0 as usize] = 4.0;
        let sampled = sampler
            .sample(&mut logits, &tokens, said.len(), &tokenizer, &mut scratch)
            .unwrap();
        tokens.push(sampled.id);
        said.push(sampled.id);
    }
    // Said again between the two, and not after them.
    assert_eq!(said[..5], [word, begin, word, word, end]);
    assert_ne!(said[5], word);
}

#[test]
fn dry_penalises_the_continuation_of_a_repetition() {
    let tokenizer = tokenizer();
    let params = SamplingParams {
        dry_multiplier: 1.0,
        dry_base: 2.0,
        dry_allowed_length: 2,
        ..Default::default()
    };
    let penalty = |text: &str, next: u8| {
        let mut logits = vec![0.0; tokenizer.vocab_size()];
        Dry::default().apply(&params, &mut logits, &ids(text), &tokenizer);
        let next = ids(std::str::from_utf8(&[next]).unwrap())[0];
        (
            -logits[next.0 as usize],
            logits.iter().filter(|&&logit| logit != 0.0).count(),
        )
    };
    // "abc" came before and was followed by d: three tokens match, one more than allowed.
    assert_eq!(penalty("abcdxabc", b'd'), (2.0, 1));
    assert_eq!(penalty("abxab", b'x'), (1.0, 1));
    assert_eq!(penalty("axa", b'x'), (0.0, 0));
    // A line break ends the match.
    assert_eq!(penalty("a\nbxa\nb", b'x'), (0.0, 0));
}

#[test]
fn logprobs_are_of_the_unmodified_logits() {
    let logit_bias = vec![(TokenId(0), f32::NEG_INFINITY)];
    let params = SamplingParams {
        temperature: 0.0,
        logit_bias,
        logprobs: Some(2),
        ..Default::default()
    };
    let mut logits = logits_of(&P, tokenizer().vocab_size());
    let sampled = one(&params, &mut logits, &[TokenId(9)], 0);
    let logprobs = sampled.logprobs.unwrap();
    assert_eq!(sampled.id, TokenId(1));
    assert!(
        (logprobs.logprob - 0.3_f32.ln()).abs() < 1e-4,
        "{logprobs:?}"
    );
    assert_eq!(
        logprobs.top.iter().map(|(id, _)| id.0).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn a_seed_reproduces_a_sequence_of_draws() {
    let tokenizer = tokenizer();
    let draws = |seed| {
        let mut sampler = Sampler::new(
            &SamplingParams {
                seed: Some(seed),
                ..Default::default()
            },
            &tokenizer,
        );
        let mut scratch = Scratch::default();
        (0..50)
            .map(|_| {
                let mut logits = logits_of(&P, tokenizer.vocab_size());
                sampler
                    .sample(&mut logits, &[TokenId(9)], 0, &tokenizer, &mut scratch)
                    .unwrap()
                    .id
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(draws(5), draws(5));
    assert_ne!(draws(5), draws(6));
}
