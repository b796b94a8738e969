use perigee_model::{Batch, ForwardError, Limits};
use proptest::prelude::*;

use super::*;

/// Stores the tokens themselves as "KV".
struct TokenStore {
    block_len: usize,
    kv: Vec<TokenId>,
}

impl Model for TokenStore {
    fn limits(&self) -> Limits {
        unreachable!("only blocks are copied")
    }

    fn forward(&mut self, _batch: &Batch, _logits: &mut [f32]) -> Result<(), ForwardError> {
        unreachable!("only blocks are copied")
    }

    fn copy_block(&mut self, from: BlockId, to: BlockId) {
        let (from, to) = (
            from.0 as usize * self.block_len,
            to.0 as usize * self.block_len,
        );
        self.kv.copy_within(from..from + self.block_len, to);
    }
}

struct Open {
    tokens: Vec<TokenId>,
    n_computed: usize,
    table: BlockTable,
}

struct World {
    blocks: KvBlocks,
    store: TokenStore,
    open: Vec<Open>,
    n_blocks: usize,
}

impl World {
    fn new(n_blocks: usize, block_len: usize) -> Self {
        let store = TokenStore {
            block_len,
            kv: vec![TokenId(u32::MAX); n_blocks * block_len],
        };
        Self {
            blocks: KvBlocks::new(n_blocks, block_len),
            store,
            open: Vec::new(),
            n_blocks,
        }
    }

    fn start(&mut self, tokens: Vec<TokenId>) -> Option<usize> {
        let (table, cached) = self.blocks.admit(&tokens, true, &mut self.store)?;
        self.open.push(Open {
            tokens,
            n_computed: cached,
            table,
        });
        Some(cached)
    }

    fn compute(&mut self, i: usize, n: usize) {
        let open = &mut self.open[i];
        let end = (open.n_computed + n).min(open.tokens.len());
        for position in open.n_computed..end {
            let block = open.table.blocks[position / self.store.block_len].0 as usize;
            self.store.kv[block * self.store.block_len + position % self.store.block_len] =
                open.tokens[position];
        }
        open.n_computed = end;
        self.blocks.publish(&mut open.table, &open.tokens, end);
    }

    fn finish(&mut self, i: usize) {
        let open = self.open.swap_remove(i);
        self.blocks
            .finish(open.table, &open.tokens, open.n_computed);
    }

    /// Every open sequence reads back its own tokens, and every block is accounted for once.
    fn check(&self) {
        let mut users = vec![0; self.n_blocks];
        for open in &self.open {
            for &block in &open.table.blocks {
                users[block.0 as usize] += 1;
            }
            for position in 0..open.n_computed {
                let block = open.table.blocks[position / self.store.block_len].0 as usize;
                let kv =
                    self.store.kv[block * self.store.block_len + position % self.store.block_len];
                assert_eq!(kv, open.tokens[position], "position {position}");
            }
        }
        assert_eq!(users, self.blocks.users);
        for &block in &self.blocks.free {
            assert!(
                users[block.0 as usize] == 0 && !self.blocks.cached[block.0 as usize],
                "{block:?}"
            );
        }
        let held = (0..self.n_blocks)
            .filter(|&i| users[i] > 0 || self.blocks.cached[i])
            .count();
        assert_eq!(held + self.blocks.n_free(), self.n_blocks, "a block leaked");
        assert_eq!(
            self.blocks.cached.iter().filter(|&&cached| cached).count(),
            self.blocks.n_cached()
        );
    }
}

fn text(text: &str) -> Vec<TokenId> {
    text.bytes().map(|byte| TokenId(byte.into())).collect()
}

#[test]
fn a_follow_up_reuses_everything_up_to_the_common_token() {
    let mut world = World::new(16, 4);
    assert_eq!(world.start(text("hello world")), Some(0));
    world.compute(0, 100);
    world.finish(0);
    world.check();
    assert_eq!(world.start(text("hello world, again")), Some(11));
    world.check();
    assert_eq!(world.start(text("hello there")), Some(6));
    assert_eq!(
        world.start(text("hello world")),
        Some(10),
        "the last token is always computed"
    );
    world.check();
}

#[test]
fn running_sequences_share_full_blocks() {
    let mut world = World::new(8, 4);
    world.start(text("abcdefgh1"));
    world.compute(0, 8);
    assert_eq!(world.start(text("abcdefgh2")), Some(8));
    assert_eq!(
        world.open[0].table.blocks[..2],
        world.open[1].table.blocks[..2]
    );
    world.check();
}

#[test]
fn without_room_nothing_is_taken_and_nothing_evicted() {
    let mut world = World::new(4, 4);
    world.start(text("old conv"));
    world.compute(0, 100);
    world.finish(0);
    world.start(text("abcdef"));
    assert_eq!(world.start(text("far too long for it")), None);
    world.check();
    assert_eq!(world.blocks.n_reusable(&text("old conversation")), 8);
}

#[test]
fn a_lone_sequence_gets_in_even_if_its_tail_must_make_way() {
    let mut world = World::new(3, 4);
    world.start(text("abcdefghij"));
    world.compute(0, 100);
    world.finish(0);
    // All three blocks are needed, one of them is the only source of the tail's copy.
    assert_eq!(world.start(text("abcdefghiX")), Some(8));
    world.check();
}

#[test]
fn what_may_be_broken_is_forgotten_with_all_that_continues_it() {
    let mut world = World::new(8, 4);
    world.start(text("soundsound"));
    world.compute(0, 100);
    world.finish(0);
    assert_eq!(world.start(text("soundsoundbrokenbroken")), Some(10));
    world.compute(0, 100);
    let open = world.open.swap_remove(0);
    world.blocks.discard(open.table, 10);
    world.check();
    // The sound tail had made way for the block that continued it; its full blocks are there.
    assert_eq!(world.blocks.n_reusable(&text("soundsoundbroken")), 8);
}

#[test]
fn a_longer_tail_takes_the_place_of_a_shorter_one() {
    let mut world = World::new(8, 4);
    for end in 5..=8 {
        world.start(text(&"abcdefgh"[..end]));
        world.compute(0, 100);
        world.finish(0);
        world.check();
    }
    assert_eq!(world.blocks.n_cached(), 2);
}

#[test]
fn side_requests_do_not_evict_the_main_conversation() {
    let mut world = World::new(16, 4);
    let main = text(&"m".repeat(40));
    world.start(main.clone());
    world.compute(0, 100);
    world.finish(0);
    for round in 0..40 {
        let side = text(&format!("{round:03} title please"));
        assert!(world.start(side).is_some());
        world.compute(0, 100);
        world.finish(0);
        world.check();
    }
    assert_eq!(world.blocks.n_reusable(&main), 39);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn blocks_never_leak_and_sequences_always_read_their_own_tokens(
        steps in prop::collection::vec((0..4_u8, 0..8_usize, prop::collection::vec(0..3_u32, 1..20)), 1..80),
    ) {
        let mut world = World::new(12, 4);
        for (kind, i, tokens) in steps {
            match (kind, world.open.len()) {
                (0, _) => {
                    world.start(tokens.into_iter().map(TokenId).collect());
                }
                (1, n) if n > 0 => world.compute(i % n, tokens.len()),
                (2, n) if n > 0 => world.finish(i % n),
                (3, n) if n > 0 => {
                    let open = world.open.swap_remove(i % n);
                    world.blocks.discard(open.table, 0);
                }
                _ => {}
            }
            world.check();
        }
        while !world.open.is_empty() {
            world.finish(0);
            world.check();
        }
    }
}
