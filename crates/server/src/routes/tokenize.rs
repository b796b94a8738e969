//! `POST /tokenize`, `/detokenize`, `/apply-template`: what the model will really see.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use perigee_tokenizer::TokenId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{chat, parse_json, ready};
use crate::error::ApiError;
use crate::openai::lenient;
use crate::state::ServerState;

#[derive(Deserialize)]
struct TokenizeRequest {
    content: String,
    #[serde(default, deserialize_with = "lenient::flag")]
    parse_special: Option<bool>,
    #[serde(default, deserialize_with = "lenient::flag")]
    with_pieces: Option<bool>,
}

#[derive(Deserialize)]
struct DetokenizeRequest {
    tokens: Vec<u32>,
}

/// Text to ids; control tokens are recognised unless `parse_special` is false. No BOS exists to add.
pub(crate) async fn tokenize(
    State(state): State<Arc<ServerState>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let ready = ready(&state)?;
    let request: TokenizeRequest = from_value(&parse_json(&body)?)?;
    let tokens = blocking(move || {
        let tokenizer = &ready.tokenizer;
        let ids = match request.parse_special {
            Some(false) => tokenizer.encode_text(&request.content),
            _ => tokenizer.encode(&tokenizer.parse_special(&request.content)),
        };
        let pieces = request.with_pieces == Some(true);
        ids.into_iter()
            .map(|id| {
                if pieces {
                    json!({"id": id.0, "piece": piece(tokenizer.bytes(id))})
                } else {
                    json!(id.0)
                }
            })
            .collect::<Vec<Value>>()
    })
    .await?;
    Ok(Json(json!({ "tokens": tokens })))
}

/// Ids to text, control tokens spelled out.
pub(crate) async fn detokenize(
    State(state): State<Arc<ServerState>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let ready = ready(&state)?;
    let request: DetokenizeRequest = from_value(&parse_json(&body)?)?;
    let n_vocab = ready.tokenizer.vocab_size();
    if let Some(i) = request.tokens.iter().position(|&id| id as usize >= n_vocab) {
        let message = format!("token id {} is not below {n_vocab}", request.tokens[i]);
        return Err(ApiError::bad_request(format!("tokens[{i}]"), message));
    }
    let ids: Vec<TokenId> = request.tokens.into_iter().map(TokenId).collect();
    Ok(Json(json!({ "content": ready.tokenizer.decode(&ids) })))
}

/// A chat request to the prompt that it would make, as text and as ids.
pub(crate) async fn apply_template(
    State(state): State<Arc<ServerState>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let ready = ready(&state)?;
    let value = parse_json(&body)?;
    let (tokens, text) = blocking(move || {
        let prepared = chat::prepare(&state.options, &ready, &value)?;
        let tokens = prepared.turn.request.prompt;
        let text = ready.tokenizer.decode(&tokens);
        Ok::<_, ApiError>((tokens, text))
    })
    .await??;
    let ids: Vec<u32> = tokens.iter().map(|id| id.0).collect();
    Ok(Json(
        json!({"prompt": text, "n_tokens": ids.len(), "tokens": ids}),
    ))
}

/// Templating and tokenizing of a long prompt would stall the event loop.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "preparing a request failed");
        ApiError::internal("preparing the prompt failed")
    })
}

fn from_value<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| ApiError::bad_request(error.path().to_string(), error.inner().to_string()))
}

/// A string, or the bytes of a token that is part of a character.
fn piece(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!(bytes),
    }
}
