//! Ids known from the vendor's tokenizer.

use perigee_tokenizer::{Segment, TokenId};

use crate::vocabulary::{FIRST_CONTROL, ids, kimi};

#[rustfmt::skip]
const TEXTS: &[(&str, &[u32])] = &[
    ("", &[]),
    ("Hello, world!", &[19180, 11, 2695, 0]),
    ("HelloWorld", &[19180, 14350]),
    ("parseHTTPResponse", &[11714, 17819, 4323]),
    ("你好世界", &[33845, 2243]),
    ("中文English混合", &[16717, 44372, 13935]),
    ("1234567890", &[6694, 12972, 16242, 15]),
    ("DON'T", &[35, 1034, 64833]),
    ("   x", &[256, 1288]),
    ("a\n\n b", &[64, 382, 291]),
    ("\r\n\r\n  x\n", &[2298, 220, 1288, 198]),
    ("fn main() { println!(\"hi\"); }", &[10964, 2777, 539, 384, 47647, 28547, 9663, 11896, 457]),
    ("हिन्दी भाषा", &[21232, 48190, 84837, 10722, 163051, 4117]),
    ("ประเทศไทย", &[146403, 23411, 245, 79772, 52791, 37016, 31452]),
    ("e\u{301}a", &[68, 37484, 64]),
    ("〇一二", &[91894, 35063]),
    ("It's 2026-11-21.", &[15881, 220, 2975, 21, 12, 1228, 12, 2714, 13]),
    ("👩‍💻", &[64390, 102, 67963, 66122, 119]),
    (
        "“Hello,” 世界世世世界世界——I'm ChatGPT. CAN'T wait 'til 2026.世界世界",
        &[1686, 19180, 4963, 220, 2243, 123421, 2243, 2243, 35086, 17172, 29338, 111021, 13, 32330,
          64833, 5161, 542, 3777, 220, 2975, 21, 13, 2243, 2243],
    ),
    ("user", &[2482]),
    ("system", &[14062]),
    ("assistant", &[69702]),
    ("image", &[4017]),
    ("functions.get_weather:0", &[41937, 1150, 21055, 2800, 25, 15]),
    ("## Return of functions.get_weather:0\n", &[798, 6014, 318, 8271, 1150, 21055, 2800, 25, 15, 198]),
    ("{\"city\": \"Zürich\"}", &[8264, 37666, 1289, 414, 57, 14541, 969, 16934]),
    ("{\"city\":\"Zürich\"}", &[8264, 37666, 7471, 57, 14541, 969, 16934]),
    ("你好，世界 123456", &[33845, 378, 2243, 220, 6694, 12972]),
    ("日本語テスト", &[4546, 63011, 25875, 33360]),
    ("\n\n", &[382]),
    ("  \n x", &[4170, 1288]),
    ("I'm don't", &[17172, 4536]),
    (
        "fn main() {\n    println!(\"{}\", 1234567);\n}\n",
        &[10964, 2777, 539, 440, 274, 47647, 28547, 83871, 220, 6694, 12972, 22, 362, 896],
    ),
    ("<|tool_call_section_begin|>", &[27, 91, 20960, 21568, 31722, 37763, 91, 29]),
    ("<|media_start|>", &[27, 91, 13634, 9485, 91, 29]),
    ("tool_declare", &[20960, 35556, 677]),
];

#[test]
fn texts_have_the_ids_of_the_vendor_and_decode_to_themselves() {
    for (text, expected) in TEXTS {
        assert_eq!(kimi().encode_text(text), ids(expected), "{text:?}");
        assert_eq!(kimi().decode(&ids(expected)), *text);
        let as_prompt = kimi().encode(&kimi().parse_special(text));
        assert_eq!(as_prompt, ids(expected), "{text:?} has no control token");
    }
}

#[test]
fn spelled_control_tokens_are_read_only_when_asked_for() {
    let check = |text: &str, expected: &[u32]| {
        assert_eq!(
            kimi().encode(&kimi().parse_special(text)),
            ids(expected),
            "{text}"
        );
        assert_eq!(kimi().decode(&ids(expected)), text);
        let as_text = kimi().encode_text(text);
        assert!(as_text.iter().all(|&id| !kimi().is_control(id)), "{text}");
        assert_eq!(kimi().decode(&as_text), text);
    };
    check("<think>ok</think>", &[163_606, 687, 163_607]);
    check("<think></think>", &[163_606, 163_607]);
    check("<|tool_calls_section_begin|>", &[163_595]);
    check("<|im_end|>", &[163_586]);
    check("<|im_user|>user<|im_middle|>", &[163_587, 2482, 163_601]);
    check(
        "[BOS][EOS][EOT][UNK][PAD]",
        &[163_584, 163_585, 163_593, 163_838, 163_839],
    );
    check("<|reserved_token_163589|>", &[163_589]);
}

