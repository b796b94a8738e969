//! Who uses which KV block: allocation, sharing, release, eviction.

use perigee_model::{BlockId, Model};
use perigee_tokenizer::TokenId;

use crate::prefix_tree::{Key, Match, PrefixTree};

/// The blocks of one sequence.
#[derive(Debug, Default)]
pub(crate) struct BlockTable {
    /// From position 0 on.
    pub(crate) blocks: Vec<BlockId>,
    /// Keys of the leading full blocks whose tokens are computed.
    keys: Vec<Key>,
}

/// All blocks of the model's KV storage.
pub(crate) struct KvBlocks {
    block_len: usize,
    /// Sequences that use a block.
    users: Vec<u32>,
    /// Whether the tree holds it.
    cached: Vec<bool>,
    free: Vec<BlockId>,
    tree: PrefixTree,
}

impl KvBlocks {
    /// All blocks free.
    pub(crate) fn new(n_blocks: usize, block_len: usize) -> Self {
        Self {
            block_len,
            users: vec![0; n_blocks],
            cached: vec![false; n_blocks],
            // Popped from the end: low blocks first, so that little memory is touched.
            free: (0..n_blocks as u32).rev().map(BlockId).collect(),
            tree: PrefixTree::new(block_len),
        }
    }

    /// Blocks that nothing holds.
    pub(crate) fn n_free(&self) -> usize {
        self.free.len()
    }

    /// Blocks that hold reusable prefixes.
    pub(crate) fn n_cached(&self) -> usize {
        self.tree.len()
    }

    /// Leading tokens of `prompt` that need not be computed, if a sequence started now.
    pub(crate) fn n_reusable(&self, prompt: &[TokenId]) -> usize {
        self.tree.find(reusable(prompt)).n_tokens(self.block_len)
    }

    /// Gives a new sequence the cached prefix of its prompt (unless `read_cache` is false) and
    /// blocks for the rest and its first generated token. `None`, with nothing taken, evicted or
    /// noted, when there is no room.
    pub(crate) fn admit(
        &mut self,
        prompt: &[TokenId],
        read_cache: bool,
        model: &mut dyn Model,
    ) -> Option<(BlockTable, usize)> {
        let mut found = if read_cache {
            self.tree.find(reusable(prompt))
        } else {
            Match::default()
        };
        let wanted = (prompt.len() + 1)
            .div_ceil(self.block_len)
            .min(self.users.len());
        if !self.has_room(&found, wanted) {
            // The block of a partly matching tail is kept while it is copied; without the copy
            // it can be had itself.
            found.tail = None;
            if !self.has_room(&found, wanted) {
                return None;
            }
        }
        let cached = found.n_tokens(self.block_len);
        let mut table = BlockTable::default();
        for &(key, block) in &found.full {
            self.take(block);
            table.keys.push(key);
            table.blocks.push(block);
        }
        self.tree.touch(table.keys.iter().copied(), prompt.len());
        if let Some((source, _)) = found.tail {
            self.take(source);
            if let Some(copy) = self.allocate() {
                model.copy_block(source, copy);
                table.blocks.push(copy);
            }
            self.release(source);
        }
        self.extend(&mut table, wanted * self.block_len);
        Some((table, cached))
    }

    /// Whether `wanted` blocks can be had for a sequence that begins with what was found.
    fn has_room(&self, found: &Match, wanted: usize) -> bool {
        let kept: Vec<BlockId> = found
            .full
            .iter()
            .map(|&(_, block)| block)
            .chain(found.tail.map(|(block, _)| block))
            .collect();
        let in_use = |block: BlockId| self.users[block.0 as usize] > 0 || kept.contains(&block);
        wanted - found.full.len().min(wanted) <= self.free.len() + self.tree.n_evictable(in_use)
    }

    /// Makes room for `n_tokens` positions. `false` when the pool is exhausted.
    pub(crate) fn extend(&mut self, table: &mut BlockTable, n_tokens: usize) -> bool {
        while table.blocks.len() * self.block_len < n_tokens {
            let Some(block) = self.allocate() else {
                return false;
            };
            table.blocks.push(block);
        }
        true
    }

    /// Makes full blocks findable whose tokens are now computed: `tokens[..n_computed]` are.
    pub(crate) fn publish(
        &mut self,
        table: &mut BlockTable,
        tokens: &[TokenId],
        n_computed: usize,
    ) {
        while (table.keys.len() + 1) * self.block_len <= n_computed {
            let i = table.keys.len();
            let parent = table.keys.last().copied().unwrap_or(Key::ROOT);
            let chunk = &tokens[i * self.block_len..(i + 1) * self.block_len];
            self.insert(parent, chunk, table.blocks[i]);
            table.keys.push(parent.then(chunk));
        }
    }

    /// Ends a sequence: what it computed stays findable until its room is needed.
    pub(crate) fn finish(&mut self, mut table: BlockTable, tokens: &[TokenId], n_computed: usize) {
        self.publish(&mut table, tokens, n_computed);
        let start = table.keys.len() * self.block_len;
        let mut last = None;
        if start < n_computed {
            let parent = table.keys.last().copied().unwrap_or(Key::ROOT);
            let (rest, block) = (&tokens[start..n_computed], table.blocks[table.keys.len()]);
            self.insert(parent, rest, block);
            last = Some(parent.then(rest));
        }
        self.tree
            .touch(table.keys.iter().copied().chain(last), n_computed);
        self.give_back(table);
    }

    /// Makes a computed block findable, in place of a shorter one that it continues.
    fn insert(&mut self, parent: Key, tokens: &[TokenId], block: BlockId) {
        let users = &self.users;
        let in_use = |block: BlockId| users[block.0 as usize] > 0;
        if let Some(shorter) = self.tree.replace_tail(parent, tokens, in_use) {
            self.cached[shorter.0 as usize] = false;
            self.free.push(shorter);
        }
        if self.tree.insert(parent, tokens, block) {
            self.cached[block.0 as usize] = true;
        }
    }

    /// Ends a sequence whose KV must not be used again: everything beyond the `n_cached` tokens
    /// that it found is forgotten.
    pub(crate) fn discard(&mut self, table: BlockTable, n_cached: usize) {
        for &key in table.keys.iter().skip(n_cached / self.block_len) {
            for block in self.tree.forget(key) {
                let i = block.0 as usize;
                self.cached[i] = false;
                if self.users[i] == 0 {
                    self.free.push(block);
                }
            }
        }
        self.give_back(table);
    }

    fn give_back(&mut self, table: BlockTable) {
        for block in table.blocks.into_iter().rev() {
            self.release(block);
        }
    }

    fn allocate(&mut self) -> Option<BlockId> {
        let block = self.free.pop().or_else(|| {
            let users = &self.users;
            let block = self.tree.evict(|block| users[block.0 as usize] > 0)?;
            self.cached[block.0 as usize] = false;
            Some(block)
        })?;
        self.users[block.0 as usize] = 1;
        Some(block)
    }

    fn take(&mut self, block: BlockId) {
        self.users[block.0 as usize] += 1;
    }

    fn release(&mut self, block: BlockId) {
        let i = block.0 as usize;
        self.users[i] -= 1;
        if self.users[i] == 0 && !self.cached[i] {
            self.free.push(block);
        }
    }
}

/// The last prompt token is always computed: its logits are wanted.
fn reusable(prompt: &[TokenId]) -> &[TokenId] {
    &prompt[..prompt.len().saturating_sub(1)]
}

#[cfg(test)]
mod tests;
