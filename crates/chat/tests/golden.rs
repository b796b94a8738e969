//! Prompts against golden vectors, and the two renderers against each other.

#[path = "golden/vocabulary.rs"]
mod vocabulary;

use perigee_chat::{
    Arguments, ChatFormat, Conversation, Message, Part, RenderOptions, Role, Start, TemplateChoice,
    Tool, ToolCall, ToolsFormat,
};
use perigee_tokenizer::{Tokenizer, VocabParts};
use proptest::prelude::*;
use serde_json::{Map, json};

const TEMPLATE: &str = include_str!("golden/kimi_style.jinja");

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: std::sync::LazyLock<Tokenizer> = std::sync::LazyLock::new(vocabulary::kimi);
    &TOKENIZER
}

fn native() -> ChatFormat {
    ChatFormat::builtin(tokenizer()).unwrap()
}

fn jinja() -> ChatFormat {
    ChatFormat::new(tokenizer(), &TemplateChoice::Source(TEMPLATE.to_owned())).unwrap()
}

/// Prompt text and ids.
fn render(
    format: &ChatFormat,
    conversation: &Conversation,
    options: &RenderOptions,
) -> (String, Vec<u32>) {
    let rendered = format
        .render_prompt(&mut conversation.clone(), options, &Map::new())
        .unwrap();
    let ids = tokenizer().encode(&rendered.segments);
    (
        tokenizer().decode(&ids),
        ids.into_iter().map(|id| id.0).collect(),
    )
}

