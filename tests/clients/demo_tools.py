"""Lets the demonstration model use tools through the `openai` package, as an agent does.

usage: demo_tools.py BASE_URL
Prints one line a check, then "all passed"; any failed assertion ends it.
"""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=60)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name."}},
            "required": ["city"],
        },
    },
}
TIMER = {
    "type": "function",
    "function": {
        "name": "set_timer",
        "description": "Set a timer.",
        "parameters": {
            "type": "object",
            "properties": {"minutes": {"type": "integer", "description": "Minutes."}},
            "required": ["minutes"],
        },
    },
}


def ask(messages, **options):
    """An answer without thinking, at temperature 0."""
    off = {"chat_template_kwargs": {"thinking": False}}
    return client.chat.completions.create(
        model="perigee-demo", messages=messages, tools=[WEATHER, TIMER], temperature=0, extra_body=off, **options
    )


def calls(message):
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]


def loop():
    messages = [{"role": "user", "content": "What is the weather in Oslo?"}]
    first = ask(messages).choices[0]
    assert first.finish_reason == "tool_calls", first
    assert calls(first.message) == [("get_weather", {"city": "Oslo"})], first
    messages.append(first.message.model_dump(exclude_none=True))
    result = json.dumps({"temperature": 12, "sky": "cloudy"})
    messages.append({"role": "tool", "tool_call_id": first.message.tool_calls[0].id, "content": result})
    second = ask(messages).choices[0]
    assert second.message.content == "It is 12 degrees and cloudy in Oslo.", second


def right_tool():
    message = ask([{"role": "user", "content": "Set a timer for 7 minutes."}]).choices[0].message
    assert calls(message) == [("set_timer", {"minutes": 7})], message


def two_calls():
    message = ask([{"role": "user", "content": "What is the weather in Oslo and Paris?"}]).choices[0].message
    assert calls(message) == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Paris"})], message


def streamed():
    parts = {"name": "", "arguments": ""}
    for chunk in ask([{"role": "user", "content": "What is the weather in Oslo?"}], stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            parts["name"] += delta.function.name or ""
            parts["arguments"] += delta.function.arguments or ""
    assert parts["name"] == "get_weather", parts
    assert json.loads(parts["arguments"]) == {"city": "Oslo"}, parts


def no_tool():
    message = ask([{"role": "user", "content": "What is the capital of France?"}]).choices[0].message
    assert message.content == "The capital of France is Paris." and not message.tool_calls, message


for check in (loop, right_tool, two_calls, streamed, no_tool):
    check()
    print("ok", check.__name__)
print("all passed")
