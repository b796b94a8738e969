//! Templates made to exhaust their reader: CVE-2024-34359 and its kin. A template comes with a
//! model file and is a program from a stranger.

#[path = "../../testkit/tests/budget/mod.rs"]
mod budget;
#[path = "golden/vocabulary.rs"]
mod vocabulary;

use std::sync::LazyLock;

use perigee_chat::{ChatFormat, Conversation, Message, RenderOptions, Role, TemplateChoice};
use perigee_tokenizer::{Segment, Tokenizer};
use serde_json::Map;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(vocabulary::kimi);

/// A quarter of what a thread gets unless it asks, on every platform.
const STACK: usize = 512 << 10;

/// Compiles and renders a template; the prompt's segments or the error.
fn outcome(source: String) -> Result<Vec<Segment>, String> {
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
    Ok(rendered.segments)
}

/// What comes of a template within memory, time and a small stack.
fn bounded(source: impl Into<String>) -> Result<Vec<Segment>, String> {
    LazyLock::force(&TOKENIZER);
    let source = source.into();
    let thread = std::thread::Builder::new().stack_size(STACK);
    let work = thread.spawn(|| budget::within_budget(|| outcome(source)));
    work.expect("a thread")
        .join()
        .expect("within memory and time")
}

/// The template must end with an error that says `subject`, within bounds.
fn refused(source: impl Into<String>, subject: &str) {
    let error = bounded(source).expect_err("a bomb must not be a prompt");
    assert!(error.contains(subject), "{error}");
    assert!(error.lines().count() == 1 && error.len() < 2000, "{error}");
}

/// The template must render to `text`, within bounds.
fn renders(source: impl Into<String>, text: &str) {
    assert_eq!(bounded(source), Ok(vec![Segment::Text(text.to_owned())]));
}

/// A template that sets `ns.x` to `first`, then `times` times to `next`, then does `last`.
fn repeated(first: &str, times: usize, next: &str, last: &str) -> String {
    format!(
        "{{% set ns = namespace(x={first}) %}}\
         {{% for i in range({times}) %}}{{% set ns.x = {next} %}}{{% endfor %}}{last}"
    )
}

/// A template whose `big` has a million characters, then `rest`.
fn with_a_million(rest: &str) -> String {
    let thousand = "x".repeat(1000);
    format!("{{% set big = '{thousand}'|replace('x', '{thousand}') %}}{rest}")
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
        refused(source, subject);
    }
}

#[test]
fn a_template_of_256_kib_is_read_in_bounds_and_a_longer_one_not_at_all() {
    for source in [
        "x".repeat(256 << 10),
        "{% if x %}a{% endif %}".repeat(11_900),
        "{{ x }}".repeat(37_400),
    ] {
        bounded(source).expect("long, but harmless");
    }
    refused("x".repeat((256 << 10) + 1), "tokenizer.chat_template");
    refused("x".repeat(1 << 20), "tokenizer.chat_template");
}

#[test]
fn chains_within_a_tag_are_refused_by_their_length() {
    for (before, link, after, most) in [
        ("", "-", "1", 250),
        ("", "not ", "1", 250),
        ("1", "+1", "", 250),
        ("1", "~1", "", 250),
        ("'x'", "|upper", "", 250),
        ("x", ".a", "", 250),
        ("x", "()", "", 250),
        ("x", "[0]", "", 250),
        ("1", " if 1 else 1", "", 120),
        ("1", " and 1", "", 250),
    ] {
        let chain = |n: usize| format!("{{{{ {before}{}{after} }}}}", link.repeat(n));
        refused(chain(260), "more than 256 operators");
        refused(chain((250 << 10) / link.len()), "more than");
        // What is short enough may fail, but not by the stack.
        let _ = bounded(chain(most));
    }
    let text = format!("{{{{ '{}' }}}}", "x".repeat(17_000));
    refused(text, "more than 16384 bytes");
    let chain = |n: usize| format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}b".repeat(n));
    refused(chain(18_000), "more than 128 elif");
    bounded(chain(128)).expect("long, but harmless");
}