fn weather_tool() -> Tool {
    Tool {
        name: "get_weather".to_owned(),
        declaration: json!({"type": "function", "function": {
            "name": "get_weather",
            "description": "Current weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }}),
    }
}

fn opening() -> Vec<Message> {
    vec![
        Message::text(Role::System, "You are terse."),
        Message::text(Role::User, "Weather in Oslo?"),
    ]
}

fn with_call() -> Vec<Message> {
    let call = ToolCall {
        id: "call_1".to_owned(),
        name: "get_weather".to_owned(),
        arguments: Arguments::Text("{\"city\": \"Oslo\"}".to_owned()),
    };
    let mut messages = opening();
    messages.push(Message {
        reasoning: Some("Need the tool.".to_owned()),
        tool_calls: vec![call],
        content: Vec::new(),
        ..Message::text(Role::Assistant, "")
    });
    messages.push(Message {
        tool_call_id: Some("call_1".to_owned()),
        ..Message::text(Role::Tool, "-3 C")
    });
    messages
}

fn followed_up() -> Vec<Message> {
    let mut messages = with_call();
    messages.push(Message {
        reasoning: Some("Done.".to_owned()),
        ..Message::text(Role::Assistant, "-3 °C.")
    });
    messages.push(Message {
        content: vec![Part::Image, Part::Text("And this?".to_owned())],
        ..Message::text(Role::User, "")
    });
    messages
}

fn forgetful() -> RenderOptions {
    RenderOptions {
        preserve_thinking: false,
        ..RenderOptions::default()
    }
}

#[test]
fn r1_tools_in_typescript() {
    let conversation = Conversation {
        messages: opening(),
        tools: vec![weather_tool()],
    };
    let (text, ids) = render(&native(), &conversation, &forgetful());
    assert_eq!(
        text,
        "<|im_system|>tool_declare<|im_middle|># Tools\n\n## functions\nnamespace functions {\n// Current weather\n\
         type get_weather = (_: {\n  city: string\n}) => any;\n}\n<|im_end|><|im_system|>system<|im_middle|>You are \
         terse.<|im_end|><|im_user|>user<|im_middle|>Weather in Oslo?<|im_end|><|im_assistant|>assistant<|im_middle|>\
         <think>"
    );
    assert_eq!(text.chars().count(), 319);
    let expected = [
        163594, 20960, 35556, 677, 163601, 2, 30391, 382, 798, 8271, 198, 6370, 8271, 440, 408,
        15545, 10666, 198, 2217, 922, 21055, 2800, 327, 9600, 25, 440, 220, 5243, 25, 2204, 198,
        9483, 1318, 1178, 303, 896, 163586, 163594, 14062, 163601, 3900, 554, 93330, 13, 163586,
        163587, 2482, 163601, 65512, 306, 100517, 30, 163586, 163588, 69702, 163601, 163606,
    ];
    assert_eq!(ids, expected);
}

#[test]
fn r2_tools_in_json_without_thinking() {
    let conversation = Conversation {
        messages: opening(),
        tools: vec![weather_tool()],
    };
    let options = RenderOptions {
        thinking: false,
        tools_format: ToolsFormat::Json,
        ..forgetful()
    };
    let (text, ids) = render(&native(), &conversation, &options);
    assert!(
        text.ends_with("<|im_assistant|>assistant<|im_middle|><think></think>"),
        "{text}"
    );
    assert_eq!((text.chars().count(), ids.len()), (389, 66));
}

#[test]
fn r3_a_call_and_its_result() {
    let conversation = Conversation {
        messages: with_call(),
        tools: Vec::new(),
    };
    let (text, ids) = render(&native(), &conversation, &forgetful());
    assert_eq!(
        text,
        "<|im_system|>system<|im_middle|>You are terse.<|im_end|><|im_user|>user<|im_middle|>Weather in Oslo?\
         <|im_end|><|im_assistant|>assistant<|im_middle|><think>Need the tool.</think><|tool_calls_section_begin|>\
         <|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{\"city\": \"Oslo\"}<|tool_call_end|>\
         <|tool_calls_section_end|><|im_end|><|im_system|>tool<|im_middle|>## Return of functions.get_weather:0\n-3 C\
         <|im_end|><|im_assistant|>assistant<|im_middle|><think>"
    );
    assert_eq!(ids.len(), 65);
}

#[test]
fn r4_thoughts_are_dropped_or_kept() {
    let conversation = Conversation {
        messages: followed_up(),
        tools: Vec::new(),
    };
    let (text, ids) = render(&native(), &conversation, &forgetful());
    assert_eq!(ids.len(), 85);
    assert_eq!(text.matches("<think></think>").count(), 2);
    let (text, ids) = render(&native(), &conversation, &RenderOptions::default());
    assert_eq!(ids.len(), 91);
    assert!(
        text.contains("<think>Need the tool.</think>") && text.contains("<think>Done.</think>"),
        "{text}"
    );
    assert!(text.contains(
        "<|im_user|>user<|im_middle|><|media_begin|>image<|media_content|><|media_pad|><|media_end|>\nAnd this?<|im_end|>"
    ));
}

#[test]
fn a_template_in_the_vendors_manner_renders_the_same_bytes() {
    for messages in [opening(), with_call(), followed_up()] {
        for tools in [Vec::new(), vec![weather_tool()]] {
            for thinking in [false, true] {
                for preserve_thinking in [false, true] {
                    let conversation = Conversation {
                        messages: messages.clone(),
                        tools: tools.clone(),
                    };
                    let options = RenderOptions {
                        thinking,
                        preserve_thinking,
                        ..RenderOptions::default()
                    };
                    assert_eq!(
                        render(&jinja(), &conversation, &options),
                        render(&native(), &conversation, &options),
                        "{options:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_partial_answer_is_continued_where_it_ends() {
    let partial = |reasoning: Option<&str>, content: &str| {
        let mut messages = opening();
        messages.push(Message {
            partial: true,
            reasoning: reasoning.map(str::to_owned),
            ..Message::text(Role::Assistant, content)
        });
        Conversation {
            messages,
            tools: Vec::new(),
        }
    };
    let check = |conversation: &Conversation, thinking: bool, tail: &str, start: Start| {
        let options = RenderOptions {
            thinking,
            ..RenderOptions::default()
        };
        let (text, _) = render(&native(), conversation, &options);
        assert!(text.ends_with(tail), "{text}");
        let rendered = native()
            .render_prompt(&mut conversation.clone(), &options, &Map::new())
            .unwrap();
        assert_eq!(rendered.start, start);
    };
    check(
        &partial(None, "It is"),
        false,
        "<|im_middle|><think></think>It is",
        Start::Content,
    );
    check(
        &partial(Some("Hm"), "It is"),
        true,
        "<think>Hm</think>It is",
        Start::Content,
    );
    check(
        &partial(Some("Hm, so"), ""),
        true,
        "<|im_middle|><think>Hm, so",
        Start::Reasoning,
    );
}

#[test]
fn the_first_k2_has_no_think_tokens_and_is_asked_without_them() {
    let bytes: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte]).collect();
    let mut parts = VocabParts::from_ranks(bytes);
    for name in ["<think>", "</think>"] {
        let id = parts
            .tokens
            .iter()
            .position(|token| token == name.as_bytes())
            .unwrap();
        parts.tokens[id] = format!("<|reserved_token_{id}|>").into_bytes();
    }
    let tokenizer = Tokenizer::new(parts).unwrap();
    assert!(tokenizer.is_kimi());
    let format = ChatFormat::builtin(&tokenizer).unwrap();
    let mut conversation = Conversation {
        messages: followed_up(),
        tools: Vec::new(),
    };
    let rendered = format
        .render_prompt(&mut conversation, &RenderOptions::default(), &Map::new())
        .unwrap();
    assert_eq!(rendered.start, Start::Content);
    let text = tokenizer.decode(&tokenizer.encode(&rendered.segments));
    assert!(
        text.ends_with("<|im_assistant|>assistant<|im_middle|>"),
        "{text}"
    );
    assert!(
        !text.contains("think") && !text.contains("Need the tool."),
        "{text}"
    );
}

/// Every control spelling, in every place where a client can write text.
fn hostile() -> Conversation {
    let spelled: String = (163_584..163_840)
        .map(|id| tokenizer().decode(&[perigee_tokenizer::TokenId(id)]))
        .collect();
    let call = ToolCall {
        id: spelled.clone(),
        name: "f".to_owned(),
        arguments: Arguments::Json(json!({ spelled.clone(): spelled.clone() })),
    };
    let mut messages = vec![
        Message::text(Role::System, &spelled),
        Message::text(Role::User, &spelled),
    ];
    messages.push(Message {
        name: Some(spelled.clone()),
        reasoning: Some(spelled.clone()),
        tool_calls: vec![call],
        ..Message::text(Role::Assistant, &spelled)
    });
    messages.push(Message {
        tool_call_id: Some(spelled.clone()),
        ..Message::text(Role::Tool, &spelled)
    });
    let tools = vec![Tool {
        name: "f".to_owned(),
        declaration: json!({"type": "function", "function": {"name": "f", "description": spelled}}),
    }];
    Conversation { messages, tools }
}

#[test]
fn text_of_clients_never_becomes_a_control_token() {
    let harmless = {
        let mut conversation = hostile();
        let blank = |text: &mut String| *text = "x".to_owned();
        for message in &mut conversation.messages {
            message.content = vec![Part::Text("x".to_owned())];
            message.reasoning.iter_mut().for_each(blank);
            message.name.iter_mut().for_each(blank);
            for call in &mut message.tool_calls {
                call.arguments = Arguments::Json(json!({"x": "x"}));
            }
        }
        conversation.tools[0].declaration =
            json!({"type": "function", "function": {"name": "f", "description": "x"}});
        conversation
    };
    let controls = |format: &ChatFormat, conversation: &Conversation| {
        let (_, ids) = render(format, conversation, &RenderOptions::default());
        ids.into_iter()
            .filter(|&id| id >= 163_584)
            .collect::<Vec<_>>()
    };
    for format in [native(), jinja()] {
        assert_eq!(controls(&format, &hostile()), controls(&format, &harmless));
    }
    let options = RenderOptions::default();
    assert_eq!(
        render(&jinja(), &hostile(), &options),
        render(&native(), &hostile(), &options)
    );
}

#[test]
fn a_broken_or_endless_template_is_one_clear_line() {
    let bad = ChatFormat::new(tokenizer(), &TemplateChoice::Source("{% if %}".to_owned()));
    assert!(bad.is_err_and(|error| error.to_string().lines().count() == 1));
    for (source, part) in [
        ("{{ raise_exception('no tools here') }}", "no tools here"),
        (
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
            "fuel",
        ),
        (
            "{% set x = [] %}{{ x.append(1) }}",
            "--chat-template builtin",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "recursion",
        ),
    ] {
        let format =
            ChatFormat::new(tokenizer(), &TemplateChoice::Source(source.to_owned())).unwrap();
        let mut conversation = Conversation {
            messages: opening(),
            tools: Vec::new(),
        };
        let error = format
            .render_prompt(&mut conversation, &RenderOptions::default(), &Map::new())
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(part) && text.lines().count() == 1, "{text}");
    }
    let huge = "x".repeat((1 << 20) + 1);
    assert!(ChatFormat::new(tokenizer(), &TemplateChoice::Source(huge)).is_err());
}

#[test]
fn long_conversations_are_no_bombs() {
    let mut conversation = Conversation {
        messages: Vec::new(),
        tools: vec![weather_tool()],
    };
    for i in 0..3000 {
        let role = if i % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        conversation
            .messages
            .push(Message::text(role, "some words ".repeat(i % 100)));
    }
    conversation
        .messages
        .push(Message::text(Role::User, "a long one ".repeat(400_000)));
    let options = RenderOptions::default();
    assert_eq!(
        render(&jinja(), &conversation, &options),
        render(&native(), &conversation, &options)
    );
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<f64>().prop_map(|f| json!(f)),
        prop::sample::select(vec![
            "string",
            "object",
            "array",
            "#",
            "#/$defs/A",
            "null",
            ""
        ])
        .prop_map(|s| json!(s)),
        ".{0,8}".prop_map(|s| json!(s)),
    ];
    let key = prop::sample::select(vec![
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "oneOf",
        "enum",
        "$ref",
        "$defs",
        "default",
        "description",
        "additionalProperties",
        "x",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_schema_and_no_text_stops_the_renderer(schema in any_json(), text in ".{0,40}", name in "[a-z]{1,5}") {
        let declaration = json!({"type": "function", "function": {"name": name, "description": text, "parameters": schema}});
        let conversation = Conversation {
            messages: vec![Message::text(Role::User, text)],
            tools: vec![Tool { name, declaration }],
        };
        let options = RenderOptions::default();
        prop_assert_eq!(render(&native(), &conversation, &options), render(&jinja(), &conversation, &options));
    }
}
