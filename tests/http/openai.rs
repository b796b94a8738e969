//! A typed client: async-openai refuses what does not match OpenAI's own schema.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::CreateChatCompletionRequest;
use serde_json::json;
use tokio_stream::StreamExt as _;

use super::{ask, block_on, scripted, weather_tool};
use crate::program::Server;

fn client(server: &Server) -> Client<OpenAIConfig> {
    Client::with_config(
        OpenAIConfig::new()
            .with_api_base(format!("{}/v1", server.url))
            .with_api_key("none"),
    )
}

#[test]
fn text_and_stream_and_calls_pass_a_typed_client() {
    let server = scripted(&[]);
    let client = client(&server);
    block_on(async {
        let request: CreateChatCompletionRequest =
            serde_json::from_value(ask("Say hello")).unwrap();
        let answer = client.chat().create(request.clone()).await.unwrap();
        assert_eq!(
            answer.choices[0].message.content.as_deref(),
            Some("Hello, world! Grüße, 世界 👩‍💻.")
        );

        let mut streamed = String::new();
        let mut chunks = client.chat().create_stream(request).await.unwrap();
        while let Some(chunk) = chunks.next().await {
            for choice in chunk.unwrap().choices {
                streamed += choice.delta.content.as_deref().unwrap_or_default();
            }
        }
        assert_eq!(streamed, "Hello, world! Grüße, 世界 👩‍💻.");

        let mut with_tools = ask("Weather in Oslo and Rome?");
        with_tools["tools"] = json!([weather_tool()]);
        let request: CreateChatCompletionRequest = serde_json::from_value(with_tools).unwrap();
        let answer = client.chat().create(request).await.unwrap();
        assert_eq!(
            answer.choices[0].message.tool_calls.as_ref().map(Vec::len),
            Some(2)
        );
    });
}

#[test]
fn models_are_listed() {
    let server = scripted(&["--alias", "kimi-k2.6,other/name"]);
    block_on(async {
        let models: serde_json::Value = reqwest::get(format!("{}/v1/models", server.url))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let ids: Vec<&str> = models["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|model| model["id"].as_str())
            .collect();
        assert_eq!(ids, ["kimi-k2.6", "other/name"]);
        assert!(
            models["data"][0]["context_length"].as_u64().unwrap() > 0,
            "{models}"
        );
        let one = reqwest::get(format!("{}/v1/models/other/name", server.url))
            .await
            .unwrap();
        assert_eq!(one.status(), 200);
    });
}