#[test]
fn texts_that_double_are_refused() {
    let text = "'xxxxxxxxxxxxxxxx'";
    for next in [
        "ns.x ~ ns.x",
        "ns.x + ns.x",
        "ns.x * 2",
        "[ns.x, ns.x]|join",
        "ns.x|replace('x', 'xxxxxxxxxxxxxxxx')",
        "ns.x.replace('x', 'xxxxxxxxxxxxxxxx')",
        "''.join([ns.x, ns.x])",
        "'%s%s'|format(ns.x, ns.x)",
        "'{0}{0}'.format(ns.x)",
        "ns.x|tojson",
    ] {
        refused(
            repeated(text, 60, next, "{{ ns.x|length }}"),
            "too much text",
        );
    }
    refused(
        "{% set ns = namespace(x='xx') %}{% for i in range(60) %}\
         {% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
        "too much text",
    );
    refused(repeated("[1]", 60, "ns.x + ns.x", ""), "too much text");
    refused(repeated("'x'", 100_000, "ns.x ~ 'x'", ""), "too much text");
}

#[test]
fn widths_and_separators_are_paid_for() {
    for (source, subject) in [
        ("{{ '%1000000000d'|format(1) }}", "too much text"),
        ("{{ '%.1000000000f'|format(1.0) }}", "too much text"),
        ("{{ '{:1000000000}'.format('x') }}", "too much text"),
        ("{{ 'x\ny'|indent(1000000000) }}", "indents too far"),
        ("{{ 'x\ny'|indent(width=1000000000) }}", "indents too far"),
        (
            "{{ ['x\ny']|map('indent', 1000000000)|list }}",
            "indents too far",
        ),
        ("{{ [1]|tojson(indent=1000000000) }}", "indents too far"),
        ("{{ [1]|batch(1000000000, 'x')|length }}", "too much text"),
        ("{{ [1]|slice(1000000000, 'x')|length }}", "too much text"),
        ("{% set n = 1000000000 %}{{ 'x' * n }}", "too much text"),
        (
            "{% set n = 100000000 %}{{ ([1] * n)|length }}",
            "too much text",
        ),
    ] {
        refused(source, subject);
    }
    for rest in [
        "{{ (range(100000)|list)|join(big)|length }}",
        "{{ big.join(range(100000)|list)|length }}",
        "{{ range(100)|list|tojson(separators=[big, ':'])|length }}",
        "{{ big|list|length }}",
        "{{ big|split('x')|length }}",
        "{{ big.split('x')|length }}",
        "{% for c in big %}{% endfor %}",
        "{% for x in [1] recursive %}{% set again = loop %}{{ again(big) }}{% endfor %}",
    ] {
        refused(with_a_million(rest), "too much text");
    }
}

#[test]
fn output_without_end_is_refused() {
    let line = "y".repeat(10_000);
    let body = |body: &str| {
        format!(
            "{{% for a in range(10000) %}}{{% for b in range(10000) %}}{body}{{% endfor %}}{{% endfor %}}"
        )
    };
    refused(body(&line), "too much text");
    bounded(body("{{ a * b }}")).expect_err("no prompt");
    refused(body(&"<|im_end|>".repeat(20)), "too much text");
    refused(body(&"<|r".repeat(100)), "too much text");
    refused(
        format!("{{% set x %}}{}{{% endset %}}", body(&line)),
        "too much text",
    );
    let blank = format!("{{% set x %}}{}{{% endset %}}", body(&"\n ".repeat(10_000)));
    refused(blank, "too much text");
    let called = format!(
        "{{% macro m() %}}{line}{{% endmacro %}}{}",
        body("{{ m() }}")
    );
    refused(called, "too much text");
    refused(
        body("{% macro m() %}{{ a }}{% endmacro %}"),
        "too much text",
    );
}

#[test]
fn output_just_within_its_bounds_is_split_in_bounds() {
    for piece in ["<|im_end|>", "[BOS]", "<|r", "<", "[", "é", "\u{100000}"] {
        // Two million bytes, a little less than what there may be.
        let times = 2000 / piece.len();
        let piece = piece.repeat(1000);
        let source = format!("{{% for a in range({times}) %}}{piece}{{% endfor %}}");
        bounded(source).expect("long, but harmless");
    }
}

