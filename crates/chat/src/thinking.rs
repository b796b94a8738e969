//! Whether to think, in every spelling that clients use.

use serde_json::{Map, Value};

/// The two switches of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThinkingSwitch {
    /// The model thinks before it answers.
    pub thinking: bool,
    /// Reasoning of earlier turns stays in the prompt.
    pub preserve_thinking: bool,
}

impl ThinkingSwitch {
    /// Reads a request body: its own fields win over its `chat_template_kwargs`, those over the
    /// server's, those over "think, and keep it".
    pub fn resolve(body: &Value, server_kwargs: &Map<String, Value>) -> Self {
        let kwargs = body.get("chat_template_kwargs").and_then(Value::as_object);
        let sources = [body.as_object(), kwargs, Some(server_kwargs)];
        let first = |read: fn(&Map<String, Value>) -> Option<bool>| {
            sources.iter().flatten().find_map(|map| read(map))
        };
        Self {
            thinking: first(thinking).unwrap_or(true),
            preserve_thinking: first(preserve).unwrap_or(true),
        }
    }
}

fn thinking(fields: &Map<String, Value>) -> Option<bool> {
    let effort = |value: &Value| {
        value
            .as_str()
            .filter(|effort| !effort.is_empty())
            .map(|effort| effort != "none")
    };
    let switch = |value: &Value| match value {
        Value::Bool(on) => Some(*on),
        // Levels ("low", "high") mean on.
        Value::String(level) => Some(!matches!(
            level.as_str(),
            "none" | "off" | "false" | "disabled"
        )),
        Value::Object(object) => object.get("type")?.as_str().map(|kind| kind != "disabled"),
        _ => None,
    };
    let read = |name: &str| fields.get(name);
    (|| switch(read("thinking")?))()
        .or_else(|| switch(read("enable_thinking")?))
        .or_else(|| switch(read("think")?))
        .or_else(|| effort(read("reasoning_effort")?))
        .or_else(|| effort(read("reasoning")?.get("effort")?))
        .or_else(|| read("reasoning")?.get("enabled")?.as_bool())
}

fn preserve(fields: &Map<String, Value>) -> Option<bool> {
    if let Some(keep) = fields.get("preserve_thinking").and_then(Value::as_bool) {
        return Some(keep);
    }
    let keep = fields.get("thinking")?.get("keep")?;
    Some(keep.as_str() == Some("all"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: Value, server: Value, thinking: bool, preserve_thinking: bool) {
        let found = ThinkingSwitch::resolve(&body, server.as_object().unwrap());
        assert_eq!(
            found,
            ThinkingSwitch {
                thinking,
                preserve_thinking
            },
            "{body} over {server}"
        );
    }

    #[test]
    fn every_spelling_is_read() {
        for (body, expected) in [
            (json!({}), true),
            (json!({"thinking": {"type": "disabled"}}), false),
            (json!({"thinking": {"type": "enabled"}}), true),
            (json!({"thinking": false}), false),
            (json!({"enable_thinking": false}), false),
            (json!({"think": false}), false),
            (json!({"think": "low"}), true),
            (json!({"reasoning_effort": "none"}), false),
            (json!({"reasoning_effort": "minimal"}), true),
            (json!({"reasoning_effort": null}), true),
            (json!({"reasoning": {"effort": "none"}}), false),
            (json!({"chat_template_kwargs": {"thinking": false}}), false),
            (
                json!({"chat_template_kwargs": {"enable_thinking": false}}),
                false,
            ),
        ] {
            check(body, json!({}), expected, true);
        }
    }

    #[test]
    fn the_body_wins_over_its_kwargs_and_those_over_the_server() {
        check(
            json!({"thinking": true, "chat_template_kwargs": {"thinking": false}}),
            json!({}),
            true,
            true,
        );
        check(
            json!({"chat_template_kwargs": {"thinking": true}}),
            json!({"thinking": false}),
            true,
            true,
        );
        check(
            json!({}),
            json!({"thinking": false, "preserve_thinking": false}),
            false,
            false,
        );
        check(
            json!({"reasoning_effort": "high"}),
            json!({"thinking": false}),
            true,
            true,
        );
    }

    #[test]
    fn keeping_thoughts_can_be_asked_for_and_declined() {
        check(
            json!({"thinking": {"type": "enabled", "keep": "all"}}),
            json!({"preserve_thinking": false}),
            true,
            true,
        );
        check(
            json!({"thinking": {"type": "enabled", "keep": null}}),
            json!({}),
            true,
            false,
        );
        check(
            json!({"chat_template_kwargs": {"preserve_thinking": false}}),
            json!({}),
            true,
            false,
        );
    }
}
