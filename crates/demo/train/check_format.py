"""Compares the renderer and the tokenizer with the product's.

`python check_format.py --url http://127.0.0.1:8080` asks a running `perigee serve --demo` for the
prompts of some hundred generated conversations and compares the texts, and, when the server's
model has this vocabulary, the token ids.
"""

import argparse
import json
import random
import urllib.request

from chat_format import plain, prompt
from conversations import chat_for
from generate import MIX
from tokenizer import Tokenizer


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def as_request(conversation, messages):
    """The conversation as an OpenAI client sends it: arguments as text."""
    sent = json.loads(json.dumps(messages))
    for message in sent:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    body = {"messages": sent, "chat_template_kwargs": {"thinking": conversation["thinking"]}}
    if conversation["tools"]:
        body["tools"] = conversation["tools"]
    return body


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, default=300)
    args = parser.parse_args()
    tokenizer = Tokenizer()
    kinds = [k for k in MIX[3] if k not in ("plain", "spans")]
    same, same_ids, with_tools, with_calls, thinking, longest = 0, 0, 0, 0, 0, 0
    for i in range(args.count):
        rng = random.Random(i)
        conversation = chat_for(rng, kinds[i % len(kinds)], rng.choice((1, 2, 3)), held=i % 4 == 0).finish()
        messages = conversation["messages"]
        # A request ends with the user or with a result.
        last = rng.choice([k for k, m in enumerate(messages) if m["role"] == "assistant"])
        messages = messages[:last]
        segments = prompt(conversation, messages)
        answer = post(args.url.rstrip("/") + "/apply-template", as_request(conversation, messages))
        if answer["prompt"] != plain(segments):
            print(f"conversation {i} differs:\n{plain(segments)!r}\n{answer['prompt']!r}")
            continue
        same += 1
        same_ids += answer["tokens"] == tokenizer.encode_segments(segments)
        with_tools += bool(conversation["tools"])
        with_calls += any("tool_calls" in m for m in messages)
        thinking += conversation["thinking"]
        longest = max(longest, len(messages))
    print(f"{same} of {args.count} prompts have the same text, {same_ids} the same ids "
          f"({with_tools} with tools, {with_calls} with earlier calls, {thinking} thinking, up to {longest} messages)")
    raise SystemExit(same != args.count)


if __name__ == "__main__":
    main()