#[test]
fn values_within_values_end() {
    for next in [
        "[ns.x]",
        "(ns.x,)",
        "{'a': ns.x}",
        "dict(a=ns.x)",
        "ns.x|batch(1)",
        "{'a': ns.x}.items()|list",
    ] {
        for last in ["{{ ns.x }}", "{{ ns.x|tojson }}", "{{ ns.x == 1 }}"] {
            refused(repeated("[1]", 10_000, next, last), "too deep");
        }
    }
    // The deepest that there may be, used in all ways, deep in calls.
    for last in [
        "{{ ns.x }}",
        "{{ ns.x|tojson(indent=4)|length }}",
        "{{ ns.x|pprint|length }}",
        "{{ ns.x == [ns.x] }}",
        "{{ [ns.x, ns.x]|unique|length }}",
        "{{ [ns.x, [ns.x]]|sort|length }}",
        "{% set ns.x = 1 %}",
    ] {
        let call = format!(
            "{{% macro m(n, ns) %}}{{% if n %}}{{{{ m(n - 1, ns) }}}}{{% else %}}{last}\
             {{% endif %}}{{% endmacro %}}{{{{ m(18, ns) }}}}"
        );
        bounded(repeated("[]", 188, "[ns.x]", &call)).expect("deep, but harmless");
    }
    // Lazy values that refer to lazy values.
    for next in ["ns.x[0:]", "ns.x|reverse", "ns.x + [1]", "ns.x|map('int')"] {
        refused(
            repeated("[1, 2]", 100_000, next, "{{ ns.x }}"),
            "too much text",
        );
    }
}

#[test]
fn values_that_contain_themselves_are_refused() {
    for (value, subject) in [
        ("ns", "keeps a namespace"),
        ("[ns]", "keeps a namespace"),
        ("{'a': ns}", "keeps a namespace"),
        ("dict(a=ns)", "too deep"),
        ("namespace(a=ns)", "keeps a namespace"),
    ] {
        refused(repeated("1", 1, value, "{{ ns }}"), subject);
    }
    refused(
        "{% set ns = namespace() %}{% for a in [1] %}{% set ns.x = loop %}{{ ns }}{% endfor %}",
        "keeps a namespace",
    );
}

#[test]
fn work_that_fuel_does_not_count_is_counted() {
    refused(
        repeated("[1]", 60, "[ns.x, ns.x]", "{{ ns.x == ns.x }}"),
        "too many items",
    );
    for rest in [
        "{% for i in range(100000) %}{% if big == big ~ '' %}{% endif %}{% endfor %}",
        "{% for i in range(100000) %}{{ big[-1] }}{% endfor %}",
        "{% for i in range(100000) %}{% set y = big|length %}{% endfor %}",
        "{% for i in range(100000) %}{% if 'y' in big %}{% endif %}{% endfor %}",
        "{% for i in range(100000) %}{% if big is lower %}{% endif %}{% endfor %}",
        "{% for i in range(100000) %}{% set y = big.find('y') %}{% endfor %}",
        "{% for i in range(100000) %}{% set y = loop.changed(big) %}{% endfor %}",
        "{{ big.strip(big) }}",
    ] {
        refused(with_a_million(rest), "too");
    }
    let lists = repeated(
        "[1]",
        14,
        "[ns.x, ns.x]",
        "{% for i in range(100000) %}{% if ns.x == [ns.x] %}{% endif %}{% endfor %}",
    );
    refused(lists, "takes too long");
    refused(
        "{{ (range(10000)|list)|select('in', range(10000)|list)|list }}",
        "takes too long",
    );
    refused("{{ range(100000)|list|unique|length }}", "too much text");
}

#[test]
fn all_the_fuel_burns_in_time() {
    for step in [
        "",
        "{% if a == b %}{% endif %}",
        "{% set x = a * b %}",
        "{% set x = 'abc'.strip() %}",
        "{% set x = 'abc'|trim %}",
        "{% set x = m(a) %}",
        "{% set x = m(x=a) %}",
        "{% set x = messages[0:1] %}",
        "{% set x = messages[0]['role'] %}",
        "{% set x = {'a': 1, 'b': [b]} %}",
        "{% set x = a is eq(b) %}",
        "{{ self.z() }}",
    ] {
        let source = format!(
            "{{% macro m(x) %}}{{% endmacro %}}{{% block z %}}{{% endblock %}}\
             {{% for a in range(10000) %}}{{% for b in range(10000) %}}{step}\
             {{% endfor %}}{{% endfor %}}"
        );
        bounded(source).expect_err("a loop without end");
    }
}

