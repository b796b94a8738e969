//! Every error of the API, mapped to OpenAI's shape in one place.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use perigee_chat::RenderError;
use perigee_engine::SubmitError;
use serde_json::{Value, json};

/// An error that a client sees as `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    /// A word for programs; the HTTP number where there is none.
    code: Option<&'static str>,
    message: Box<str>,
    param: Option<Box<str>>,
    retry_after: Option<u64>,
    /// Facts beside the four standard members (`n_prompt_tokens`, `progress`, …).
    extra: Vec<(&'static str, Value)>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            message: message.into().into_boxed_str(),
            param: None,
            retry_after: None,
            extra: Vec::new(),
        }
    }

    /// 400: the request is malformed; `param` names the field (`messages[2].content`).
    pub(crate) fn bad_request(param: impl Into<String>, message: impl Into<String>) -> Self {
        let param = param.into();
        Self {
            param: (!param.is_empty() && param != ".").then(|| param.into_boxed_str()),
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
        }
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self {
            code: Some("invalid_api_key"),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "missing or wrong API key: send it as \"Authorization: Bearer KEY\"",
            )
        }
    }

    /// 404 for a path or model that does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", message)
    }

    /// 405.
    pub(crate) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            "method not allowed on this path",
        )
    }

    /// 413; `limit` in bytes.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            format!(
                "the request body is larger than {} MiB (--max-body-mib)",
                limit >> 20
            ),
        )
    }

    /// 501: understood, but this build does not do it.
    pub(crate) fn not_supported(param: &str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", message)
        }
    }

    /// 503 while the weights are read; `progress` from 0 to 1.
    pub(crate) fn loading(progress: f64) -> Self {
        Self {
            retry_after: Some(5),
            extra: vec![("progress", json!(progress))],
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable_error",
                "Loading model",
            )
        }
    }

    /// 500; detail goes to the log, not to the client.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The JSON body, also sent as the last event of a stream that fails.
    pub(crate) fn body(&self) -> Value {
        let mut error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code.map_or_else(|| json!(self.status.as_u16()), |code| json!(code)),
        });
        for (name, value) in &self.extra {
            error[*name] = value.clone();
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::Busy { retry_after } => Self {
                code: Some("engine_overloaded"),
                retry_after: Some(retry_after.as_secs().max(1)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
            },
            SubmitError::TooLong { prompt, context } => Self {
                code: Some("context_length_exceeded"),
                param: Some("messages".into()),
                extra: vec![
                    ("n_prompt_tokens", json!(prompt)),
                    ("n_ctx", json!(context)),
                ],
                ..Self::new(
                    StatusCode::BAD_REQUEST,
                    "exceed_context_size_error",
                    format!(
                        "This model's maximum context length is {context} tokens. However, your messages resulted \
                         in {prompt} tokens. Please reduce the length of the messages (or start the server with a \
                         larger --ctx-size)."
                    ),
                )
            },
            SubmitError::Empty | SubmitError::UnknownToken { .. } => {
                Self::bad_request("messages", message)
            }
            SubmitError::Stopped => Self {
                retry_after: Some(10),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable_error",
                    message,
                )
            },
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<RenderError> for ApiError {
    fn from(error: RenderError) -> Self {
        Self::bad_request("messages", error.to_string())
    }
}
