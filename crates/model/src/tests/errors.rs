//! Refusals, and what survives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perigee_gguf::{Gguf, TokenId};
use perigee_placement::{Home, Plan};
use perigee_quant::QuantKind;
use perigee_testkit::{Synthetic, shapes};

use super::{bits, model, model_from, options, run, tokens};
use crate::{Batch, BlockId, ForwardError, LoadError, LoadOptions, Model, Outputs, Run, load};

/// A batch of tokens 1, 2, 3 at position 0 in block 0.
fn batch() -> Batch {
    let mut batch = Batch::default();
    let tokens = [1, 2, 3].map(TokenId);
    batch.push(&tokens, 0, &[BlockId(0)], Outputs::Last);
    batch
}

fn altered(alter: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = batch();
    alter(&mut batch);
    batch
}

#[test]
fn bad_batches_are_refused_and_the_model_goes_on() {
    let options = LoadOptions {
        ubatch: 8,
        max_output_rows: 4,
        ..options()
    };
    let mut model = model(&Synthetic::new(shapes::kimi()), QuantKind::F16, &options);
    let before = bits(&run(&mut model, &tokens(3, 1), 3));
    let six = [TokenId(0); 6];
    let nine = [TokenId(0); 9];
    let run_of = |tokens, blocks| Run {
        tokens,
        start: 0,
        blocks,
        outputs: Outputs::None,
    };
    let cases = [
        (
            altered(|b| b.tokens[1] = TokenId(512)),
            ForwardError::TokenOutOfRange {
                token: 512,
                vocab_size: 512,
            },
        ),
        (
            altered(|b| b.block_table[0] = BlockId(64)),
            ForwardError::BlockOutOfRange {
                run: 0,
                block: 64,
                n_blocks: 64,
            },
        ),
        (
            altered(|b| b.runs[0].start = 14),
            ForwardError::BlockTableTooShort {
                run: 0,
                found: 1,
                expected: 2,
            },
        ),
        (
            altered(|b| b.runs[0].start = usize::MAX),
            ForwardError::BlockTableTooShort {
                run: 0,
                found: 1,
                expected: usize::MAX.div_ceil(16),
            },
        ),
        (
            altered(|b| b.push(&nine, 0, &[BlockId(1)], Outputs::None)),
            ForwardError::TooManyTokens {
                found: 12,
                limit: 8,
            },
        ),
        (
            altered(|b| b.push(&six[..5], 0, &[BlockId(1)], Outputs::All)),
            ForwardError::TooManyOutputs { found: 6, limit: 4 },
        ),
        (
            altered(|b| b.push(&[], 0, &[], Outputs::None)),
            ForwardError::BadRun { run: 1 },
        ),
        (
            altered(|b| b.runs.push(run_of(1..3, 0..1))),
            ForwardError::BadRun { run: 1 },
        ),
        (
            altered(|b| b.runs[0].blocks = 0..2),
            ForwardError::BadRun { run: 0 },
        ),
        (
            altered(|b| b.tokens.push(TokenId(0))),
            ForwardError::BadRun { run: 1 },
        ),
    ];
    for (batch, expected) in cases {
        let mut logits = vec![0.0; batch.n_outputs() * 512];
        assert_eq!(model.forward(&batch, &mut logits), Err(expected));
    }
    let wrong_room = model.forward(&batch(), &mut [0.0; 511]);
    let expected = ForwardError::LogitsLength {
        found: 511,
        expected: 512,
    };
    assert_eq!(wrong_room, Err(expected));
    assert_eq!(model.forward(&Batch::default(), &mut []), Ok(()));
    assert!(bits(&run(&mut model, &tokens(3, 1), 3)) == before);
}

/// A weight that is not a number, at the output or before a router, ends the step only.
#[test]
fn logits_that_are_not_finite_are_an_error() {
    let synthetic = Synthetic::new(shapes::deepseek_v3());
    let clean = synthetic.gguf();
    for name in ["output_norm.weight", "blk.1.ffn_norm.weight"] {
        let mut bytes = synthetic.to_bytes();
        let offset = clean.tensor(name).unwrap().offset as usize;
        bytes[offset..offset + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        let gguf = Arc::new(Gguf::from_bytes("nan.gguf", bytes.leak()).unwrap());
        let mut model = model_from(&gguf, QuantKind::F16, &options());
        let mut logits = vec![0.0; 512];
        let result = model.forward(&batch(), &mut logits);
        assert_eq!(result, Err(ForwardError::NotFinite { row: 0 }), "{name}");
    }
}

fn plan_of(gguf: &Gguf) -> Plan {
    let config = perigee_arch::Config::from_metadata(gguf.metadata()).unwrap();
    let inventory = perigee_arch::inventory(gguf, &config).unwrap();
    Plan {
        homes: vec![Home::Cpu { node: 0 }; inventory.tensors.len()],
        warnings: Vec::new(),
    }
}

#[test]
fn loading_reports_every_byte() {
    let gguf = Synthetic::new(shapes::kimi()).gguf();
    let (last, calls) = (AtomicU64::new(0), AtomicU64::new(0));
    let expected: u64 = gguf.tensors().iter().map(|t| t.n_bytes as u64).sum();
    let model = load(
        Arc::clone(&gguf),
        &plan_of(&gguf),
        &options(),
        &|done, total| {
            assert_eq!(total, expected);
            last.fetch_max(done, Ordering::Relaxed);
            calls.fetch_add(1, Ordering::Relaxed);
        },
    );
    let mut model = model.unwrap();
    assert_eq!(last.into_inner(), expected);
    assert!(calls.into_inner() > 1);
    assert_eq!(run(&mut model, &tokens(3, 1), 3).len(), 3 * 512);
}

fn check_load(alter_plan: impl Fn(&mut Plan), options: &LoadOptions, expected: &str) {
    let gguf = Synthetic::new(shapes::kimi()).gguf();
    let mut plan = plan_of(&gguf);
    alter_plan(&mut plan);
    let result = load(gguf, &plan, options, &|_, _| ());
    let error = result.err().map(|error: LoadError| error.to_string());
    assert!(
        error.as_ref().is_some_and(|text| text.contains(expected)),
        "{error:?} for {expected}"
    );
}

#[test]
fn plans_and_options_that_cannot_be_obeyed_are_refused() {
    let node = |plan: &mut Plan| plan.homes[1] = Home::Cpu { node: 1 };
    check_load(node, &options(), "node 1");
    let short = |plan: &mut Plan| plan.homes.truncate(3);
    check_load(short, &options(), "plan has 3 homes");
    let zero = LoadOptions {
        block_len: 0,
        ..options()
    };
    check_load(|_| (), &zero, "block_len must be at least 1");
    for n_blocks in [usize::MAX, usize::MAX / 20_000, 1 << 40] {
        let huge = LoadOptions {
            n_blocks,
            ..options()
        };
        check_load(|_| (), &huge, "KV cache needs");
    }
    let huge = LoadOptions {
        ubatch: 1 << 50,
        ..options()
    };
    check_load(|_| (), &huge, "workspace needs");
}

/// A context of 262,144 tokens costs address space, not memory.
#[test]
fn a_long_context_is_cheap_until_used() {
    let long = LoadOptions {
        n_blocks: 4096,
        block_len: 64,
        ..options()
    };
    let mut model = model(&Synthetic::new(shapes::kimi()), QuantKind::F16, &long);
    assert_eq!(run(&mut model, &tokens(3, 1), 3).len(), 3 * 512);
}
