//! Model output to deltas: a forward-only state machine on token ids that never fails.
//!
//! Nothing is parsed twice and nothing that was emitted is taken back, so a streamed answer
//! and a collected one are the same by construction: [`Reply`] merely adds the deltas up.
//! What could still turn out to mean something else is held back until it cannot.

mod arguments;
mod header;
mod machine;
mod reply;
mod spelled;
mod xml;

use perigee_tokenizer::TokenId;

use self::machine::Machine;
pub use self::reply::{Reply, ReplyCall};
use crate::{KimiTokens, Tool};

/// Where a turn starts, decided by the tail of its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The prompt ends with `<think>`.
    Reasoning,
    /// It ends otherwise.
    Content,
}

/// What the parser must know of the request.
#[derive(Clone, Debug)]
pub struct ParserOptions {
    /// Initial state.
    pub start: Start,
    /// Declared tools; without any, calls are given back as text.
    pub tools: Vec<Tool>,
    /// Global index of the first call of this turn (calls already in the conversation).
    pub first_call: usize,
}

/// What the model produced next.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Complete UTF-8 text of ordinary tokens.
    Text(&'a str),
    /// A control token.
    Control(TokenId),
}

/// A step of the answer. Texts are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Reasoning text.
    Reasoning(String),
    /// Answer text.
    Content(String),
    /// A call begins; id and name are complete. `index` counts from 0 within the turn.
    CallOpen {
        /// Position in the turn.
        index: usize,
        /// `functions.{name}:{k}` with the global index k.
        id: String,
        /// Function name.
        name: String,
    },
    /// More argument text of the call opened last.
    CallArguments {
        /// Position in the turn.
        index: usize,
        /// Appended to what came before.
        json: String,
    },
    /// The call is complete (closed by the model, by what follows it, or by the end of a turn that was not cut).
    CallClose {
        /// Position in the turn.
        index: usize,
    },
}

/// Why the output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model ended its turn (or a stop string did).
    Stop,
    /// Cut by a limit: an open call stays as it is, without `CallClose`.
    Length,
}

/// The parser of one turn.
pub struct OutputParser {
    machine: Machine,
}

impl OutputParser {
    /// A parser at the start of a turn.
    pub fn new(tokens: KimiTokens, options: ParserOptions) -> Self {
        Self {
            machine: Machine::new(tokens, options),
        }
    }

    /// Consumes a piece, appends what became certain to `out`.
    pub fn push(&mut self, piece: Piece<'_>, out: &mut Vec<Delta>) {
        match piece {
            Piece::Text(text) => self.machine.text(text, out),
            Piece::Control(id) => self.machine.control(id, out),
        }
    }

    /// Flushes everything held back.
    pub fn finish(&mut self, ending: Ending, out: &mut Vec<Delta>) {
        self.machine.finish(ending, out);
    }

    /// Whether the next text would be content (stop strings apply there only).
    pub fn in_content(&self) -> bool {
        self.machine.in_content()
    }

    /// Whether the next text would be tool-call arguments (penalties are suspended there).
    pub fn in_arguments(&self) -> bool {
        self.machine.in_arguments()
    }
}

#[cfg(test)]
mod tests;
