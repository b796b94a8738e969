//! Same tokens, same bits.

use perigee_gguf::TokenId;
use perigee_quant::QuantKind;
use perigee_testkit::{Kinds, Synthetic, shapes};

use super::{Sequence, bits, forward, model, options, run, tokens};
use crate::{Activations, Batch, BlockId, LoadMode, LoadOptions, Model, Outputs};

fn synthetic() -> Synthetic {
    Synthetic::new(shapes::kimi_top4()).kinds(Kinds::uniform(QuantKind::Q8_0))
}

fn deterministic(n_threads: usize) -> LoadOptions {
    LoadOptions {
        n_threads,
        deterministic: true,
        load: LoadMode::Pack,
        ..options()
    }
}

/// 290 tokens: past a split of attention, past the expanded form's threshold.
#[test]
fn chunks_and_threads_do_not_change_a_bit() {
    let synthetic = synthetic();
    let tokens = tokens(290, 1);
    for load in [
        LoadMode::Map(Activations::F32),
        LoadMode::Map(Activations::Int8),
        LoadMode::Pack,
    ] {
        let model = |n_threads| {
            let options = LoadOptions {
                load,
                ..deterministic(n_threads)
            };
            model(&synthetic, QuantKind::F16, &options)
        };
        let want = bits(&run(&mut model(1), &tokens, 290));
        for (n_threads, chunk_len) in [(1, 1), (2, 1), (2, 7), (1, 64), (3, 129), (2, 290)] {
            let got = bits(&run(&mut model(n_threads), &tokens, chunk_len));
            assert!(
                got == want,
                "{load:?}: {n_threads} threads, chunks of {chunk_len}"
            );
        }
    }
}

#[test]
fn threads_do_not_change_a_bit_of_the_expanded_form() {
    let tokens = tokens(290, 2);
    let logits = [1, 3].map(|n_threads| {
        let options = LoadOptions {
            n_threads,
            ..options()
        };
        let mut model = model(&synthetic(), QuantKind::F16, &options);
        bits(&run(&mut model, &tokens, 290))
    });
    assert!(logits[0] == logits[1]);
}

/// Three sequences in one batch: a decode step, a chunk, a first chunk, in turn.
#[test]
fn other_sequences_do_not_change_a_bit() {
    let synthetic = synthetic();
    let all: [Vec<TokenId>; 3] = [tokens(40, 3), tokens(100, 4), tokens(70, 5)];
    let mut alone = Vec::new();
    for tokens in &all {
        let mut model = model(&synthetic, QuantKind::Q8_0, &deterministic(1));
        alone.push(run(&mut model, tokens, 100));
    }
    let mut model = model(&synthetic, QuantKind::Q8_0, &deterministic(2));
    let vocab_size = model.limits().vocab_size;
    let mut sequences = [63, 40, 20].map(|last| Sequence::new(last, 20));
    let mut together = vec![Vec::new(); 3];
    for lens in [[30, 64, 0], [1, 36, 3], [1, 0, 60], [8, 0, 7]] {
        let mut batch = Batch::default();
        for ((sequence, tokens), len) in sequences.iter_mut().zip(&all).zip(lens) {
            if len > 0 {
                let start = sequence.len;
                sequence.push(&mut batch, &tokens[start..start + len]);
            }
        }
        let logits = forward(&mut model, &batch);
        let mut rest = &logits[..];
        for (together, len) in together.iter_mut().zip(lens) {
            let (own, others) = rest.split_at(len * vocab_size);
            together.extend_from_slice(own);
            rest = others;
        }
    }
    for (i, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert!(bits(together) == bits(alone), "sequence {i}");
    }
}

/// Expanded and absorbed runs in one batch, in an order that breaks the absorbed ones apart.
#[test]
fn both_forms_of_attention_share_a_batch() {
    let synthetic = synthetic();
    let all = [tokens(2, 8), tokens(150, 9), tokens(70, 10), tokens(30, 11)];
    let mut mixed = model(&synthetic, QuantKind::F16, &options());
    let mut batch = Batch::default();
    for (last, tokens) in [63, 40, 20, 10].into_iter().zip(&all) {
        Sequence::new(last, 10).push(&mut batch, tokens);
    }
    let together = forward(&mut mixed, &batch);
    let mut alone = Vec::new();
    for tokens in &all {
        let mut model = model(&synthetic, QuantKind::F16, &options());
        alone.extend(run(&mut model, tokens, 150));
    }
    assert!(bits(&together) == bits(&alone));
}

#[test]
fn wanted_rows_do_not_change_a_bit() {
    let mut model = model(&synthetic(), QuantKind::F16, &options());
    let vocab_size = model.limits().vocab_size;
    let tokens = tokens(20, 6);
    let all = run(&mut model, &tokens, 20);
    let mut batch = Batch::default();
    let mut push = |first: u32, outputs| {
        let table = [BlockId(first), BlockId(first + 1)];
        batch.push(&tokens, 0, &table, outputs);
    };
    push(0, Outputs::Last);
    push(2, Outputs::None);
    push(4, Outputs::All);
    let got = forward(&mut model, &batch);
    let (last, every) = got.split_at(vocab_size);
    assert!(bits(last) == bits(&all[19 * vocab_size..]));
    assert!(bits(every) == bits(&all));

    // A prefill chunk without outputs leaves the same cache behind.
    let mut batch = Batch::default();
    let table = [BlockId(8), BlockId(9)];
    batch.push(&tokens[..19], 0, &table, Outputs::None);
    assert_eq!(forward(&mut model, &batch), []);
    batch.clear();
    batch.push(&tokens[19..], 19, &table, Outputs::Last);
    assert!(bits(&forward(&mut model, &batch)) == bits(last));
}

#[test]
fn a_copied_block_serves_as_the_original() {
    let mut model = model(&synthetic(), QuantKind::F16, &options());
    let tokens = tokens(12, 7);
    let mut batch = Batch::default();
    batch.push(&tokens[..10], 0, &[BlockId(5)], Outputs::None);
    forward(&mut model, &batch);
    model.copy_block(BlockId(5), BlockId(63));
    let [original, copy] = [5, 63].map(|block| {
        let mut batch = Batch::default();
        batch.push(&tokens[10..], 10, &[BlockId(block)], Outputs::All);
        bits(&forward(&mut model, &batch))
    });
    assert!(original == copy);
}
