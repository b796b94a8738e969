//! The deltas of a turn, added up.

use super::Delta;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Reasoning text, possibly empty.
    pub reasoning: String,
    /// Answer text, possibly empty.
    pub content: String,
    /// Calls in order.
    pub calls: Vec<ReplyCall>,
}

/// A call of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyCall {
    /// `functions.{name}:{k}`.
    pub id: String,
    /// Function name.
    pub name: String,
    /// Argument text: JSON, unless the answer was cut inside it.
    pub arguments: String,
    /// Whether the call was closed.
    pub complete: bool,
}

impl Reply {
    /// Adds the deltas of a turn up.
    pub fn collect(deltas: &[Delta]) -> Self {
        let mut reply = Self::default();
        for delta in deltas {
            match delta {
                Delta::Reasoning(text) => reply.reasoning.push_str(text),
                Delta::Content(text) => reply.content.push_str(text),
                Delta::CallOpen { id, name, .. } => {
                    reply.calls.push(ReplyCall {
                        id: id.clone(),
                        name: name.clone(),
                        ..ReplyCall::default()
                    });
                }
                Delta::CallArguments { index, json } => {
                    if let Some(call) = reply.calls.get_mut(*index) {
                        call.arguments.push_str(json);
                    }
                }
                Delta::CallClose { index } => {
                    if let Some(call) = reply.calls.get_mut(*index) {
                        call.complete = true;
                    }
                }
            }
        }
        reply
    }
}
