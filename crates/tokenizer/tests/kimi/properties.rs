//! What must hold for every text.

use perigee_tokenizer::{Segment, TokenId, Utf8Decoder, kimi_control_names};
use proptest::prelude::*;

use crate::vocabulary::{FIRST_CONTROL, kimi};

/// Arbitrary characters, words, white space, and control tokens spelled out.
fn any_text() -> impl Strategy<Value = String> {
    let control = prop::sample::select(kimi_control_names(FIRST_CONTROL as usize));
    let space = prop::sample::select(vec![" ", "\n", "\r\n", "\t", "\u{3000}", "\u{1c}", "   "]);
    let piece = prop_oneof![
        any::<String>(),
        "\\PC{0,12}",
        "[A-Za-z']{1,12}",
        "[0-9]{1,9}",
        control,
        space.prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_text_decodes_to_itself(text in any_text()) {
        prop_assert_eq!(kimi().decode(&kimi().encode_text(&text)), text);
    }

    #[test]
    fn no_text_yields_a_control_token(text in any_text()) {
        let ids = kimi().encode(&[Segment::Text(text)]);
        prop_assert!(ids.iter().all(|&id| !kimi().is_control(id)));
    }

    #[test]
    fn parsed_prompts_spell_the_same_text(text in any_text()) {
        let segments = kimi().parse_special(&text);
        prop_assert_eq!(kimi().decode(&kimi().encode(&segments)), text);
        let names = kimi_control_names(FIRST_CONTROL as usize);
        for segment in &segments {
            if let Segment::Text(text) = segment {
                prop_assert!(!names.iter().any(|name| text.contains(name.as_str())));
            }
        }
    }

    #[test]
    fn ids_decoded_one_by_one_give_the_whole_text(numbers in prop::collection::vec(0..163_850u32, 0..40)) {
        check_incremental(&numbers.into_iter().map(TokenId).collect::<Vec<_>>())?;
    }

    #[test]
    fn encoded_text_decoded_one_by_one_gives_the_text(text in any_text()) {
        check_incremental(&kimi().encode_text(&text))?;
    }
}

/// One decoder over all ids, with `finish` after any prefix giving that prefix's text.
fn check_incremental(ids: &[TokenId]) -> Result<(), TestCaseError> {
    for end in 0..=ids.len() {
        let mut decoder = Utf8Decoder::new();
        let mut text = String::new();
        for &id in &ids[..end] {
            decoder.push(kimi(), id, &mut text);
        }
        decoder.finish(&mut text);
        prop_assert_eq!(text, kimi().decode(&ids[..end]));
    }
    Ok(())
}
