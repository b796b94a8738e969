use super::{Vocabulary, bytes_in_rank_order};
use std::collections::HashSet;

#[test]
fn single_bytes_stand_in_the_order_of_kimi() {
    let bytes = bytes_in_rank_order();
    assert_eq!(bytes.len(), 256);
    let cases = [
        (0, b'!'),
        (93, b'~'),
        (94, 0xa1),
        (187, 0xff),
        (188, 0),
        (220, b' '),
        (255, 0xad),
    ];
    for (id, byte) in cases {
        assert_eq!(bytes[id], byte, "id {id}");
    }
}

#[test]
fn runs_of_spaces_have_the_ids_of_kimi() {
    let vocabulary = Vocabulary::kimi(512);
    assert_eq!(vocabulary.tokens()[220], "Ġ");
    assert_eq!(vocabulary.tokens()[256], "ĠĠ");
    assert_eq!(vocabulary.tokens()[257], "ĠĠĠĠ");
}

#[test]
fn every_size_has_that_many_distinct_tokens_and_a_merge_for_each_longer_one() {
    for size in [290, 512, 1024, 4096, 20_000] {
        let vocabulary = Vocabulary::kimi(size);
        let distinct: HashSet<_> = vocabulary.tokens().iter().collect();
        assert_eq!(distinct.len(), size, "distinct tokens of {size}");
        assert_eq!(
            vocabulary.merges.len(),
            vocabulary.first_control() - 256,
            "{size}"
        );
        for (merge, token) in vocabulary.merges.iter().zip(&vocabulary.tokens()[256..]) {
            let (left, right) = merge.split_once(' ').expect("two parts");
            assert_eq!(&format!("{left}{right}"), token);
            assert!(distinct.contains(&left.to_owned()) && distinct.contains(&right.to_owned()));
        }
    }
}

#[test]
fn control_tokens_keep_their_distance_from_the_first() {
    let vocabulary = Vocabulary::kimi(1024);
    let first = vocabulary.first_control();
    let cases = [
        (first, "[BOS]"),
        (first + 2, "<|im_end|>"),
        (first + 13, "<|tool_call_begin|>"),
        (first + 17, "<|im_middle|>"),
        (first + 22, "<think>"),
        (1022, "[UNK]"),
        (1023, "[PAD]"),
    ];
    for (id, text) in cases {
        assert_eq!(vocabulary.id(text), Some(id), "{text}");
    }
}

#[test]
fn frequent_words_are_tokens() {
    let vocabulary = Vocabulary::kimi(1024);
    for word in ["Ġthe", "Ġand", "ing", "Ġfunction"] {
        assert!(vocabulary.id(word).is_some(), "{word}");
    }
}
