//! `GET /v1/models` and `GET /v1/models/{id}`; both answer while the model loads.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::state::ServerState;

/// All names of the one model.
pub(crate) async fn list(State(state): State<Arc<ServerState>>) -> Json<Value> {
    let cards: Vec<Value> = state
        .options
        .aliases
        .iter()
        .map(|id| card(&state, id))
        .collect();
    Json(json!({"object": "list", "data": cards, "models": []}))
}

/// One name; ids may contain `/`.
pub(crate) async fn one(
    State(state): State<Arc<ServerState>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let id = id.trim_end_matches('/');
    if state.options.aliases.iter().any(|alias| alias == id) {
        return Ok(Json(card(&state, id)));
    }
    Err(ApiError::not_found(format!(
        "the model {id:?} does not exist; this server has {:?}",
        state.options.aliases
    )))
}

fn card(state: &ServerState, id: &str) -> Value {
    let mut card = json!({
        "id": id,
        "object": "model",
        "created": state.started,
        "owned_by": "perigee",
        "supports_reasoning": true,
        "supports_image_in": false,
        "supports_video_in": false,
        "capabilities": ["completion", "tools", "reasoning"],
    });
    if let Some(ready) = state.ready() {
        let context = ready.engine.context();
        card["context_length"] = json!(context);
        card["max_model_len"] = json!(context);
        card["meta"] = json!({
            "n_ctx": context,
            "n_ctx_train": ready.card.context_trained,
            "n_vocab": ready.tokenizer.vocab_size(),
            "n_embd": ready.card.hidden,
            "n_params": ready.card.n_params,
            "size": ready.card.file_bytes,
            "vocab_type": 2,
        });
        if let Some(notice) = &ready.card.notice {
            card["notice"] = json!(notice);
        }
    }
    card
}
