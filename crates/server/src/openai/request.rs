//! `POST /v1/chat/completions`: the request.

use std::collections::HashMap;

use perigee_chat::Tool;
use serde::Deserialize;
use serde_json::Value;

use super::lenient;
use super::messages::WireMessage;
use crate::error::ApiError;

/// The fields that this server acts on. Everything else that clients send is ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) messages: Vec<WireMessage>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) stream: Option<bool>,
    #[serde(default)]
    pub(crate) stream_options: Option<StreamOptions>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) max_tokens: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) max_completion_tokens: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) n: Option<u32>,
    #[serde(default, deserialize_with = "lenient::strings")]
    pub(crate) stop: Vec<String>,
    #[serde(flatten)]
    pub(crate) sampling: SamplingFields,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub(crate) tools: Vec<Value>,
    #[serde(default)]
    pub(crate) functions: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) tool_choice: Option<Value>,
    #[serde(default)]
    pub(crate) function_call: Option<Value>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub(crate) response_format: Option<Value>,
    #[serde(default)]
    pub(crate) modalities: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) cache_prompt: Option<bool>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) return_progress: Option<bool>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) t_max_predict_ms: Option<u64>,
    #[serde(default)]
    pub(crate) reasoning_format: Option<String>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) add_generation_prompt: Option<bool>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) continue_final_message: Option<bool>,
}

/// `stream_options`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) include_usage: Option<bool>,
}

/// Sampler fields under the names of OpenAI and of llama.cpp.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SamplingFields {
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) temperature: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) top_k: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) top_p: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) min_p: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) typical_p: Option<f32>,
    #[serde(
        default,
        alias = "repetition_penalty",
        deserialize_with = "lenient::number"
    )]
    pub(crate) repeat_penalty: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) repeat_last_n: Option<i32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) presence_penalty: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) frequency_penalty: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) dry_multiplier: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) dry_base: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) dry_allowed_length: Option<u32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) dry_penalty_last_n: Option<i32>,
    #[serde(default)]
    pub(crate) dry_sequence_breakers: Option<Vec<String>>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) xtc_probability: Option<f32>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) xtc_threshold: Option<f32>,
    #[serde(default)]
    pub(crate) logit_bias: Option<LogitBias>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) seed: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) logprobs: Option<bool>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(crate) top_logprobs: Option<u32>,
    #[serde(default, deserialize_with = "lenient::flag")]
    pub(crate) ignore_eos: Option<bool>,
}

/// OpenAI's map `{"id": bias}` or llama.cpp's list `[[id_or_text, bias_or_false]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum LogitBias {
    Map(HashMap<String, f32>),
    List(Vec<(Value, Value)>),
}

/// What the client wants done with its tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    /// The model decides.
    Auto,
    /// Declared, but a call is impossible.
    None,
    /// At least one call is wanted.
    Required,
    /// A call of this function is wanted.
    Function(String),
}

impl ChatRequest {
    /// Reads a body; an error names the path of the offending field.
    pub(crate) fn from_value(body: &Value) -> Result<Self, ApiError> {
        serde_path_to_error::deserialize(body).map_err(|error| {
            ApiError::bad_request(error.path().to_string(), error.inner().to_string())
        })
    }

    /// The declared functions; tools of other types are ignored with a warning, of two with one name the first counts.
    pub(crate) fn declared_tools(&self) -> Result<Vec<Tool>, ApiError> {
        let legacy = self
            .functions
            .iter()
            .flatten()
            .map(|function| serde_json::json!({"type": "function", "function": function}));
        let mut tools: Vec<Tool> = Vec::new();
        for (i, declaration) in self.tools.iter().cloned().chain(legacy).enumerate() {
            let kind = declaration
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("function");
            if !matches!(kind, "function" | "builtin_function") {
                tracing::warn!(kind, "tool of an unknown type ignored");
                continue;
            }
            // Responses-style flat declarations carry the members at the top.
            let declaration = match declaration.get("function") {
                Some(_) => declaration,
                None => flat_function(declaration),
            };
            let name = declaration["function"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if name.is_empty() || name.contains(':') {
                return Err(ApiError::bad_request(
                    format!("tools[{i}].function.name"),
                    "a tool needs a name that is not empty and holds no ':'",
                ));
            }
            if tools.iter().any(|tool| tool.name == name) {
                tracing::warn!(name, "tool declared twice; the first declaration counts");
                continue;
            }
            tools.push(Tool {
                name,
                declaration: without_nulls(declaration),
            });
        }
        Ok(tools)
    }

    /// `tool_choice` (or the old `function_call`) in every spelling.
    pub(crate) fn choice(&self) -> Result<ToolChoice, ApiError> {
        let Some(choice) = self.tool_choice.as_ref().or(self.function_call.as_ref()) else {
            return Ok(ToolChoice::Auto);
        };
        let kind = choice
            .as_str()
            .or_else(|| choice.get("type").and_then(Value::as_str));
        let name = choice
            .pointer("/function/name")
            .or_else(|| choice.get("name"))
            .and_then(Value::as_str);
        match (kind, name) {
            (Some("auto" | ""), _) => Ok(ToolChoice::Auto),
            (Some("none"), _) => Ok(ToolChoice::None),
            (Some("required" | "any"), _) => Ok(ToolChoice::Required),
            (_, Some(name)) => Ok(ToolChoice::Function(name.to_owned())),
            (Some("allowed_tools"), _) => {
                match choice
                    .pointer("/allowed_tools/mode")
                    .or_else(|| choice.get("mode"))
                    .and_then(Value::as_str)
                {
                    Some("required") => Ok(ToolChoice::Required),
                    _ => Ok(ToolChoice::Auto),
                }
            }
            _ if choice.is_null() => Ok(ToolChoice::Auto),
            _ => Err(ApiError::bad_request(
                "tool_choice",
                "expected \"auto\", \"none\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": …}}",
            )),
        }
    }

    /// Most tokens to generate: the smaller of the two fields; null and negative mean no limit.
    pub(crate) fn token_limit(&self) -> Option<usize> {
        [self.max_tokens, self.max_completion_tokens]
            .into_iter()
            .flatten()
            .filter_map(|limit| usize::try_from(limit).ok())
            .min()
    }

    /// Refuses what this build does not do, naming the field.
    pub(crate) fn check_supported(&self) -> Result<(), ApiError> {
        if let Some(format) = &self.response_format {
            let kind = format.get("type").and_then(Value::as_str).unwrap_or("text");
            if kind != "text" {
                return Err(ApiError::not_supported(
                    "response_format",
                    format!(
                        "response_format {kind:?} needs constrained decoding, which this build does not have"
                    ),
                ));
            }
        }
        if self
            .modalities
            .iter()
            .flatten()
            .any(|modality| modality != "text")
        {
            return Err(ApiError::bad_request(
                "modalities",
                "the model produces text only",
            ));
        }
        match self.n {
            Some(0) | Some(17..) => Err(ApiError::bad_request("n", "n must be from 1 to 16")),
            _ => Ok(()),
        }
    }
}

fn flat_function(declaration: Value) -> Value {
    let mut function = match declaration {
        Value::Object(members) => members,
        other => return other,
    };
    function.remove("type");
    serde_json::json!({"type": "function", "function": function})
}

/// Drops null members, recursively in objects only: a `null` in an `enum` is a value.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, member)| !member.is_null() || name == "default")
            .map(|(name, member)| (name, without_nulls(member)))
            .collect(),
        other => other,
    }
}
