use serde_json::json;

use super::*;

fn tool(function: Value) -> Tool {
    let name = function["name"].as_str().unwrap().to_owned();
    Tool {
        name,
        declaration: json!({"type": "function", "function": function}),
    }
}

fn check_type(schema: Value, expected: &str) {
    let tools = [tool(
        json!({"name": "f", "parameters": {"type": "object", "properties": {"x": schema}, "required": ["x"]}}),
    )];
    let text = declare(&tools, ToolsFormat::Auto);
    let expected = format!(
        "# Tools\n\n## functions\nnamespace functions {{\ntype f = (_: {{\n{expected}\n}}) => any;\n}}\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn the_worked_example_of_the_vendors_encoder() {
    let parameters = json!({"type": "object", "required": ["city"], "properties": {
        "unit": {"type": "string", "enum": ["c", "f"], "description": "Unit", "default": "c"},
        "city": {"type": "string", "minLength": 1},
        "days": {"type": ["integer", "null"]},
        "tags": {"type": "array", "maxItems": 3, "items": {"type": "string", "description": "t"}},
        "opt": {"type": "object", "properties": {"a": {"type": "boolean"}}, "additionalProperties": false},
    }});
    let tools = [
        tool(
            json!({"name": "get_weather", "description": "Get weather.\nLine two.", "parameters": parameters}),
        ),
        tool(json!({"name": "noargs", "parameters": {"type": "object", "properties": {}}})),
    ];
    let expected = r#"# Tools

## functions
namespace functions {
// Get weather.
// Line two.
type get_weather = (_: {
  // minLength: 1
  city: string,
  days?: number | null,
  opt?: {
    a?: boolean,
    [k: string]: never
  },
  // maxItems: 3
  tags?: Array<
    // t
    string
  >,
  // Unit
  // Default: "c"
  unit?: "c" | "f"
}) => any;
type noargs = (_: {}) => any;
}
"#;
    assert_eq!(declare(&tools, ToolsFormat::Auto), expected);
}

#[test]
fn each_kind_of_schema_has_its_type() {
    check_type(
        json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "  x: string | null",
    );
    check_type(json!({}), "  x: any");
    check_type(
        json!({"type": "string", "const": "a", "description": "d"}),
        "  // d\n  x: string",
    );
    check_type(json!({"type": "uri"}), "  x: uri");
    check_type(
        json!({"type": "boolean", "default": true}),
        "  // Default: True\n  x: boolean",
    );
    check_type(
        json!({"type": "string", "enum": ["a\"b"], "minLength": 1}),
        "  x: \"a\"b\"",
    );
    check_type(json!(true), "  x: any");
    check_type(json!({"type": "array"}), "  x: Array<any>");
    check_type(json!({"type": ["array", "object"]}), "  x: Array<any> | {}");
    check_type(
        json!({"type": "number", "minimum": 0, "maximum": 1.5, "default": 1}),
        "  // maximum: 1.5, minimum: 0\n  // Default: 1\n  x: number",
    );
    check_type(
        json!({"enum": [1, "a", null, true]}),
        "  x: 1 | \"a\" | None | True",
    );
    check_type(
        json!({"type": "object", "additionalProperties": {"type": "integer"}}),
        "  x: {\n    [k: string]: number\n  }",
    );
    check_type(json!({"type": "string", "default": null}), "  x: string");
}

#[test]
fn definitions_become_interfaces() {
    let parameters = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/Point"}},
        "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}}});
    let text = declare(
        &[tool(json!({"name": "f", "parameters": parameters}))],
        ToolsFormat::Auto,
    );
    assert!(
        text.contains("interface Point {\n  x: number\n}\ntype f = (_: {\n  p?: Point\n}) => any;"),
        "{text}"
    );
    let own = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
    let text = declare(
        &[tool(json!({"name": "f", "parameters": own}))],
        ToolsFormat::Auto,
    );
    assert!(
        text.contains(
            "interface parameters {\n  child?: parameters\n}\ntype f = (_: parameters) => any;"
        ),
        "{text}"
    );
}

#[test]
fn one_schema_without_a_type_sends_all_tools_to_sorted_json() {
    for schema in [
        json!({"oneOf": [{"type": "string"}]}),
        json!({"const": 1}),
        json!({"$ref": "#/definitions/X"}),
        json!({"$ref": "#/$defs/Nowhere"}),
        json!({"type": ["string", "whatever"]}),
        json!({"type": "integer", "enum": ["a"]}),
        json!({"description": "only"}),
        json!({"minimum": 3}),
        json!({"type": "array", "items": [{"type": "string"}]}),
    ] {
        let bad =
            json!({"name": "bad", "parameters": {"type": "object", "properties": {"x": schema}}});
        let tools = [tool(json!({"name": "good"})), tool(bad)];
        let text = declare(&tools, ToolsFormat::Auto);
        assert!(text.starts_with(r#"[{"function":{"name":"good"},"type":"function"},{"function":{"name":"bad","parameters""#), "{text}");
    }
}

#[test]
fn json_keeps_the_clients_order() {
    let text = declare(
        &[tool(json!({"name": "é", "description": "d"}))],
        ToolsFormat::Json,
    );
    assert_eq!(
        text,
        r#"[{"type":"function","function":{"name":"é","description":"d"}}]"#
    );
}

#[test]
fn a_schema_of_any_depth_ends() {
    let mut schema = json!({"type": "string"});
    for _ in 0..100 {
        schema = json!({"type": "array", "items": schema});
    }
    let bomb = json!({"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}});
    assert!(declare(&[tool(bomb)], ToolsFormat::Auto).starts_with('['));
}
