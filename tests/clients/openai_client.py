"""Drives a scripted server with the `openai` package as an agent does.

usage: openai_client.py BASE_URL
Prints one line a check, then "all passed"; any failed assertion ends it.
"""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0, timeout=60)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
HELLO = "Hello, world! Grüße, 世界 👩‍💻."


def ask(text, **options):
    return client.chat.completions.create(model="any", messages=[{"role": "user", "content": text}], **options)


def text():
    answer = ask("Say hello")
    assert answer.choices[0].message.content == HELLO, answer
    assert answer.choices[0].message.reasoning_content == "Greet.", answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def stream():
    content, reasoning, usage = "", "", None
    for chunk in ask("Say hello", stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
        usage = chunk.usage or usage
    assert (content, reasoning) == (HELLO, "Greet."), (content, reasoning)
    assert usage.completion_tokens > 0


def tools_loop():
    messages = [{"role": "user", "content": "Weather in Oslo?"}]
    answer = client.chat.completions.create(model="any", messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls", answer
    call = answer.choices[0].message.tool_calls[0]
    assert (call.id, call.function.name) == ("functions.get_weather:0", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    messages.append(answer.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "-3 C"})
    answer = client.chat.completions.create(model="any", messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content == "It is -3 °C in Oslo.", answer


def renamed_ids():
    """A client that renames call ids still gets its answer: the server renames them back."""
    messages = [
        {"role": "user", "content": "Weather in Oslo?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "-3 C"},
    ]
    answer = client.chat.completions.create(model="any", messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content == "It is -3 °C in Oslo.", answer


def parallel_calls():
    answer = ask("Weather in Oslo and Rome?", tools=TOOLS)
    cities = [json.loads(call.function.arguments)["city"] for call in answer.choices[0].message.tool_calls]
    assert cities == ["Oslo", "Rome"], answer
    one = ask("Weather in Oslo and Rome?", tools=TOOLS, parallel_tool_calls=False)
    assert len(one.choices[0].message.tool_calls) == 1, one


def streamed_calls():
    calls = {}
    for chunk in ask("Weather in Oslo and Rome?", tools=TOOLS, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            call = calls.setdefault(delta.index, {"name": "", "arguments": ""})
            call["name"] += delta.function.name or ""
            call["arguments"] += delta.function.arguments or ""
    assert [calls[i]["name"] for i in (0, 1)] == ["get_weather"] * 2, calls
    assert [json.loads(calls[i]["arguments"])["city"] for i in (0, 1)] == ["Oslo", "Rome"], calls


def no_thinking():
    answer = ask("Answer at once", extra_body={"chat_template_kwargs": {"thinking": False}})
    assert answer.choices[0].message.content == "At once.", answer


def several_choices():
    answer = ask("Say hello", n=3)
    assert [choice.message.content for choice in answer.choices] == [HELLO] * 3, answer


def errors():
    try:
        client.chat.completions.create(model="any", messages=[{"role": "robot", "content": "x"}])
    except openai.BadRequestError as error:
        assert error.body["param"] == "messages[0].role", error.body
    else:
        raise AssertionError("a robot was accepted")
    try:
        client.models.retrieve("nothing")
    except openai.NotFoundError:
        pass
    else:
        raise AssertionError("a model was invented")


for check in (
    text,
    stream,
    tools_loop,
    renamed_ids,
    parallel_calls,
    streamed_calls,
    no_thinking,
    several_choices,
    errors,
):
    check()
    print("ok", check.__name__)
print("all passed")
