//! `POST /v1/chat/completions`: whole answers and stream chunks.

use perigee_chat::Reply;
use perigee_engine::{TokenId, TokenLogprobs};
use perigee_tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

use crate::generation::{Outcome, Totals};

/// What all chunks and the whole answer of one request share.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    id: String,
    created: u64,
    model: String,
}

impl Envelope {
    /// A fresh id, the time now, and the model name that the client asked for.
    pub(crate) fn new(model: String) -> Self {
        let created = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        Self {
            id: format!("chatcmpl-{}", uuid::Uuid::new_v4().simple()),
            created,
            model,
        }
    }

    /// The id, for the log.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn object(&self, object: &str) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": concat!("perigee-", env!("CARGO_PKG_VERSION")),
        })
    }

    /// One chunk of choice `index`.
    pub(crate) fn chunk(
        &self,
        index: usize,
        delta: Value,
        finish: Option<&str>,
        logprobs: Option<Value>,
    ) -> Value {
        let mut chunk = self.object("chat.completion.chunk");
        let mut choice = json!({"index": index, "delta": delta, "finish_reason": finish});
        if let Some(logprobs) = logprobs {
            choice["logprobs"] = logprobs;
        }
        chunk["choices"] = json!([choice]);
        chunk
    }

    /// Progress of the prompt, in a chunk that changes nothing for readers that do not know it.
    pub(crate) fn progress(
        &self,
        index: usize,
        cached: usize,
        processed: usize,
        total: usize,
        time_ms: f64,
    ) -> Value {
        let mut chunk = self.chunk(index, json!({}), None, None);
        chunk["prompt_progress"] =
            json!({"total": total, "cache": cached, "processed": processed, "time_ms": time_ms});
        chunk
    }

    /// The chunk after the last choice: no choices, but usage.
    pub(crate) fn usage_chunk(&self, totals: &Totals) -> Value {
        let mut chunk = self.object("chat.completion.chunk");
        chunk["choices"] = json!([]);
        chunk["usage"] = usage(totals);
        chunk["timings"] = timings(totals);
        chunk
    }

    /// The whole answer; one outcome per choice.
    pub(crate) fn completion(&self, outcomes: &[Outcome], totals: &Totals) -> Value {
        let mut completion = self.object("chat.completion");
        let choices: Vec<Value> = outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| choice(index, outcome))
            .collect();
        completion["choices"] = Value::Array(choices);
        completion["usage"] = usage(totals);
        completion["timings"] = timings(totals);
        completion
    }
}

fn choice(index: usize, outcome: &Outcome) -> Value {
    let logprobs = if outcome.wants_logprobs {
        logprobs(&outcome.logprobs)
    } else {
        Value::Null
    };
    json!({
        "index": index,
        "message": message(&outcome.reply),
        "logprobs": logprobs,
        "finish_reason": outcome.finish_reason,
    })
}

/// The assistant message of a reply. `content` is null only beside tool calls.
fn message(reply: &Reply) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    let content = if reply.content.is_empty() && !reply.calls.is_empty() {
        Value::Null
    } else {
        json!(reply.content)
    };
    message.insert("content".to_owned(), content);
    message.insert("refusal".to_owned(), Value::Null);
    if !reply.reasoning.is_empty() {
        message.insert("reasoning_content".to_owned(), json!(reply.reasoning));
    }
    if !reply.calls.is_empty() {
        let calls: Vec<Value> = reply
            .calls
            .iter()
            .map(|call| {
                json!({
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                })
            })
            .collect();
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Value::Object(message)
}

fn usage(totals: &Totals) -> Value {
    json!({
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.generated_tokens,
        "total_tokens": totals.prompt_tokens + totals.generated_tokens,
        "prompt_tokens_details": {"cached_tokens": totals.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": totals.reasoning_tokens},
        // Kimi's own dialect reads it here.
        "cached_tokens": totals.cached_tokens,
    })
}

/// llama.cpp's `timings` object; times in milliseconds.
pub(crate) fn timings(totals: &Totals) -> Value {
    let computed = totals.prompt_tokens.saturating_sub(totals.cached_tokens);
    let (prompt_ms, predicted_ms) = (
        totals.prompt_time.as_secs_f64() * 1e3,
        totals.generation_time.as_secs_f64() * 1e3,
    );
    let per = |ms: f64, n: usize| if n > 0 { ms / n as f64 } else { 0.0 };
    let rate = |ms: f64, n: usize| if ms > 0.0 { n as f64 * 1e3 / ms } else { 0.0 };
    json!({
        "cache_n": totals.cached_tokens,
        "prompt_n": computed,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": per(prompt_ms, computed),
        "prompt_per_second": rate(prompt_ms, computed),
        "predicted_n": totals.generated_tokens,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": per(predicted_ms, totals.generated_tokens),
        "predicted_per_second": rate(predicted_ms, totals.generated_tokens),
    })
}

/// The `logprobs` member of a choice or chunk: one entry per content token.
pub(crate) fn logprobs(entries: &[Value]) -> Value {
    json!({"content": entries, "refusal": null})
}

/// One entry of `logprobs.content`. A token that is part of a character has a lossy `token` and exact `bytes`.
pub(crate) fn logprob_entry(tokenizer: &Tokenizer, id: TokenId, logprobs: &TokenLogprobs) -> Value {
    let entry = |id: TokenId, logprob: f32| {
        let bytes = tokenizer.bytes(id);
        json!({
            "token": String::from_utf8_lossy(bytes),
            "logprob": finite(logprob),
            "bytes": bytes,
        })
    };
    let mut sampled = entry(id, logprobs.logprob);
    sampled["top_logprobs"] = logprobs
        .top
        .iter()
        .map(|&(id, logprob)| entry(id, logprob))
        .collect();
    sampled
}

/// JSON has no −∞; OpenAI prints −9999 for a token that cannot occur.
fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() {
        logprob
    } else {
        -9999.0
    }
}
