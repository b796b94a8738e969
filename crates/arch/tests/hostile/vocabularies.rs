//! Token lists that contradict the embedding or each other.

use perigee_testkit::hostile::{ARRAY, STRING, array, string};

use crate::verdict::{accepted_when, refused_when};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const I32: u32 = 5;

/// Tokens of the model.
const N: u64 = 290;

fn tokens(n: u64) -> Vec<u8> {
    let texts: Vec<u8> = (0..n)
        .flat_map(|i| string(format!("t{i}").as_bytes()))
        .collect();
    array(STRING, n, &texts)
}

#[test]
fn token_lists_shorter_or_longer_than_the_embedding_are_refused() {
    for n in [0, 1, N - 1, N + 1, 2 * N] {
        refused_when(|draft| draft.set(TOKENS, ARRAY, &tokens(n)), "vocabulary");
    }
}

#[test]
fn token_types_and_scores_shorter_than_the_tokens_are_refused() {
    for key in [TYPES, "tokenizer.ggml.scores"] {
        for n in [0, 1, N - 1, N + 1] {
            let list = array(4, n, &vec![1; n as usize * 4]);
            refused_when(|draft| draft.set(key, ARRAY, &list), key);
        }
        // As many bytes, but not as many elements.
        let list = array(0, N * 4, &[1; N as usize * 4]);
        refused_when(|draft| draft.set(key, ARRAY, &list), key);
    }
}

#[test]
fn ghsa_7rxv_5jhh_j6xx_token_counts_are_unsigned() {
    // A count that is negative when it is read as signed.
    for count in [u64::MAX, 1 << 63, 1 << 31, (1 << 32) - 1] {
        refused_when(
            |draft| draft.set(TOKENS, ARRAY, &array(STRING, count, &[0; 64])),
            "array elements",
        );
    }
    for id in [-1, i32::MIN] {
        refused_when(
            |draft| draft.set("tokenizer.ggml.eos_token_id", I32, &id.to_le_bytes()),
            "tokenizer.ggml.eos_token_id",
        );
    }
}

#[test]
fn special_tokens_outside_the_vocabulary_are_refused_whatever_they_are_for() {
    for name in [
        "bos",
        "eos",
        "eot",
        "padding",
        "unknown",
        "seperator",
        "fim_pre",
        "mask",
    ] {
        let key = format!("tokenizer.ggml.{name}_token_id");
        for id in [N as u32, 1 << 31, u32::MAX] {
            refused_when(|draft| draft.set(&key, 4, &id.to_le_bytes()), &key);
        }
        accepted_when(|draft| draft.set(&key, 4, &(N as u32 - 1).to_le_bytes()));
    }
}

#[test]
fn merges_that_join_no_two_tokens_are_refused() {
    for merge in ["", " ", "a", "a ", " a", "ab", "  "] {
        let list = array(
            STRING,
            2,
            &[string(b"a b"), string(merge.as_bytes())].concat(),
        );
        refused_when(
            |draft| draft.set("tokenizer.ggml.merges", ARRAY, &list),
            "merge 1 is not two tokens",
        );
    }
}

#[test]
fn token_lists_of_another_type_are_refused() {
    let list = array(I32, N, &[0; N as usize * 4]);
    refused_when(|draft| draft.set(TOKENS, ARRAY, &list), TOKENS);
    refused_when(|draft| draft.set(TOKENS, STRING, &string(b"a")), TOKENS);
}

#[test]
fn a_token_of_a_megabyte_is_read_whole() {
    let mut texts = string(&vec![b'x'; 1 << 20]);
    for i in 1..N {
        texts.extend_from_slice(&string(format!("t{i}").as_bytes()));
    }
    accepted_when(|draft| draft.set(TOKENS, ARRAY, &array(STRING, N, &texts)));
}
