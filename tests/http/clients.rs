//! Clients that people use, as they are: Python's `openai` and curl.

use std::process::Command;

use super::scripted;
use crate::program::passes_script;

#[test]
fn the_python_client_passes_its_script() {
    passes_script("openai_client.py", &[&scripted(&[])]);
}

#[test]
fn curl_streams_the_answer_of_the_readme() {
    let server = scripted(&[]);
    let body = r#"{"messages": [{"role": "user", "content": "Say hello"}], "stream": true}"#;
    let curl = Command::new("curl")
        .args(["-sN", "-d", body])
        .arg(format!("{}/v1/chat/completions", server.url))
        .output();
    let Ok(output) = curl else {
        println!("skipped: curl is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("data: {") && text.trim_end().ends_with("data: [DONE]"),
        "{text}"
    );
    let pieces = text
        .split("\"content\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    assert_eq!(pieces.collect::<String>(), "Hello, world! Grüße, 世界 👩‍💻.");
}
