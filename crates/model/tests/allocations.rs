//! A step allocates nothing: the only test of this binary, so that nobody else allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use perigee_arch::{Config, KvKind};
use perigee_gguf::TokenId;
use perigee_model::{Activations, Batch, BlockId, LoadMode, LoadOptions, Model, Outputs, load};
use perigee_placement::{Home, Plan};
use perigee_quant::QuantKind;
use perigee_testkit::{Kinds, Synthetic, shapes};

/// The system's allocator with a counter.
struct Counting;

static N_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_hundred_decode_steps_allocate_nothing() {
    for load in [
        LoadMode::Map(Activations::F32),
        LoadMode::Map(Activations::Int8),
        LoadMode::Pack,
    ] {
        check(load);
    }
}

fn check(load_mode: LoadMode) {
    let kinds = Kinds::uniform(QuantKind::Q8_0);
    let gguf = Synthetic::new(shapes::kimi_top4()).kinds(kinds).gguf();
    let config = Config::from_metadata(gguf.metadata()).unwrap();
    let inventory = perigee_arch::inventory(&gguf, &config).unwrap();
    let plan = Plan {
        homes: vec![Home::Cpu { node: 0 }; inventory.tensors.len()],
        warnings: Vec::new(),
    };
    let options = LoadOptions {
        n_threads: 2,
        kv: KvKind::Q8_0,
        n_blocks: 32,
        block_len: 16,
        ubatch: 160,
        max_output_rows: 2,
        deterministic: false,
        load: load_mode,
        observer: None,
    };
    let mut model = load(Arc::clone(&gguf), &plan, &options, &|_, _| ()).unwrap();

    let table: Vec<BlockId> = (0..16).map(BlockId).collect();
    let mut batch = Batch::default();
    let prompt: Vec<TokenId> = (0..140).map(TokenId).collect();
    let mut logits = vec![0.0; 2 * config.vocab_size];
    // The first step may grow what depends on the batch: it is the largest.
    batch.push(&prompt, 0, &table, Outputs::Last);
    model
        .forward(&batch, &mut logits[..config.vocab_size])
        .unwrap();
    let mut other_table = table.clone();
    other_table[0] = BlockId(16);
    let mut before = 0;
    for step in 0..102 {
        if step == 2 {
            before = N_ALLOCATIONS.load(Ordering::Relaxed);
        }
        batch.clear();
        batch.push(&[TokenId(step as u32)], 140 + step, &table, Outputs::Last);
        batch.push(&[TokenId(7)], step, &other_table, Outputs::Last);
        model.forward(&batch, &mut logits).unwrap();
    }
    assert_eq!(N_ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
