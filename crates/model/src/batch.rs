//! What one step computes.

use std::ops::Range;

use perigee_gguf::TokenId;

/// A block of KV storage: `block_len` consecutive positions of one or more sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// Which rows of a run yield logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// None: a prefill chunk that is not the last.
    None,
    /// The last token only.
    Last,
    /// Every token (perplexity, prompt logprobs).
    All,
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Run {
    /// Range in [`Batch::tokens`].
    pub tokens: Range<usize>,
    /// Position of the first token in its sequence.
    pub start: usize,
    /// Range in [`Batch::block_table`]: the blocks of the sequence from position 0 on, enough to hold
    /// `start + tokens.len()` positions.
    pub blocks: Range<usize>,
    /// Rows wanted.
    pub outputs: Outputs,
}

/// Token runs of several sequences; reused from step to step so that a step allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Ids of all runs, one after another.
    pub tokens: Vec<TokenId>,
    /// Block tables of all runs, one after another.
    pub block_table: Vec<BlockId>,
    /// The runs; each sequence at most once.
    pub runs: Vec<Run>,
}

impl Batch {
    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.block_table.clear();
        self.runs.clear();
    }

    /// Adds a run; `blocks` is the whole block table of the sequence.
    pub fn push(&mut self, tokens: &[TokenId], start: usize, blocks: &[BlockId], outputs: Outputs) {
        let (t, b) = (self.tokens.len(), self.block_table.len());
        self.tokens.extend_from_slice(tokens);
        self.block_table.extend_from_slice(blocks);
        self.runs.push(Run {
            tokens: t..self.tokens.len(),
            start,
            blocks: b..self.block_table.len(),
            outputs,
        });
    }

    /// Logit rows that the batch yields.
    pub fn n_outputs(&self) -> usize {
        self.runs
            .iter()
            .map(|run| match run.outputs {
                Outputs::None => 0,
                Outputs::Last => 1,
                Outputs::All => run.tokens.len(),
            })
            .sum()
    }
}
