//! Each malformed output of the list of those seen in the wild, by its number, and the
//! properties that hold for any output.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tokens() -> KimiTokens {
    let id = |n: u32| TokenId(1000 + n);
    KimiTokens {
        im_end: id(0),
        im_user: id(1),
        im_assistant: id(2),
        im_system: id(3),
        im_middle: id(4),
        section_begin: id(5),
        section_end: id(6),
        call_begin: id(7),
        argument_begin: id(8),
        call_end: id(9),
        think: Some(id(10)),
        end_think: Some(id(11)),
        media_begin: None,
        media_content: None,
        media_end: None,
        media_pad: None,
        eos: Some(id(12)),
        eot: Some(id(13)),
    }
}

/// Control tokens are written as single letters of another script.
fn control(c: char) -> Option<TokenId> {
    let t = tokens();
    Some(match c {
        'Ⓑ' => t.section_begin,
        'Ⓔ' => t.section_end,
        'ⓑ' => t.call_begin,
        'ⓐ' => t.argument_begin,
        'ⓔ' => t.call_end,
        'Ⓣ' => t.think?,
        'ⓣ' => t.end_think?,
        'Ⓘ' => t.im_end,
        _ => return None,
    })
}

fn tool(name: &str, properties: serde_json::Value, required: serde_json::Value) -> Tool {
    let parameters = json!({"type": "object", "properties": properties, "required": required});
    Tool {
        name: name.to_owned(),
        declaration: json!({"type": "function", "function": {"name": name, "parameters": parameters}}),
    }
}

fn tools() -> Vec<Tool> {
    vec![
        tool(
            "get_weather",
            json!({"city": {"type": "string"}, "days": {"type": "integer"}}),
            json!(["city"]),
        ),
        tool(
            "read",
            json!({"path": {"type": "string"}, "lines": {"type": "integer"}}),
            json!(["path"]),
        ),
        tool(
            "mcp-server.search",
            json!({"query": {"type": "string"}}),
            json!(["query"]),
        ),
    ]
}

#[derive(Clone)]
struct Case {
    start: Start,
    tools: Vec<Tool>,
    ending: Ending,
}

fn thinking() -> Case {
    Case {
        start: Start::Reasoning,
        tools: tools(),
        ending: Ending::Stop,
    }
}

fn instant() -> Case {
    Case {
        start: Start::Content,
        ..thinking()
    }
}

/// Parses an output whose text comes in pieces that end at the given byte offsets.
fn deltas(case: &Case, output: &str, cuts: &dyn Fn(usize) -> bool) -> Vec<Delta> {
    let options = ParserOptions {
        start: case.start,
        tools: case.tools.clone(),
        first_call: 3,
    };
    let mut parser = OutputParser::new(tokens(), options);
    let (mut out, mut text) = (Vec::new(), String::new());
    for (at, c) in output.char_indices() {
        if cuts(at) && !text.is_empty() {
            parser.push(Piece::Text(&std::mem::take(&mut text)), &mut out);
        }
        match control(c) {
            Some(id) => {
                if !text.is_empty() {
                    parser.push(Piece::Text(&std::mem::take(&mut text)), &mut out);
                }
                parser.push(Piece::Control(id), &mut out);
            }
            None => text.push(c),
        }
    }
    if !text.is_empty() {
        parser.push(Piece::Text(&text), &mut out);
    }
    parser.finish(case.ending, &mut out);
    out
}

/// The invariants of every stream of deltas.
fn check_stream(deltas: &[Delta]) {
    let mut open = None;
    let mut next = 0;
    for delta in deltas {
        match delta {
            Delta::Reasoning(text) | Delta::Content(text) => assert!(!text.is_empty()),
            Delta::CallOpen { index, id, name } => {
                assert_eq!(*index, next, "indexes count up");
                assert_eq!(*id, format!("functions.{name}:{}", 3 + index));
                (open, next) = (Some(*index), next + 1);
            }
            Delta::CallArguments { index, json } => {
                assert!(!json.is_empty());
                assert_eq!(Some(*index), open);
            }
            Delta::CallClose { index } => {
                assert_eq!(Some(*index), open);
                open = None;
            }
        }
    }
}

