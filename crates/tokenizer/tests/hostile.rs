//! Vocabularies that lie: an error or a tokenizer, within bounded memory and time.

#[path = "../../testkit/tests/budget/mod.rs"]
mod budget;

use perigee_gguf::Gguf;
use perigee_testkit::Synthetic;
use perigee_testkit::hostile::{ARRAY, Draft, STRING, array, bases, mutated, small, string};
use perigee_tokenizer::Tokenizer;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const I32: u32 = 5;

fn model() -> Draft {
    Draft::of(&Synthetic::new(small()).to_bytes())
}

/// Reads a vocabulary and uses it. The first error as text.
fn read(bytes: Vec<u8>) -> Result<Tokenizer, String> {
    let gguf = Gguf::from_vec("model.gguf", bytes).map_err(|error| error.to_string())?;
    let tokenizer = Tokenizer::from_metadata(gguf.metadata()).map_err(|error| error.to_string())?;
    let ids = tokenizer.encode_text("Hello, world! \u{1F600} 1234 \n\n");
    let size = tokenizer.vocab_size();
    assert!(ids.iter().all(|id| (id.0 as usize) < size));
    std::hint::black_box(tokenizer.decode(&ids));
    Ok(tokenizer)
}

fn refused_when(change: impl FnOnce(&mut Draft), subject: &str) {
    let mut draft = model();
    change(&mut draft);
    let bytes = draft.to_bytes();
    let Err(error) = budget::within_budget(|| read(bytes)) else {
        panic!("a hostile vocabulary was accepted ({subject})")
    };
    assert!(error.contains(subject), "{error}");
}

/// The token list with one text exchanged.
fn with_token(index: usize, text: &[u8]) -> Draft {
    let mut draft = model();
    let tokens = perigee_testkit::Vocabulary::kimi(small().vocab_size);
    let texts = tokens.tokens().iter().enumerate();
    let texts: Vec<u8> = texts
        .flat_map(|(i, token)| string(if i == index { text } else { token.as_bytes() }))
        .collect();
    let list = array(STRING, tokens.tokens().len() as u64, &texts);
    draft.set(TOKENS, ARRAY, &list);
    draft
}

#[test]
fn cve_2025_49847_a_token_of_a_megabyte_keeps_its_length() {
    // An ordinary token, then a control token; the last ordinary one is no single byte.
    for index in [257, 289] {
        let text = vec![b'x'; 1 << 20];
        let bytes = with_token(index, &text).to_bytes();
        let tokenizer = budget::within_budget(|| read(bytes)).expect("long, but a token");
        let id = perigee_tokenizer::TokenId(index as u32);
        assert_eq!(tokenizer.decode(&[id]).len(), text.len());
    }
}

#[test]
fn ghsa_7rxv_5jhh_j6xx_counts_and_ids_are_unsigned() {
    for id in [-1_i32, i32::MIN] {
        for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
            refused_when(|draft| draft.set(key, I32, &id.to_le_bytes()), key);
        }
    }
    for count in [1_u64 << 31, (1 << 32) + 290, 1 << 63, u64::MAX] {
        refused_when(
            |draft| draft.set(TOKENS, ARRAY, &array(STRING, count, &[0; 64])),
            "array elements",
        );
    }
}

#[test]
fn lists_shorter_than_the_vocabulary_are_refused() {
    for n in [1, 289, 291] {
        let types = array(I32, n, &1_i32.to_le_bytes().repeat(n as usize));
        refused_when(
            |draft| draft.set(TYPES, ARRAY, &types),
            "types for 290 tokens",
        );
    }
    refused_when(|draft| draft.set(TOKENS, ARRAY, &array(STRING, 0, &[])), "");
    refused_when(
        |draft| draft.set(TOKENS, ARRAY, &array(STRING, 1, &string(b"a"))),
        "",
    );
    // Types as floats or bytes where integers of 32 bits are usual.
    let types = array(6, 290, &1_f32.to_le_bytes().repeat(290));
    refused_when(|draft| draft.set(TYPES, ARRAY, &types), TYPES);
}

#[test]
fn tokens_that_are_empty_no_text_or_byte_tokens_with_a_sign_do_no_harm() {
    for text in [
        &b""[..],
        &[0xFF, 0xFE],
        b"<0x-1>",
        b"<0xZZ>",
        b"\xC4\xA0\xC4\xA0\0",
    ] {
        for index in [0, 255, 257, 258, 289] {
            let bytes = with_token(index, text).to_bytes();
            // An error or a tokenizer that `read` has used.
            let _ = budget::within_budget(|| read(bytes));
        }
    }
}

#[test]
fn mutated_vocabularies_are_read_or_refused() {
    let bases = bases();
    let mut accepted = 0;
    for seed in 0..4000 {
        let bytes = mutated(&bases, seed);
        let result = budget::within_budget(|| read(bytes));
        accepted += usize::from(result.is_ok());
    }
    assert!(accepted > 400, "{accepted} accepted");
}
