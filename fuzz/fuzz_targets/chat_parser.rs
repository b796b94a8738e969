//! Any output of a model: the parser never panics, and what a turn adds up to does not
//! depend on where its text was cut.
//!
//! The first byte chooses start, tools and ending, the second seeds the cuts. In the rest
//! bytes below 8 and from 0xF8, which UTF-8 never uses, stand for control tokens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perigee_chat::{
    Delta, Ending, KimiTokens, OutputParser, ParserOptions, Piece, Reply, Start, Tool,
};
use perigee_tokenizer::TokenId;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let [options, seed, output @ ..] = bytes else {
        return;
    };
    let tokens = decode(output);
    let whole = parse(*options, &tokens, usize::MAX, 0);
    for most in [1, 7] {
        let cut = parse(*options, &tokens, most, *seed);
        assert_eq!(whole, cut, "pieces of up to {most} bytes changed the reply");
    }
});

/// What a model could produce.
enum Output {
    Text(String),
    Control(TokenId),
}

/// Splits bytes into control tokens and the texts between them.
fn decode(bytes: &[u8]) -> Vec<Output> {
    let mut outputs = Vec::new();
    let mut text = Vec::new();
    let flush = |text: &mut Vec<u8>, outputs: &mut Vec<Output>| {
        if !text.is_empty() {
            outputs.push(Output::Text(String::from_utf8_lossy(text).into_owned()));
            text.clear();
        }
    };
    for &byte in bytes {
        let control = match byte {
            0..8 => u32::from(byte),
            0xF8.. => u32::from(byte) - 0xF8 + 8,
            _ => {
                text.push(byte);
                continue;
            }
        };
        flush(&mut text, &mut outputs);
        outputs.push(Output::Control(TokenId(FIRST + control)));
    }
    flush(&mut text, &mut outputs);
    outputs
}

/// The reply to a turn whose texts come in pieces of at most `most` bytes.
fn parse(options: u8, outputs: &[Output], most: usize, seed: u8) -> Reply {
    let ending = if options & 1 == 0 {
        Ending::Stop
    } else {
        Ending::Length
    };
    let start = if options & 2 == 0 {
        Start::Content
    } else {
        Start::Reasoning
    };
    let tools = if options & 4 == 0 {
        tools()
    } else {
        Vec::new()
    };
    let first_call = usize::from(options >> 4);
    let options = ParserOptions {
        start,
        tools,
        first_call,
    };
    let mut parser = OutputParser::new(kimi(), options);
    let mut deltas = Vec::new();
    let mut state = u32::from(seed);
    for output in outputs {
        match output {
            Output::Control(id) => parser.push(Piece::Control(*id), &mut deltas),
            Output::Text(text) => {
                let mut rest = text.as_str();
                while !rest.is_empty() {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let wanted = 1 + (state >> 16) as usize % most.min(1 << 16);
                    let wanted = if most == usize::MAX {
                        rest.len()
                    } else {
                        wanted
                    };
                    let (piece, after) = rest.split_at(rest.ceil_char_boundary(wanted));
                    parser.push(Piece::Text(piece), &mut deltas);
                    rest = after;
                }
            }
        }
    }
    parser.finish(ending, &mut deltas);
    check(&deltas);
    Reply::collect(&deltas)
}

/// Texts are never empty, and arguments belong to the call opened last.
fn check(deltas: &[Delta]) {
    let mut open = 0;
    for delta in deltas {
        match delta {
            Delta::Reasoning(text) | Delta::Content(text) => assert!(!text.is_empty()),
            Delta::CallOpen { index, .. } => {
                assert_eq!(*index, open);
                open += 1;
            }
            Delta::CallArguments { index, json } => {
                assert_eq!(*index + 1, open);
                assert!(!json.is_empty());
            }
            Delta::CallClose { index } => assert_eq!(*index + 1, open),
        }
    }
}

const FIRST: u32 = 1000;

fn kimi() -> KimiTokens {
    let id = |n: u32| TokenId(FIRST + n);
    KimiTokens {
        section_begin: id(0),
        section_end: id(1),
        call_begin: id(2),
        argument_begin: id(3),
        call_end: id(4),
        think: Some(id(5)),
        end_think: Some(id(6)),
        im_end: id(7),
        im_user: id(8),
        im_assistant: id(9),
        im_system: id(10),
        im_middle: id(11),
        eos: Some(id(12)),
        eot: Some(id(13)),
        media_begin: Some(id(14)),
        media_content: None,
        media_end: None,
        media_pad: None,
    }
}

fn tools() -> Vec<Tool> {
    let tool = |name: &str, properties: serde_json::Value| {
        let parameters = json!({"type": "object", "properties": properties});
        let function = json!({"name": name, "parameters": parameters});
        Tool {
            name: name.to_owned(),
            declaration: json!({"type": "function", "function": function}),
        }
    };
    vec![
        tool(
            "get_weather",
            json!({"city": {"type": "string"}, "days": {"type": "integer"}}),
        ),
        tool(
            "mcp-server.search",
            json!({"q": {"type": "string"}, "deep": {"type": "boolean"}}),
        ),
    ]
}
