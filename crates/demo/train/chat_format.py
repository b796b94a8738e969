"""Conversations as the text that the product makes of them.

A conversation is a dict:
    tools     list of OpenAI tool declarations ({"type": "function", "function": {...}}), may be empty
    messages  OpenAI messages; assistant messages may have "reasoning_content" and "tool_calls",
              whose "arguments" are objects here
    thinking  whether the model thinks before it answers

`segments` gives the control tokens and texts of the whole conversation, each with the part that
it belongs to; `prompt` gives those of a request that ends with the header of the answer.
"""

import json

# Parts of a conversation, by which the training loss is weighted.
HEADER, DECLARATION, SYSTEM, USER, RESULT, ASSISTANT = range(6)


class Control(str):
    """The name of a control token, as opposed to text that merely looks like one."""


def _python_text(value):
    """A value as Python's `str` writes it."""
    if isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _comment(text, pad):
    lines = []
    if text:
        for line in text.split("\n"):
            lines.append(f"{pad}// {line}\n" if line else "\n")
    return "".join(lines)


_CONSTRAINTS = {
    "string": ("maxLength", "minLength", "pattern"),
    "integer": ("maximum", "minimum"),
    "number": ("maximum", "minimum"),
    "array": ("maxItems", "minItems"),
}


def _type(schema, pad):
    if "enum" in schema:
        return " | ".join(f'"{v}"' if isinstance(v, str) else _python_text(v) for v in schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, pad)
    if kind == "array":
        return f"Array<{_type(schema['items'], pad)}>" if "items" in schema else "Array<any>"
    return "number" if kind == "integer" else kind


def _object(schema, pad):
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if not properties:
        return "{}"
    inner = pad + "  "
    fields = []
    for name in sorted(properties, key=lambda name: (name not in required, name)):
        field = properties[name]
        text = _comment(field.get("description"), inner)
        if "enum" not in field:
            keys = _CONSTRAINTS.get(field.get("type"), ())
            text += _comment(", ".join(f"{k}: {_python_text(field[k])}" for k in keys if k in field), inner)
        if field.get("default") is not None:
            default = field["default"]
            text += _comment("Default: " + (json.dumps(default, ensure_ascii=False) if isinstance(default, str) else _python_text(default)), inner)
        mark = "" if name in required else "?"
        fields.append(f"{text}{inner}{name}{mark}: {_type(field, inner)}")
    return "{\n" + ",\n".join(fields) + "\n" + pad + "}"


def declaration(tools):
    """The TypeScript text of a list of tools (the subset of JSON Schema that the data uses)."""
    types = []
    for tool in tools:
        function = tool["function"]
        head = _comment(function.get("description"), "")
        body = _object(function.get("parameters", {}), "")
        types.append(f"{head}type {function['name']} = (_: {body}) => any;")
    return "# Tools\n\n## functions\nnamespace functions {\n" + "\n".join(types) + "\n}\n"


def arguments_text(arguments):
    """Arguments as the model writes them: Python's default separators, nothing escaped."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


_ROLE_TOKEN = {"user": "<|im_user|>", "assistant": "<|im_assistant|>"}
_ROLE_PART = {"user": USER, "tool": RESULT}


def segments(conversation, messages=None):
    """List of (Control or str, part, is_target); targets are what the model itself writes.

    What the prompt supplies is no target: headers, `<think>`, and `</think>` right after it.
    """
    out = []
    tools = conversation.get("tools")
    if tools:
        out.append((Control("<|im_system|>"), HEADER, False))
        out.append(("tool_declare", HEADER, False))
        out.append((Control("<|im_middle|>"), HEADER, False))
        out.append((declaration(tools), DECLARATION, False))
        out.append((Control("<|im_end|>"), HEADER, False))
    thinking = conversation.get("thinking", True)
    calls = 0
    ids = {}
    for message in conversation["messages"] if messages is None else messages:
        role = message["role"]
        out.append((Control(_ROLE_TOKEN.get(role, "<|im_system|>")), HEADER, False))
        out.append((role, HEADER, False))
        out.append((Control("<|im_middle|>"), HEADER, False))
        content = message.get("content") or ""
        if role != "assistant":
            if role == "tool":
                given = message["tool_call_id"]
                content = f"## Return of {ids.get(given, given)}\n{content}"
            if content:
                out.append((content, _ROLE_PART.get(role, SYSTEM), False))
            out.append((Control("<|im_end|>"), HEADER, False))
            continue
        reasoning = (message.get("reasoning_content") or "") if thinking else ""
        out.append((Control("<think>"), HEADER, False))
        if reasoning:
            out.append((reasoning, ASSISTANT, True))
        out.append((Control("</think>"), ASSISTANT, bool(reasoning)))
        if content:
            out.append((content, ASSISTANT, True))
        if message.get("tool_calls"):
            out.append((Control("<|tool_calls_section_begin|>"), ASSISTANT, True))
            for call in message["tool_calls"]:
                function = call["function"]
                new_id = f"functions.{function['name']}:{calls}"
                calls += 1
                ids[call["id"]] = new_id
                out.append((Control("<|tool_call_begin|>"), ASSISTANT, True))
                out.append((new_id, ASSISTANT, True))
                out.append((Control("<|tool_call_argument_begin|>"), ASSISTANT, True))
                out.append((arguments_text(function["arguments"]), ASSISTANT, True))
                out.append((Control("<|tool_call_end|>"), ASSISTANT, True))
            out.append((Control("<|tool_calls_section_end|>"), ASSISTANT, True))
        out.append((Control("<|im_end|>"), ASSISTANT, True))
    return out


def prompt(conversation, messages=None):
    """Controls and texts of a request: `messages` (all by default) and the header of the answer."""
    out = [text for text, _, _ in segments(conversation, messages)]
    out += [Control("<|im_assistant|>"), "assistant", Control("<|im_middle|>"), Control("<think>")]
    if not conversation.get("thinking", True):
        out.append(Control("</think>"))
    return out


def plain(parts):
    """Controls and texts spelled out."""
    return "".join(parts)
