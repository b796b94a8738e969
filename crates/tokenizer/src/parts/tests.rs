//! Reading vocabularies out of files.

use perigee_gguf::{Gguf, Value, Writer};

use super::*;
use crate::Tokenizer;

fn text(text: &str) -> Value {
    Value::Str(text.as_bytes().to_vec())
}

/// The metadata of a usable file: 256 bytes, a merge and two control tokens.
fn entries() -> Vec<(&'static str, Value)> {
    let mut tokens: Vec<Value> = (0..=255).map(|byte| text(&spell_bytes(&[byte]))).collect();
    tokens.extend(["Ġa", "<|im_end|>", "<|custom|>"].map(text));
    let types = [1; 257].into_iter().chain([4, 3]).map(Value::I32);
    vec![
        (MODEL, text("gpt2")),
        (PRE, text("kimi-k2")),
        (TOKENS, Value::array(tokens)),
        (TYPES, Value::array(types)),
        ("tokenizer.ggml.eos_token_id", Value::U32(258)),
        ("tokenizer.ggml.eot_token_id", Value::I64(257)),
        (TEMPLATE, text("{{ messages }}")),
    ]
}

fn read(entries: &[(&'static str, Value)]) -> Result<Tokenizer, Error> {
    let mut writer = Writer::new();
    writer.metadata("general.architecture", text("deepseek2"));
    for (key, value) in entries {
        writer.metadata(key, value.clone());
    }
    let gguf = Gguf::from_bytes("vocabulary", writer.to_bytes().leak()).unwrap();
    Tokenizer::from_metadata(gguf.metadata())
}

fn with(key: &'static str, value: Value) -> Vec<(&'static str, Value)> {
    let mut entries = without(key);
    entries.push((key, value));
    entries
}

fn without(key: &'static str) -> Vec<(&'static str, Value)> {
    let mut entries = entries();
    entries.retain(|(other, _)| *other != key);
    entries
}

#[test]
fn a_file_without_merges_is_read_whole() {
    let tokenizer = read(&entries()).unwrap();
    assert_eq!(tokenizer.vocab_size(), 259);
    assert_eq!(tokenizer.encode_text(" a"), [TokenId(256)]);
    assert_eq!(tokenizer.control("<|custom|>"), Some(TokenId(258)));
    assert_eq!(tokenizer.end_of_generation(), [TokenId(257), TokenId(258)]);
    assert_eq!(tokenizer.chat_template(), Some("{{ messages }}"));
    assert!(!tokenizer.is_kimi());
}

#[test]
fn merges_change_nothing() {
    let contradicting = Value::array(vec![text("a b"), text("Ġ b")]);
    let tokenizer = read(&with("tokenizer.ggml.merges", contradicting)).unwrap();
    assert_eq!(tokenizer.encode_text(" a"), [TokenId(256)]);
}

#[test]
fn optional_keys_may_be_absent_and_no_end_is_invented() {
    let mut bare = entries();
    bare.retain(|(key, _)| [MODEL, PRE, TOKENS].contains(key));
    let tokenizer = read(&bare).unwrap();
    assert_eq!(tokenizer.end_of_generation(), [TokenId(257)]);
    assert_eq!(tokenizer.control("<|custom|>"), None);
    assert_eq!(tokenizer.chat_template(), None);
}

#[test]
fn unusable_files_are_refused_with_key_and_finding() {
    let check = |entries: Vec<(&'static str, Value)>, expected: &str| {
        let error = read(&entries).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    for key in [MODEL, PRE, TOKENS] {
        check(without(key), &format!("{key}: missing"));
    }
    check(
        with(MODEL, text("llama")),
        "tokenizer.ggml.model: found \"llama\"",
    );
    check(
        with(PRE, text("deepseek-v3")),
        "pre-tokenizer \"deepseek-v3\" is not supported",
    );
    check(with(PRE, Value::U32(1)), PRE);
    check(
        with(TOKENS, Value::array(vec![text("a"); 259])),
        "single byte 0x00",
    );
    check(with(TOKENS, Value::array(vec![Value::U32(1)])), TOKENS);
    check(
        with(TYPES, Value::array(vec![Value::I32(1)])),
        "1 types for 259 tokens",
    );
    check(with(TYPES, Value::array(vec![Value::I32(-1); 259])), TYPES);
    for key in END_KEYS {
        check(
            with(key, Value::U32(259)),
            &format!("{key}: id 259, but the vocabulary has 259"),
        );
    }
}