type Expected<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// The output gives this reply, however its text is cut.
fn check(case: &Case, output: &str, (reasoning, content, calls): Expected<'_>) {
    let whole = deltas(case, output, &|_| false);
    check_stream(&whole);
    let reply = Reply::collect(&whole);
    let found: Vec<(&str, &str)> = reply
        .calls
        .iter()
        .map(|call| (call.name.as_str(), call.arguments.as_str()))
        .collect();
    assert_eq!(
        (
            reply.reasoning.as_str(),
            reply.content.as_str(),
            found.as_slice()
        ),
        (reasoning, content, calls),
        "{output}"
    );
    for cut in 0..=output.len() {
        let cut_once = deltas(case, output, &|at| at == cut);
        assert_eq!(Reply::collect(&cut_once), reply, "{output} cut at {cut}");
    }
    let letters = deltas(case, output, &|_| true);
    check_stream(&letters);
    assert_eq!(Reply::collect(&letters), reply, "{output} letter by letter");
}

const OSLO: (&str, &str) = ("get_weather", r#"{"city": "Oslo"}"#);
const ROME: (&str, &str) = ("get_weather", r#"{"city": "Rome"}"#);

#[test]
fn a_well_formed_turn() {
    check(
        &thinking(),
        "Need it.ⓣI'll look.\nⒷⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔⓑfunctions.get_weather:1ⓐ{\"city\": \"Rome\"}ⓔⒺⒾ",
        ("Need it.", "I'll look.", &[OSLO, ROME]),
    );
    check(
        &thinking(),
        "Hm.ⓣHello.\n\nBye.Ⓘ",
        ("Hm.", "Hello.\n\nBye.", &[]),
    );
    check(
        &instant(),
        "Hello < world\n<|tool",
        ("", "Hello < world\n<|tool", &[]),
    );
}

#[test]
fn arguments_are_streamed_before_the_call_ends() {
    let options = ParserOptions {
        start: Start::Content,
        tools: tools(),
        first_call: 0,
    };
    let mut parser = OutputParser::new(tokens(), options);
    let mut out = Vec::new();
    let t = tokens();
    for piece in [
        Piece::Control(t.section_begin),
        Piece::Control(t.call_begin),
        Piece::Text("functions.read:0"),
        Piece::Control(t.argument_begin),
        Piece::Text("{\"path\": \"src/ma"),
    ] {
        parser.push(piece, &mut out);
    }
    assert!(parser.in_arguments() && !parser.in_content());
    assert_eq!(
        out,
        [
            Delta::CallOpen {
                index: 0,
                id: "functions.read:0".to_owned(),
                name: "read".to_owned()
            },
            Delta::CallArguments {
                index: 0,
                json: "{\"path\": \"src/ma".to_owned()
            },
        ]
    );
}

#[test]
fn row_1_a_section_inside_the_thought_ends_it_and_text_after_it_is_thought_again() {
    check(
        &thinking(),
        "Let me look.Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔⒺ done thinkingⓣ",
        ("Let me look. done thinking", "", &[OSLO]),
    );
}

#[test]
fn row_2_a_call_repeated_after_the_thought_is_one_call() {
    check(
        &thinking(),
        "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔⒺⓣⒷⓑfunctions.get_weather:0ⓐ{\"city\":\"Oslo\"}ⓔⒺ",
        ("", "", &[OSLO]),
    );
    check(
        &thinking(),
        "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔⒺⓣⒷⓑfunctions.get_weather:0ⓐ{\"city\": \"Rome\"}ⓔⒺ",
        ("", "", &[OSLO, ROME]),
    );
}

#[test]
fn row_3_the_end_marker_is_never_text() {
    check(&thinking(), "a.ⓣb.ⒾⒾ", ("a.", "b.", &[]));
}

#[test]
fn row_4_the_singular_section_is_a_section() {
    check(
        &thinking(),
        "tⓣ<|tool_call_section_begin|>ⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔ<|tool_call_section_end|>",
        ("t", "", &[OSLO]),
    );
    let spelled = "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>\
        {\"city\": \"Oslo\"}<|tool_call_end|><|tool_calls_section_end|>";
    check(
        &instant(),
        &format!("Sure.\n{spelled}"),
        ("", "Sure.", &[OSLO]),
    );
    check(
        &instant(),
        &format!("It is written {spelled}"),
        ("", &format!("It is written {spelled}"), &[]),
    );
}

#[test]
fn row_5_calls_without_a_section() {
    check(
        &instant(),
        "ⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔ",
        ("", "", &[OSLO]),
    );
}

#[test]
fn row_6_a_section_that_does_not_end() {
    check(
        &instant(),
        "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔⒾ",
        ("", "", &[OSLO]),
    );
    check(
        &instant(),
        "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}Ⓘ",
        ("", "", &[OSLO]),
    );
}

#[test]
fn row_7_a_call_that_does_not_end() {
    let output = "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓑfunctions.get_weather:1ⓐ{\"city\": \"Rome\"}Ⓔ";
    check(&instant(), output, ("", "", &[OSLO, ROME]));
}

#[test]
fn row_8_headers_of_other_shapes() {
    for header in [
        "get_weather:0",
        "functions.get_weather",
        "functions_get_weather_0",
        "get_weather_12",
        "get_weather",
        "functions.get-weather:0",
        "functions.Get_Weather:0",
    ] {
        check(
            &instant(),
            &format!("Ⓑⓑ{header}ⓐ{{\"city\": \"Oslo\"}}ⓔⒺ"),
            ("", "", &[OSLO]),
        );
    }
    let search = ("mcp-server.search", r#"{"query": "a:1"}"#);
    check(
        &instant(),
        "Ⓑⓑfunctions.mcp-server.search:7ⓐ{\"query\": \"a:1\"}ⓔⒺ",
        ("", "", &[search]),
    );
    // A name that nobody declared: the agent says so, and the model recovers.
    let unknown = ("unknown_tool", "{}");
    check(
        &instant(),
        "Ⓑⓑfunctions.unknown_tool:0ⓐ{}ⓔⒺ",
        ("", "", &[unknown]),
    );
    // An id that says nothing: the arguments fit one tool only, or carry the name.
    check(
        &instant(),
        "Ⓑⓑcall_8f3aⓐ{\"city\": \"Oslo\"}ⓔⒺ",
        ("", "", &[OSLO]),
    );
    check(
        &instant(),
        "Ⓑⓑcall 8f3aⓐ{\"name\": \"get_weather\", \"arguments\": {\"city\":\"Oslo\"}}ⓔⒺ",
        ("", "", &[("get_weather", r#"{"city":"Oslo"}"#)]),
    );
}

#[test]
fn row_9_white_space_in_the_header() {
    check(
        &instant(),
        "Ⓑⓑ functions.get_weather:0\nⓐ{\"city\": \"Oslo\"}ⓔⒺ",
        ("", "", &[OSLO]),
    );
}

#[test]
fn row_10_a_blend_with_xml() {
    let read = ("read", r#"{"path":"src/main.rs","lines":20}"#);
    let pairs = "<path>src/main.rs</path>\n<lines>20</lines>";
    check(
        &instant(),
        &format!("Ⓑⓑfunctions.read:0\n{pairs}ⓔⒺ"),
        ("", "", &[read]),
    );
    check(
        &instant(),
        &format!("Ⓑⓑfunctions<read>\n{pairs}ⓔⒺ"),
        ("", "", &[read]),
    );
    check(
        &instant(),
        &format!("Ⓑⓑfunctions.read:0ⓐ{pairs}ⓔⒺ"),
        ("", "", &[read]),
    );
}

#[test]
fn row_11_several_sections() {
    let output = "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔⒺ\nⒷⓑfunctions.get_weather:1ⓐ{\"city\": \"Rome\"}ⓔⒺ";
    check(&instant(), output, ("", "", &[OSLO, ROME]));
}

#[test]
fn row_12_json_in_a_string() {
    check(
        &instant(),
        "Ⓑⓑfunctions.get_weather:0ⓐ\"{\\\"city\\\": \\\"Oslo\\\"}\"ⓔⒺ",
        ("", "", &[OSLO]),
    );
}

#[test]
fn row_13_no_arguments() {
    for output in [
        "Ⓑⓑfunctions.get_weather:0ⓐⓔⒺ",
        "Ⓑⓑfunctions.get_weather:0ⓔⒺ",
        "Ⓑⓑfunctions.get_weather:0Ⓔ",
    ] {
        check(&instant(), output, ("", "", &[("get_weather", "{}")]));
    }
}

#[test]
fn row_14_a_call_cut_by_the_limit_stays_cut() {
    let cut = Case {
        ending: Ending::Length,
        ..instant()
    };
    let output = "Ⓑⓑfunctions.read:0ⓐ{\"path\": \"src/ma";
    check(&cut, output, ("", "", &[("read", "{\"path\": \"src/ma")]));
    assert!(!Reply::collect(&deltas(&cut, output, &|_| false)).calls[0].complete);
    // The model's own end is no cut: what it left open is closed.
    check(
        &instant(),
        output,
        ("", "", &[("read", "{\"path\": \"src/ma\"}")]),
    );
}

#[test]
fn row_15_what_follows_the_object_is_dropped() {
    check(
        &instant(),
        "Ⓑⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"} thanks {\"city\": 1}ⓔⒺ",
        ("", "", &[OSLO]),
    );
}

#[test]
fn row_16_sloppy_json_becomes_json() {
    for sloppy in [
        "{'city': 'Oslo'}",
        "{city: 'Oslo'}",
        "{\"city\": \"Oslo\",}",
        "{\"city\": \"Oslo\"]}",
    ] {
        let output = format!("Ⓑⓑfunctions.get_weather:0ⓐ{sloppy}ⓔⒺ");
        let reply = Reply::collect(&deltas(&instant(), &output, &|_| false));
        let found: serde_json::Value =
            serde_json::from_str(&reply.calls[0].arguments).expect(sloppy);
        assert_eq!(found, json!({"city": "Oslo"}), "{sloppy}");
        check(
            &instant(),
            &output,
            ("", "", &[("get_weather", &reply.calls[0].arguments)]),
        );
    }
    check(
        &instant(),
        "Ⓑⓑfunctions.read:0ⓐ{\"path\": \"a\nb\t\\d 'q'\", \"x\": [True, None, 1.5e3,], 'y': 'say \"hi\"'}ⓔⒺ",
        (
            "",
            "",
            &[(
                "read",
                r#"{"path": "a\nb\t\\d 'q'", "x": [true, null, 1.5e3], "y": "say \"hi\""}"#,
            )],
        ),
    );
}

#[test]
fn row_17_markers_that_arrive_together_are_all_seen() {
    check(
        &instant(),
        "ⒷⓑreadⓐⓔⓑreadⓐⓔⒺⒾ",
        ("", "", &[("read", "{}"), ("read", "{}")]),
    );
}

#[test]
fn row_18_arguments_have_no_length_limit() {
    let text = "x".repeat(100_000);
    let output = format!("Ⓑⓑfunctions.read:0ⓐ{{\"path\": \"{text}\"}}ⓔⒺ");
    let reply = Reply::collect(&deltas(&instant(), &output, &|at| at % 7 == 0));
    assert_eq!(
        reply.calls[0].arguments,
        format!("{{\"path\": \"{text}\"}}")
    );
}

#[test]
fn row_19_no_delta_is_empty() {
    // `check_stream` asserts it for every case; here the ones that could be.
    check(&thinking(), "ⓣⒷⒺⒾ", ("", "", &[]));
    check(&thinking(), "ⓣ", ("", "", &[]));
}

#[test]
fn row_20_the_state_comes_from_this_turns_prompt() {
    check(&instant(), "aⓣb", ("", "ab", &[]));
    check(&thinking(), "aⓣb", ("a", "b", &[]));
}

#[test]
fn row_22_without_declared_tools_markers_vanish_and_text_stays() {
    let undeclared = Case {
        tools: Vec::new(),
        ..instant()
    };
    check(
        &undeclared,
        "Ⓑⓑfunctions.f:0ⓐ{\"a\": 1}ⓔⒺ",
        ("", "functions.f:0{\"a\": 1}", &[]),
    );
}

#[test]
fn row_21_and_23_a_turn_without_calls_or_text_is_an_empty_reply() {
    check(&thinking(), "only a thoughtⓣⒾ", ("only a thought", "", &[]));
}

#[test]
fn row_24_repetition_passes_through() {
    check(&instant(), "!!!!!!!!", ("", "!!!!!!!!", &[]));
}

#[test]
fn row_25_a_misplaced_marker_does_not_leak() {
    check(&instant(), "aⓐbⓔcⒺd", ("", "abcd", &[]));
}

#[test]
fn row_26_the_end_can_come_anywhere() {
    let output = "t.ⓣ c\nⒷⓑfunctions.get_weather:0\nⓐ{\"city\": \"Oslo\"}ⓔⒺⒾ";
    for (end, _) in output.char_indices() {
        for ending in [Ending::Stop, Ending::Length] {
            check_stream(&deltas(
                &Case {
                    ending,
                    ..thinking()
                },
                &output[..end],
                &|_| false,
            ));
        }
    }
}

#[test]
fn row_27_text_between_calls_is_dropped_and_text_instead_of_calls_is_given_back() {
    check(
        &instant(),
        "Ⓑ first: ⓑfunctions.get_weather:0ⓐ{\"city\": \"Oslo\"}ⓔ and: ⓑfunctions.get_weather:1ⓐ{\"city\": \"Rome\"}ⓔⒺ that's all",
        ("", "", &[OSLO, ROME]),
    );
    check(
        &instant(),
        "Ⓑ I cannot do that.Ⓔ",
        ("", " I cannot do that.", &[]),
    );
}

#[test]
fn white_space_around_markers_is_not_content() {
    check(
        &thinking(),
        "tⓣ\n\nⒷ\nⓑfunctions.get_weather:0ⓐ {\"city\": \"Oslo\"} \nⓔ\nⒺ\n",
        ("t", "", &[OSLO]),
    );
    check(&thinking(), "tⓣ \n", ("t", " \n", &[]));
}

#[test]
fn thinking_can_begin_again() {
    check(
        &instant(),
        "ⓉwhyⓣbecauseⓉhmⓣso",
        ("whyhm", "becauseso", &[]),
    );
    check(&thinking(), "aⓉbⓣc", ("ab", "c", &[]));
}

#[test]
fn ten_megabytes_take_linear_time() {
    let text = "<|tool_call_ {}\"'\\\n".repeat(500_000);
    for prefix in ["", "Ⓑ", "Ⓑⓑ", "Ⓑⓑreadⓐ", "Ⓑⓑreadⓐ{\"a\": \""] {
        let output = format!("{prefix}{text}");
        check_stream(&deltas(&instant(), &output, &|at| at % 5 == 0));
    }
}

/// Pieces of outputs, well-formed and not.
fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "Ⓑ",
        "Ⓔ",
        "ⓑ",
        "ⓐ",
        "ⓔ",
        "Ⓣ",
        "ⓣ",
        "Ⓘ",
        "functions.",
        "get_weather",
        "read",
        ":0",
        ":",
        "\n",
        " ",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        "\\",
        ",",
        "\"city\": ",
        "\"Oslo\"",
        "12",
        "True",
        "é世👩‍💻",
        "<",
        "<path>",
        "</path>",
        "<|tool_call_begin|>",
        "<|tool_call",
        "_section_begin|>",
        "</think>",
        "call_1",
        "text",
    ]);
    prop::collection::vec(fragment, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_output_gives_the_same_reply_under_every_cut(
        output in fragments(),
        cuts in prop::collection::vec(any::<bool>(), 64),
        thoughtful in any::<bool>(),
        stopped in any::<bool>(),
    ) {
        let case = Case {
            start: if thoughtful { Start::Reasoning } else { Start::Content },
            tools: tools(),
            ending: if stopped { Ending::Stop } else { Ending::Length },
        };
        let whole = deltas(&case, &output, &|_| false);
        check_stream(&whole);
        let cut = deltas(&case, &output, &|at| cuts[at % cuts.len()]);
        check_stream(&cut);
        prop_assert_eq!(Reply::collect(&whole), Reply::collect(&cut));
    }

    #[test]
    fn closed_arguments_that_began_as_an_object_are_json(text in "[ -~\n]{0,60}") {
        let output = format!("Ⓑⓑreadⓐ{{{text}ⓔⒺ");
        let reply = Reply::collect(&deltas(&instant(), &output, &|_| false));
        let text = &reply.calls[0].arguments;
        prop_assert!(text.starts_with('{') && text.ends_with('}'), "{}", text);
    }
}
