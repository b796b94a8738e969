//! Templates made to exhaust their reader: CVE-2024-34359 and its kin. A template comes with a
//! model file and is a program from a stranger.

#[path = "../../testkit/tests/budget/mod.rs"]
mod budget;
#[path = "golden/vocabulary.rs"]
mod vocabulary;

use std::sync::LazyLock;

use perigee_chat::{ChatFormat, Conversation, Message, RenderOptions, Role, TemplateChoice};
use perigee_tokenizer::Tokenizer;
use serde_json::Map;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(vocabulary::kimi);

/// Compiles and renders a template; the length of the prompt or the error.
fn outcome(source: String) -> Result<usize, String> {
    let tokenizer: &Tokenizer = &TOKENIZER;
    let format = ChatFormat::new(tokenizer, &TemplateChoice::Source(source))
        .map_err(|error| error.to_string())?;
    let mut conversation = Conversation {
        messages: vec![Message::text(Role::User, "Hello")],
        tools: Vec::new(),
    };
    let rendered = format
        .render_prompt(&mut conversation, &RenderOptions::default(), &Map::new())
        .map_err(|error| error.to_string())?;
    Ok(rendered.segments.len())
}

/// The template must end with an error that says `subject`, within memory and time.
fn refused(source: String, subject: &str) {
    LazyLock::force(&TOKENIZER);
    let result = budget::within_budget(|| outcome(source));
    let error = result.expect_err("a bomb must not be a prompt");
    assert!(error.contains(subject), "{error}");
}

/// `inner` within `n` pairs of `open` and `close`.
fn nested(open: &str, inner: &str, close: &str, n: usize) -> String {
    format!("{}{inner}{}", open.repeat(n), close.repeat(n))
}

#[test]
fn cve_2024_34359_templates_reach_nothing_of_their_host() {
    // What escapes from Python's Jinja: attributes of objects, imports, files.
    for (source, subject) in [
        ("{{ ''.__class__.__mro__ }}", "undefined"),
        ("{{ ().__class__.__base__.__subclasses__() }}", "undefined"),
        (
            "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
            "undefined",
        ),
        ("{{ self.__init__.__globals__ }}", "undefined"),
        ("{% include '/etc/passwd' %}", "template not found"),
        (
            "{% import 'os' as os %}{{ os.system('id') }}",
            "template not found",
        ),
    ] {
        refused(source.to_owned(), subject);
    }
}

#[test]
fn a_template_of_a_megabyte_is_read_in_bounds_and_a_longer_one_not_at_all() {
    LazyLock::force(&TOKENIZER);
    for source in [
        "x".repeat(1 << 20),
        "{% if x %}a{% endif %}".repeat(47_000),
        "{{ x }}".repeat(140_000),
    ] {
        budget::within_budget(|| outcome(source)).expect("long, but harmless");
    }
    refused("x".repeat((1 << 20) + 1), "bytes");
}

#[test]
fn loops_without_end_are_refused() {
    for source in [
        "{% for i in range(10**9) %}{{ i }}{% endfor %}",
        "{% for i in range(1000000000) %}{% endfor %}",
    ] {
        refused(source.to_owned(), "range has too many elements");
    }
}

#[test]
fn values_of_absurd_size_are_refused() {
    for (source, subject) in [
        ("{{ 'x' * 1000000000 }}", "too large"),
        ("{{ ([1] * 1000000000)|length }}", "too large"),
        ("{{ 10**1000000000 }}", "unable to calculate"),
        ("{{ 'x'.center(1000000000) }}", "center"),
    ] {
        refused(source.to_owned(), subject);
    }
}

#[test]
fn recursion_ends() {
    for source in [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    ] {
        refused(source.to_owned(), "recursion limit exceeded");
    }
    refused("{% include 'chat' %}".to_owned(), "include");
    refused("{% extends 'chat' %}".to_owned(), "cycle");
    for source in [
        format!("{{{{ {} }}}}", nested("(", "1", ")", 300_000)),
        format!("{{{{ {} }}}}", nested("[", "1", "]", 300_000)),
        nested("{% if 1 %}", "x", "{% endif %}", 40_000),
        nested("{% for a in [1] %}", "x", "{% endfor %}", 30_000),
    ] {
        refused(source, "recursion limits");
    }
}
