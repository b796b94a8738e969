use std::fs;
use std::path::Path;

use serde_json::json;
use splintr_vocab_kimi::KIMI_VOCAB_PACKED;

use super::*;

/// Kimi's byte strings in rank order, from the crate that carries the vendor's file: a magic,
/// a count, then for each its rank and length (both LEB128) and its bytes.
fn kimi() -> Vec<Vec<u8>> {
    let mut rest = KIMI_VOCAB_PACKED.strip_prefix(b"SPLNTRV1").unwrap();
    let count = u32::from_le_bytes(rest.split_off(..4).unwrap().try_into().unwrap());
    let varint = |rest: &mut &[u8]| {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = rest.split_off(..1).unwrap()[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    };
    let mut token = |_| {
        varint(&mut rest);
        let length = varint(&mut rest);
        rest.split_off(..length).unwrap().to_vec()
    };
    (0..count).map(&mut token).collect()
}

fn rank_file(tokens: &[Vec<u8>]) -> String {
    let lines = tokens.iter().enumerate();
    lines
        .map(|(rank, token)| format!("{} {rank}\n", BASE64_STANDARD.encode(token)))
        .collect()
}

fn folder(ranks: &str, config: &Json) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(RANKS), ranks).unwrap();
    fs::write(folder.path().join(TOKENIZER_CONFIG), config.to_string()).unwrap();
    folder
}

fn get<'a>(vocabulary: &'a Vocabulary, key: &str) -> Option<&'a Value> {
    let mut entries = vocabulary.entries.iter();
    entries
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

fn strings(vocabulary: &Vocabulary, key: &str) -> Vec<String> {
    let Some(Value::Array(items)) = get(vocabulary, key) else {
        panic!("{key} is no array")
    };
    let text = |item: Value| match item {
        Value::Str(bytes) => String::from_utf8(bytes).unwrap(),
        _ => panic!("{key} has other items than strings"),
    };
    items.iter().map(text).collect()
}

#[test]
fn kimis_own_rank_file_has_all_its_merges() {
    let ranks = kimi();
    let config = json!({
        "added_tokens_decoder": {
            "163584": {"content": "[BOS]", "special": true},
            "163585": {"content": "[EOS]", "special": true},
            "163586": {"content": "<|im_end|>", "special": true},
            "163606": {"content": "<think>", "special": false},
            "163838": {"content": "[UNK]", "special": true},
            "163839": {"content": "[PAD]", "special": true},
            "163840": {"content": "<|reserved_token_163840|>", "special": true},
        },
        "bos_token": "[BOS]",
        "eos_token": {"content": "[EOS]"},
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "chat_template": "{{ messages }}",
    });
    let folder = folder(&rank_file(&ranks), &config);
    let generation = json!({"eos_token_id": [163_585, 163_586]}).to_string();
    fs::write(folder.path().join("generation_config.json"), generation).unwrap();
    let vocabulary = read(folder.path(), 163_840).unwrap();

    let merges = strings(&vocabulary, "tokenizer.ggml.merges");
    assert_eq!(merges.len(), 163_328);
    assert_eq!(merges[..2], ["Ġ Ġ", "ĠĠ ĠĠ"]);
    let tokens = strings(&vocabulary, "tokenizer.ggml.tokens");
    assert_eq!(tokens.len(), 163_840);
    assert_eq!((&*tokens[0], &*tokens[220]), ("!", "Ġ"));
    assert_eq!(tokens[19_180], "Hello");
    assert_eq!(tokens[163_586], "<|im_end|>");
    assert_eq!(tokens[163_587], "<|reserved_token_163587|>");
    assert_eq!(tokens[163_839], "[PAD]");
    // The merge of a token is its text with one space in it, and merges come in their order.
    let joined = merges.iter().map(|merge| merge.replacen(' ', "", 1));
    assert!(joined.eq(tokens[256..163_584].iter().cloned()));

    let Some(Value::Array(types)) = get(&vocabulary, "tokenizer.ggml.token_type") else {
        panic!("no types")
    };
    let types: Vec<Value> = types.iter().collect();
    assert!(
        types[..163_584]
            .iter()
            .all(|kind| *kind == Value::I32(NORMAL))
    );
    assert!(
        types[163_584..]
            .iter()
            .all(|kind| *kind == Value::I32(CONTROL))
    );
    for (key, id) in [
        ("bos", 163_584),
        ("eos", 163_585),
        ("eot", 163_586),
        ("padding", 163_839),
        ("unknown", 163_838),
    ] {
        let found = get(&vocabulary, &format!("tokenizer.ggml.{key}_token_id"));
        assert_eq!(found, Some(&Value::U32(id)), "{key}");
    }
    let template = get(&vocabulary, "tokenizer.chat_template");
    assert_eq!(template, Some(&Value::from("{{ messages }}")));
    assert_eq!(
        vocabulary.notes,
        ["1 added tokens beyond the 163840 rows of the embedding left out"]
    );
}

#[test]
fn rows_far_beyond_the_ranks_are_unused_and_the_template_file_comes_first() {
    let ranks: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    let folder = folder(&rank_file(&ranks), &json!({"chat_template": "old"}));
    fs::write(folder.path().join("chat_template.jinja"), "new").unwrap();
    let vocabulary = read(folder.path(), 513).unwrap();
    let tokens = strings(&vocabulary, "tokenizer.ggml.tokens");
    assert_eq!(tokens[511], "<|reserved_token_511|>");
    assert_eq!(tokens[512], "[PAD512]");
    assert_eq!(
        get(&vocabulary, "tokenizer.chat_template"),
        Some(&Value::from("new"))
    );
    assert_eq!(get(&vocabulary, "tokenizer.ggml.eos_token_id"), None);
    assert!(strings(&vocabulary, "tokenizer.ggml.merges").is_empty());
}

#[test]
fn broken_vocabularies_say_what_is_wrong() {
    let none = json!({});
    let cases: [(&str, Json, &str); 9] = [
        ("", none.clone(), "tiktoken.model: no tokens"),
        (
            "IQ==",
            none.clone(),
            "line 1: expected a token and its rank",
        ),
        ("!! 0", none.clone(), "line 1: the token is not base64"),
        ("IQ== x", none.clone(), "line 1: the rank is no number"),
        (
            "IQ== 0\nIQ== 1",
            none.clone(),
            "line 2: the token occurs twice",
        ),
        (
            "IQ== 0\nIg== 0",
            none.clone(),
            "line 2: the rank occurs twice",
        ),
        ("IQ== 1", none.clone(), "no token has rank 0"),
        (
            "IQ== 0\nIg== 1\nIw== 2",
            none,
            "3 tokens for 2 rows of the embedding",
        ),
        (
            "IQ== 0",
            json!({"added_tokens_decoder": {"0": {"content": "a"}}}),
            "key \"added_tokens_decoder\" names 0, an id of tiktoken.model",
        ),
    ];
    let long = rank_file(&[vec![b'a'; MAX_TOKEN_BYTES + 1]]);
    let too_long = (&*long, json!({}), "line 1: a token has 1 to 1024 bytes");
    for (ranks, config, problem) in cases.into_iter().chain([too_long]) {
        let folder = folder(ranks, &config);
        let Err(error) = read(folder.path(), 2) else {
            panic!("{problem}: accepted")
        };
        assert!(error.to_string().contains(problem), "{error}");
    }
    assert!(read(Path::new("/nowhere"), 2).is_err());
}
