//! Which blocks hold the KV of which token prefixes.
//!
//! A tree whose nodes are blocks: a node's key is a hash of its parent's key and its own
//! tokens, so that a key stands for a whole prefix. Full blocks are shared as they are; a
//! partly filled one can only be the last of a prefix, and is copied to be continued.
//!
//! Eviction weighs recency against the cost of computing a prefix again. The clock counts the
//! tokens of all conversations; a node is worth the time of its last use plus [`PROTECTION`]
//! times the length of the conversation that used it. Short side requests therefore displace
//! each other, not the long conversation between whose turns they come, and yet nothing stays
//! for ever: 60,000 tokens outlive some 4 million tokens of other traffic.

use perigee_model::BlockId;
use perigee_tokenizer::TokenId;
use rustc_hash::{FxHashMap, FxHashSet};

/// Tokens of other traffic that each token of a conversation outlives.
const PROTECTION: u64 = 64;

/// A prefix: 128 bits of a blake3 chain. A collision would show one user another's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// The empty prefix.
    pub(crate) const ROOT: Self = Self([0; 16]);

    /// This prefix continued by `tokens`.
    pub(crate) fn then(self, tokens: &[TokenId]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        for token in tokens {
            hasher.update(&token.0.to_le_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

struct Node {
    block: BlockId,
    parent: Key,
    tokens: Box<[TokenId]>,
    children: Vec<Key>,
    priority: u64,
}

/// What a lookup found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Match {
    /// Keys and blocks of the whole blocks that match, from position 0 on.
    pub(crate) full: Vec<(Key, BlockId)>,
    /// A block whose first tokens continue the match, and how many of them do.
    pub(crate) tail: Option<(BlockId, usize)>,
}

impl Match {
    /// Tokens that the match covers.
    pub(crate) fn n_tokens(&self, block_len: usize) -> usize {
        self.full.len() * block_len + self.tail.map_or(0, |(_, n)| n)
    }
}

/// The tree.
pub(crate) struct PrefixTree {
    block_len: usize,
    nodes: FxHashMap<Key, Node>,
    roots: Vec<Key>,
    clock: u64,
}

impl PrefixTree {
    /// An empty tree over blocks of `block_len` tokens.
    pub(crate) fn new(block_len: usize) -> Self {
        Self {
            block_len,
            nodes: FxHashMap::default(),
            roots: Vec::new(),
            clock: 0,
        }
    }

    /// Blocks in the tree.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The longest prefix of `tokens` that the tree holds.
    pub(crate) fn find(&self, tokens: &[TokenId]) -> Match {
        let mut found = Match::default();
        let mut parent = Key::ROOT;
        for chunk in tokens.chunks_exact(self.block_len) {
            let key = parent.then(chunk);
            let Some(node) = self.nodes.get(&key).filter(|node| *node.tokens == *chunk) else {
                break;
            };
            found.full.push((key, node.block));
            parent = key;
        }
        let rest = &tokens[found.full.len() * self.block_len..];
        let common = |key: &Key| {
            let node = &self.nodes[key];
            let n = node
                .tokens
                .iter()
                .zip(rest)
                .take_while(|(a, b)| a == b)
                .count();
            (n, node.block)
        };
        let best = self
            .children(parent)
            .iter()
            .map(common)
            .max_by_key(|&(n, block)| (n, std::cmp::Reverse(block)));
        found.tail = best.filter(|&(n, _)| n > 0).map(|(n, block)| (block, n));
        found
    }

    /// Blocks that could be evicted one after another: those of nobody, with nobody's below them.
    pub(crate) fn n_evictable(&self, in_use: impl Fn(BlockId) -> bool) -> usize {
        // A node that is used keeps its ancestors; all others can go, leaves first.
        let mut kept = FxHashSet::default();
        for (key, node) in &self.nodes {
            if in_use(node.block) {
                let mut at = *key;
                while let Some(node) = self.nodes.get(&at).filter(|_| kept.insert(at)) {
                    at = node.parent;
                }
            }
        }
        self.nodes.len() - kept.len()
    }

    /// Removes a partly filled block after `parent` that `tokens` continues: the longer one that
    /// takes its place makes it useless. Returns the block if nobody uses it.
    pub(crate) fn replace_tail(
        &mut self,
        parent: Key,
        tokens: &[TokenId],
        in_use: impl Fn(BlockId) -> bool,
    ) -> Option<BlockId> {
        let shorter = |key: &Key| {
            let node = &self.nodes[key];
            node.tokens.len() < self.block_len
                && tokens.starts_with(&node.tokens)
                && !in_use(node.block)
        };
        let key = self.children(parent).iter().copied().find(shorter)?;
        self.remove(key)
    }

    /// Adds a block holding `tokens` after `parent`. `false` if the tree has that prefix already
    /// (or, for a partly filled block, a longer one), or lost the parent.
    pub(crate) fn insert(&mut self, parent: Key, tokens: &[TokenId], block: BlockId) -> bool {
        let key = parent.then(tokens);
        let held = self
            .children(parent)
            .iter()
            .any(|child| self.nodes[child].tokens.starts_with(tokens));
        if held
            || self.nodes.contains_key(&key)
            || (parent != Key::ROOT && !self.nodes.contains_key(&parent))
        {
            return false;
        }
        let node = Node {
            block,
            parent,
            tokens: tokens.into(),
            children: Vec::new(),
            priority: self.clock,
        };
        self.nodes.insert(key, node);
        match self.nodes.get_mut(&parent) {
            Some(parent) => parent.children.push(key),
            None => self.roots.push(key),
        }
        true
    }

    /// Notes that a conversation of `n_tokens` uses the nodes of these keys.
    pub(crate) fn touch(&mut self, keys: impl Iterator<Item = Key>, n_tokens: usize) {
        self.clock += n_tokens as u64;
        for key in keys {
            if let Some(node) = self.nodes.get_mut(&key) {
                node.priority = node.priority.max(self.clock + PROTECTION * n_tokens as u64);
            }
        }
    }

    /// Removes the least valuable leaf whose block nobody uses, and returns that block.
    pub(crate) fn evict(&mut self, in_use: impl Fn(BlockId) -> bool) -> Option<BlockId> {
        let leaves = self
            .nodes
            .iter()
            .filter(|(_, node)| node.children.is_empty() && !in_use(node.block));
        // The key breaks ties, so that a run can be repeated.
        let (&key, _) = leaves.min_by_key(|(key, node)| (node.priority, **key))?;
        self.remove(key)
    }

    /// Forgets a prefix and all that continue it; returns their blocks.
    pub(crate) fn forget(&mut self, key: Key) -> Vec<BlockId> {
        let mut blocks = Vec::new();
        let mut doomed = vec![key];
        while let Some(key) = doomed.last().copied() {
            match self.nodes.get(&key) {
                Some(node) if !node.children.is_empty() => doomed.extend(&node.children),
                _ => {
                    doomed.pop();
                    blocks.extend(self.remove(key));
                }
            }
        }
        blocks
    }

    /// Removes a leaf.
    fn remove(&mut self, key: Key) -> Option<BlockId> {
        let node = self.nodes.remove(&key)?;
        let siblings = match self.nodes.get_mut(&node.parent) {
            Some(parent) => &mut parent.children,
            None => &mut self.roots,
        };
        siblings.retain(|child| *child != key);
        Some(node.block)
    }

    fn children(&self, parent: Key) -> &[Key] {
        match self.nodes.get(&parent) {
            Some(node) => &node.children,
            None if parent == Key::ROOT => &self.roots,
            None => &[],
        }
    }
}

#[cfg(test)]
mod tests;