#[test]
fn what_would_make_the_interpreter_fail_is_an_error_or_right() {
    refused(
        "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}",
        "loop.cycle",
    );
    refused("{{ range(*[1]) }}", "unpacked");
    refused("{{ debug() }}", "debug is unknown");
    renders(
        "{% set a = [1, 2, 3] %}{% set no = [] %}\
         {{ a[::-1] }}{{ no[::-1] }}{{ a[0:2:-1] }}{{ a[:1][::-1] }}{{ ''[::-1] }}",
        "[3, 2, 1][][][1]",
    );
    renders("{{ 'abc'[::-9223372036854775807] }}", "c");
    renders("{% set a = 'abc' %}{{ a[1:9223372036854775807] }}", "bc");
    let raised = with_a_million("{{ raise_exception(big) }}");
    refused(raised, "xxx");
}

#[test]
fn what_templates_do_every_day_is_as_it_was() {
    renders(
        "{% set n = 3 %}{{ [1] * n }} {{ 'ab' * n }} {{ '=' * 20 }} {{ n * 2.5 }} {{ n * n }}",
        "[1, 1, 1] ababab ==================== 7.5 9",
    );
    renders(
        "{{ ['a', 'b']|join(', ') }} {{ ', '.join(['a', 'b']) }} \
         {{ [{'a': 1}]|join(',', attribute='a') }} {{ 'abc'|join('-') }}",
        "a, b a, b 1 a-b-c",
    );
    renders(
        "{{ '%5.1f|%s'|format(1.25, 'x') }} {{ '{:>4}'.format('x') }} {{ 'a\nb'|indent(2) }}",
        "  1.2|x    x a\n  b",
    );
    renders(
        "{%- macro m(x, ns=none) -%}{% set ns.seen = x %}<{{ x }}>{%- endmacro -%}\
         {% set ns = namespace(seen=0) %}{{ m('y', ns=ns) }}{{ ns.seen }}\
         {{ dict(a=1)|tojson }}{{ {'a': [1, 2]}|tojson(indent=2) }}",
        "<y>y{\"a\": 1}{\n  \"a\": [\n    1,\n    2\n  ]\n}",
    );
    renders(
        "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m['content'] }}{% endfor %}\
         {{ messages[-1:][0].content|upper }}{{ messages|map(attribute='role')|list }}\
         {{ messages|selectattr('role', 'equalto', 'user')|list|length }}",
        "1HelloHELLO['user']1",
    );
}

#[test]
fn loops_without_end_are_refused() {
    for source in [
        "{% for i in range(10**9) %}{{ i }}{% endfor %}",
        "{% for i in range(1000000000) %}{% endfor %}",
    ] {
        refused(source, "range has too many elements");
    }
}

#[test]
fn values_of_absurd_size_are_refused() {
    for (source, subject) in [
        ("{{ 'x' * 1000000000 }}", "constant that is too large"),
        (
            "{{ ([1] * 1000000000)|length }}",
            "constant that is too large",
        ),
        (
            "{{ ('x' * 9999) * (9999 * 9) }}",
            "constant that is too large",
        ),
        ("{{ 10**1000000000 }}", "unable to calculate"),
        ("{{ 'x'.center(1000000000) }}", "center"),
    ] {
        refused(source, subject);
    }
}

#[test]
fn recursion_ends() {
    for source in [
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    ] {
        refused(source, "recursion limit exceeded");
    }
    refused("{% include 'chat' %}", "template not found");
    refused("{% extends 'chat' %}", "template not found");
    for source in [
        format!("{{{{ {} }}}}", nested("(", "1", ")", 250)),
        format!("{{{{ {} }}}}", nested("[", "1", "]", 250)),
        nested("{% if 1 %}", "x", "{% endif %}", 12_000),
        nested("{% for a in [1] %}", "x", "{% endfor %}", 8_000),
    ] {
        refused(source, "recursion limits");
    }
}
