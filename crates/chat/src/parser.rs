//! Model output to deltas: a forward-only state machine on token ids that never fails.
use crate::{KimiTokens, Tool};
use perigee_tokenizer::TokenId;

/// Where a turn starts, decided by the tail of its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Start { Reasoning, Content }

/// What the parser must know of the request.
#[derive(Clone, Debug)]
pub struct ParserOptions {
    /// Initial state.
    pub start: Start,
    /// Declared tools; empty = calls are given back as text.
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

/// A step of the answer.
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
pub struct OutputParser {}
impl OutputParser {
    /// A parser at the start of a turn.
    pub fn new(_tokens: KimiTokens, _options: ParserOptions) -> Self { todo!() }
    /// Consumes a piece, appends what became certain to `out`.
    pub fn push(&mut self, _piece: Piece<'_>, _out: &mut Vec<Delta>) { todo!() }
    /// Flushes everything held back.
    pub fn finish(&mut self, _ending: Ending, _out: &mut Vec<Delta>) { todo!() }
    /// Whether the next text would be content (stop strings apply there only).
    pub fn in_content(&self) -> bool { todo!() }
    /// Whether the next text would be tool-call arguments (penalties are suspended there).
    pub fn in_arguments(&self) -> bool { todo!() }
}
