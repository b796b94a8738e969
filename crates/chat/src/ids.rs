//! Tool-call ids as the model was trained on them.
//!
//! The id is the only place where the prompt says which function was called; clients send
//! back `call_abc`, and a model that sees a nameless call tends to answer nothing. So every
//! request's ids are renamed to `functions.{name}:{k}`, k counting all calls from 0.

use std::collections::HashMap;

use crate::{Conversation, Role};

impl Conversation {
    /// Renames the ids of calls and of the results that answer them; returns the number of calls.
    ///
    /// Of calls that share an id a result answers the latest. A result with an unknown id
    /// answers the first call that has no answer yet. Names of tool messages are dropped: the
    /// trained header is `tool`.
    pub fn normalise_ids(&mut self) -> usize {
        let mut n_calls = 0;
        let mut by_id: HashMap<String, String> = HashMap::new();
        let mut unanswered: Vec<String> = Vec::new();
        for message in &mut self.messages {
            match message.role {
                Role::Assistant => {
                    for call in &mut message.tool_calls {
                        let id = format!("functions.{}:{n_calls}", call.name);
                        n_calls += 1;
                        if !call.id.is_empty() {
                            by_id.insert(call.id.clone(), id.clone());
                        }
                        unanswered.push(id.clone());
                        call.id = id;
                    }
                }
                Role::Tool => {
                    message.name = None;
                    let known = message
                        .tool_call_id
                        .as_ref()
                        .and_then(|id| by_id.get(id))
                        .cloned();
                    let answered = known.or_else(|| unanswered.first().cloned());
                    if let Some(id) = answered {
                        unanswered.retain(|open| *open != id);
                        message.tool_call_id = Some(id);
                    }
                }
                Role::System | Role::User => {}
            }
        }
        n_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arguments, Message, ToolCall};

    fn call(id: &str, name: &str) -> ToolCall {
        ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: Arguments::Text("{}".to_owned()),
        }
    }

    fn assistant(calls: Vec<ToolCall>) -> Message {
        Message {
            tool_calls: calls,
            ..Message::text(Role::Assistant, "")
        }
    }

    fn result(id: Option<&str>) -> Message {
        Message {
            tool_call_id: id.map(str::to_owned),
            ..Message::text(Role::Tool, "done")
        }
    }

    fn check(messages: Vec<Message>, calls: &[&str], results: &[Option<&str>]) {
        let mut conversation = Conversation {
            messages,
            tools: Vec::new(),
        };
        assert_eq!(conversation.normalise_ids(), calls.len());
        let found_calls: Vec<String> = conversation
            .messages
            .iter()
            .flat_map(|m| &m.tool_calls)
            .map(|call| call.id.clone())
            .collect();
        let tools = conversation
            .messages
            .iter()
            .filter(|m| m.role == Role::Tool);
        let found_results: Vec<Option<&str>> = tools.map(|m| m.tool_call_id.as_deref()).collect();
        assert_eq!(
            (found_calls.as_slice(), found_results.as_slice()),
            (
                &*calls.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(),
                results
            )
        );
    }

    #[test]
    fn calls_are_numbered_over_the_whole_conversation() {
        check(
            vec![
                assistant(vec![call("call_a", "grep"), call("call_b", "read")]),
                result(Some("call_b")),
                result(Some("call_a")),
                assistant(vec![call("functions_grep_0", "grep")]),
                result(Some("functions_grep_0")),
            ],
            &["functions.grep:0", "functions.read:1", "functions.grep:2"],
            &[
                Some("functions.read:1"),
                Some("functions.grep:0"),
                Some("functions.grep:2"),
            ],
        );
    }

    #[test]
    fn of_reused_ids_the_latest_counts() {
        check(
            vec![
                assistant(vec![call("x", "a")]),
                result(Some("x")),
                assistant(vec![call("x", "b")]),
                result(Some("x")),
            ],
            &["functions.a:0", "functions.b:1"],
            &[Some("functions.a:0"), Some("functions.b:1")],
        );
    }

    #[test]
    fn unknown_ids_are_matched_by_position_and_strays_are_kept() {
        check(
            vec![
                assistant(vec![call("x", "a"), call("y", "b")]),
                result(Some("?")),
                result(None),
                result(Some("stray")),
            ],
            &["functions.a:0", "functions.b:1"],
            &[Some("functions.a:0"), Some("functions.b:1"), Some("stray")],
        );
    }
}