/// A conversation with a tool declaration, as the vendor's template writes it.
const CONVERSATION: &str = "<|im_system|>tool_declare<|im_middle|># Tools\n\n## functions\nnamespace functions {\n\
// Current weather\ntype get_weather = (_: {\n  city: string\n}) => any;\n}\n<|im_end|>\
<|im_system|>system<|im_middle|>You are terse.<|im_end|><|im_user|>user<|im_middle|>Weather in Oslo?<|im_end|>\
<|im_assistant|>assistant<|im_middle|><think>";

#[rustfmt::skip]
const CONVERSATION_IDS: &[u32] = &[
    163594, 20960, 35556, 677, 163601, 2, 30391, 382, 798, 8271, 198, 6370, 8271, 440, 408, 15545, 10666, 198,
    2217, 922, 21055, 2800, 327, 9600, 25, 440, 220, 5243, 25, 2204, 198, 9483, 1318, 1178, 303, 896, 163586,
    163594, 14062, 163601, 3900, 554, 93330, 13, 163586, 163587, 2482, 163601, 65512, 306, 100517, 30, 163586,
    163588, 69702, 163601, 163606,
];

#[test]
fn a_rendered_conversation_has_the_ids_of_the_vendor() {
    assert_eq!(CONVERSATION.chars().count(), 319);
    let segments = kimi().parse_special(CONVERSATION);
    assert_eq!(kimi().encode(&segments), ids(CONVERSATION_IDS));
}

#[test]
fn a_cut_text_segment_gives_the_ids_of_the_whole() {
    let text = "## Return of functions.get_weather:0\n-3 °C";
    for (at, _) in text.char_indices() {
        let (head, tail) = text.split_at(at);
        let segments = [head, tail].map(|part| Segment::Text(part.to_owned()));
        assert_eq!(kimi().encode(&segments), kimi().encode_text(text));
    }
}

#[test]
fn the_table_of_control_tokens_is_kimis() {
    let check = |name: &str, id: u32| {
        assert_eq!(kimi().control(name), Some(TokenId(id)), "{name}");
        assert_eq!(kimi().bytes(TokenId(id)), name.as_bytes());
        assert!(kimi().is_control(TokenId(id)));
    };
    check("[BOS]", 163_584);
    check("<|im_assistant|>", 163_588);
    check("<|start_header_id|>", 163_590);
    check("<|end_header_id|>", 163_591);
    check("<|im_system|>", 163_594);
    check("<|tool_calls_section_end|>", 163_596);
    check("<|tool_call_begin|>", 163_597);
    check("<|tool_call_argument_begin|>", 163_598);
    check("<|tool_call_end|>", 163_599);
    check("<|media_begin|>", 163_602);
    check("<|media_content|>", 163_603);
    check("<|media_end|>", 163_604);
    check("<|media_pad|>", 163_605);
    check("<|reserved_token_163837|>", 163_837);
    assert_eq!(kimi().vocab_size(), 163_840);
    assert_eq!(kimi().control("<|media_start|>"), None);
    assert!(kimi().is_kimi());
    assert_eq!(
        kimi().end_of_generation(),
        ids(&[163_585, 163_586, 163_593])
    );
}

#[test]
fn the_first_256_tokens_are_the_bytes_in_gpt2_order() {
    for (byte, id) in [
        (b'!', 0),
        (b'~', 93),
        (0xa1, 94),
        (0xff, 187),
        (0, 188),
        (b' ', 220),
        (0xad, 255),
    ] {
        assert_eq!(kimi().bytes(TokenId(id)), [byte]);
    }
    assert_eq!(kimi().bytes(TokenId(257)), b"    ");
    let ordinary = (0..FIRST_CONTROL).map(TokenId);
    assert!(ordinary.into_iter().all(|id| !kimi().is_control(id)));
}

#[test]
fn every_token_that_is_text_survives_encoding() {
    let mut n_text = 0;
    for id in (0..FIRST_CONTROL).map(TokenId) {
        let Ok(text) = std::str::from_utf8(kimi().bytes(id)) else {
            continue;
        };
        n_text += 1;
        assert_eq!(kimi().decode(&kimi().encode_text(text)), text);
    }
    // The others hold parts of characters.
    assert_eq!(FIRST_CONTROL - n_text, 1_172);
}
