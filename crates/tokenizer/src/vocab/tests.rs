//! Small vocabularies: kinds, control tokens, and what makes one unusable.

use super::*;
use crate::Segment;

/// The 256 bytes, some merges, and what is given on top.
fn parts_with(extra: &[(&str, u32)]) -> VocabParts {
    let mut ranks: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    ranks.extend(["in", "the", "th"].map(|text| text.as_bytes().to_vec()));
    let mut parts = VocabParts {
        tokens: ranks
            .iter()
            .map(|rank| crate::spell_bytes(rank).into_bytes())
            .collect(),
        types: vec![1; ranks.len()],
        ..VocabParts::default()
    };
    for (text, kind) in extra {
        parts.tokens.push(text.as_bytes().to_vec());
        parts.types.push(*kind);
    }
    parts
}

const FIRST_EXTRA: u32 = 259;

fn tokenizer_with(extra: &[(&str, u32)]) -> Tokenizer {
    Tokenizer::new(parts_with(extra)).unwrap()
}

#[test]
fn a_kimi_control_token_is_one_whatever_its_type_and_place() {
    for kind in [1, 3, 4, 5, 6, 99] {
        let extra = [
            ("<think>", kind),
            ("<|reserved_token_260|>", kind),
            ("zz", 1),
        ];
        let tokenizer = tokenizer_with(&extra);
        assert_eq!(
            tokenizer.control("<think>"),
            Some(TokenId(FIRST_EXTRA)),
            "type {kind}"
        );
        assert!(tokenizer.is_control(TokenId(FIRST_EXTRA + 1)));
        assert_eq!(tokenizer.bytes(TokenId(FIRST_EXTRA)), b"<think>");
    }
}

#[test]
fn without_types_the_spelling_decides() {
    let mut parts = parts_with(&[("[EOS]", 1), ("[PAD260]", 1), ("[PAD]", 1)]);
    parts.types.clear();
    let tokenizer = Tokenizer::new(parts).unwrap();
    assert_eq!(tokenizer.control("[EOS]"), Some(TokenId(259)));
    assert_eq!(tokenizer.control("[PAD260]"), None);
    assert_eq!(tokenizer.control("[PAD]"), Some(TokenId(261)));
    assert_eq!(tokenizer.bytes(TokenId(260)), b"");
    assert!(tokenizer.is_control(TokenId(260)));
    assert!(!tokenizer.is_control(TokenId(258)));
}

#[test]
fn control_tokens_of_other_names_are_known_by_their_type() {
    let tokenizer = tokenizer_with(&[("<|x|>", 3), ("<|y|>", 4), ("<|z|>", 2), ("zz", 1)]);
    for (name, id) in [("<|x|>", 259), ("<|y|>", 260), ("<|z|>", 261)] {
        assert_eq!(tokenizer.control(name), Some(TokenId(id)));
    }
    assert_eq!(tokenizer.encode_text("<|x|>").len(), 5);
}

#[test]
fn lower_ids_merge_first_and_a_whole_piece_is_one_token() {
    let tokenizer = tokenizer_with(&[]);
    assert_eq!(tokenizer.encode_text("the"), [TokenId(257)]);
    // "thin": "in" has the lowest rank, then "th".
    assert_eq!(tokenizer.encode_text("thin"), [TokenId(258), TokenId(256)]);
}

#[test]
fn of_equal_tokens_the_first_is_used_and_both_decode() {
    let tokenizer = tokenizer_with(&[("in", 1), ("", 1), ("[EOS]", 3), ("[EOS]", 3)]);
    assert_eq!(tokenizer.encode_text("in"), [TokenId(256)]);
    assert_eq!(tokenizer.bytes(TokenId(259)), b"in");
    assert_eq!(tokenizer.control("[EOS]"), Some(TokenId(261)));
}

#[test]
fn generation_ends_at_the_named_tokens_and_those_of_the_file_only() {
    let names = [("<|im_end|>", 3), ("[EOS]", 3), ("[PAD]", 3), ("[EOT]", 3)];
    let mut parts = parts_with(&names);
    parts.end_of_generation = vec![TokenId(261), TokenId(259)];
    let with_metadata = Tokenizer::new(parts).unwrap();
    assert_eq!(
        with_metadata.end_of_generation(),
        [259, 260, 261, 262].map(TokenId)
    );
    assert_eq!(
        tokenizer_with(&names[1..]).end_of_generation(),
        [259, 261].map(TokenId)
    );
    assert!(tokenizer_with(&[]).end_of_generation().is_empty());
}

#[test]
fn ids_out_of_range_are_empty_and_ordinary() {
    let tokenizer = tokenizer_with(&[]);
    assert_eq!(tokenizer.vocab_size(), 259);
    for id in [259, u32::MAX] {
        assert_eq!(tokenizer.bytes(TokenId(id)), b"");
        assert!(!tokenizer.is_control(TokenId(id)));
    }
    assert_eq!(tokenizer.decode(&[TokenId(259), TokenId(257)]), "the");
}

#[test]
fn adjacent_text_is_joined_before_merging() {
    let tokenizer = tokenizer_with(&[("[EOS]", 3)]);
    let text = |text: &str| Segment::Text(text.to_owned());
    let end = Segment::Control(TokenId(259));
    let joined = tokenizer.encode(&[
        text("t"),
        text(""),
        text("he"),
        end.clone(),
        text("i"),
        text("n"),
    ]);
    assert_eq!(joined, [257, 259, 256].map(TokenId));
    let apart = tokenizer.encode(&[text("i"), end, text("n")]);
    assert_eq!(apart.len(), 3);
}

#[test]
fn spelled_control_tokens_split_raw_text_longest_first() {
    let tokenizer = tokenizer_with(&[("<|a", 3), ("<|a|>", 3), ("[EOS]", 3), ("[PAD9]", 5)]);
    let [short, long, eos] = [259, 260, 261].map(|id| Segment::Control(TokenId(id)));
    let text = |text: &str| Segment::Text(text.to_owned());
    let check = |raw: &str, expected: &[Segment]| {
        assert_eq!(tokenizer.parse_special(raw), expected, "{raw:?}")
    };
    check("", &[]);
    check("plain", &[text("plain")]);
    check("<|a|>", std::slice::from_ref(&long));
    check(
        "é<|a<|a|>[EOS]世[PAD9]",
        &[text("é"), short, long, eos.clone(), text("世[PAD9]")],
    );
    check("<[[EOS", &[text("<[[EOS")]);
    check("[[EOS]]", &[text("["), eos, text("]")]);
}

#[test]
fn a_missing_byte_is_named() {
    let mut parts = parts_with(&[]);
    parts.types[0x41] = 3;
    let error = Tokenizer::new(parts).unwrap_err().to_string();
    assert!(error.contains("single byte 0x41"), "{error}");
}

#[test]
fn unusable_lists_are_refused_with_their_facts() {
    let check = |change: fn(&mut VocabParts), expected: &str| {
        let mut parts = parts_with(&[]);
        change(&mut parts);
        let error = Tokenizer::new(parts).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(|parts| parts.types.truncate(3), "3 types for 259 tokens");
    check(
        |parts| parts.tokens[257] = b"a b".to_vec(),
        "token 257 \"a b\" is not in GPT-2",
    );
    check(
        |parts| parts.tokens[258] = vec![0xff],
        "token 258 \"\u{fffd}\"",
    );
    check(|parts| *parts = VocabParts::default(), "single byte 0x00");
}
