"""Scores a model on heldout.jsonl, always with the most likely token.

    python evaluate.py --checkpoint weights.pt              the network of model.py
    python evaluate.py --url http://127.0.0.1:8080/v1       a running server

A request counts when the answer is exactly the expected one: the same text, or the same calls in
the same order with equal arguments and no text beside them. Prints a Markdown table; with `--check` a
category below its bound makes the exit status 1.
"""

import argparse
import json
import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chat_format import plain, prompt
from tokenizer import Tokenizer

HERE = Path(__file__).parent
MAX_NEW = 200

# Shares of right answers that a model should reach. The published one does not in all of them.
BOUNDS = {"smalltalk": 0.85, "facts": 0.85, "arithmetic": 0.50, "tool_one": 0.85, "tool_two": 0.65, "after_result": 0.85, "no_tool": 0.90,
          "multi_turn": 0.70}


def parse(text):
    """The reply of a model as text: content and calls, as the server tells them."""
    text = text.split("<|im_end|>")[0].split("[EOS]")[0]
    # Everything up to the end of the block is reasoning, which does not count.
    text = text.rsplit("</think>", 1)[-1]
    content, _, section = text.partition("<|tool_calls_section_begin|>")
    calls = []
    for call in section.split("<|tool_call_begin|>")[1:]:
        head, _, arguments = call.partition("<|tool_call_argument_begin|>")
        name = head.strip().removeprefix("functions.").rsplit(":", 1)[0]
        arguments = arguments.split("<|tool_call_end|>")[0]
        try:
            calls.append({"name": name, "arguments": json.loads(arguments)})
        except ValueError:
            calls.append({"name": name, "arguments": arguments})
    return content.strip(), calls


def right(expected, content, calls):
    if "calls" in expected:
        return content == "" and calls == expected["calls"]
    return calls == [] and content == expected["content"]


class Network:
    """The model as PyTorch computes it."""

    def __init__(self, checkpoint, batch):
        import torch

        import model

        torch.set_num_threads(2)
        self.model = model.load(checkpoint)
        self.tokenizer = Tokenizer()
        self.batch = batch
        names = self.tokenizer.names
        self.stop = {names["<|im_end|>"], names["[EOS]"], names["[EOT]"]}

    def answers(self, requests):
        prompts = [self.tokenizer.encode_segments(prompt(r)) for r in requests]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        replies = [None] * len(prompts)
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            for row, ids in zip(rows, self.model.generate_batch([prompts[i] for i in rows], MAX_NEW, self.stop)):
                # With thinking on the reply starts inside the reasoning; one that never ends it has said nothing.
                text = self.tokenizer.decode(ids)
                if requests[row]["thinking"] and "</think>" not in text and "<|tool_calls_section_begin|>" not in text:
                    text = ""
                replies[row] = parse(text)
        return replies


class Server:
    """A server of OpenAI's chat completions."""

    def __init__(self, url, model):
        self.url, self.model = url.rstrip("/"), model

    def answer(self, request):
        messages = json.loads(json.dumps(request["messages"]))
        for message in messages:
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": MAX_NEW,
                "chat_template_kwargs": {"thinking": request["thinking"]}}
        if request["tools"]:
            body["tools"] = request["tools"]
        sent = urllib.request.Request(self.url + "/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(sent, timeout=600) as reply:
            message = json.load(reply)["choices"][0]["message"]
        calls = []
        for call in message.get("tool_calls") or ():
            function = call["function"]
            try:
                calls.append({"name": function["name"], "arguments": json.loads(function["arguments"])})
            except ValueError:
                calls.append({"name": function["name"], "arguments": function["arguments"]})
        return (message.get("content") or "").strip(), calls

    def answers(self, requests):
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self.answer, requests))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint")
    parser.add_argument("--url")
    parser.add_argument("--model", default="perigee-demo", help="name sent to the server")
    parser.add_argument("--limit", type=int, help="requests of each category")
    parser.add_argument("--category", help="only this one")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--wrong", type=int, default=0, help="wrong answers to show of each category")
    parser.add_argument("--check", action="store_true", help="fail below a bound")
    args = parser.parse_args()
    if bool(args.checkpoint) == bool(args.url):
        parser.error("one of --checkpoint and --url")
    by_category = defaultdict(list)
    for line in (HERE / "heldout.jsonl").read_text().splitlines():
        request = json.loads(line)
        if args.category in (None, request["category"]):
            by_category[request["category"]].append(request)
    # Evenly spaced ones, so that a quick look sees all sorts.
    chosen = [r for rs in by_category.values() for r in rs[:: max(1, len(rs) // args.limit) if args.limit else 1][: args.limit]]
    backend = Network(args.checkpoint, args.batch) if args.checkpoint else Server(args.url, args.model)
    begin = time.time()
    answers = backend.answers(chosen)
    seconds = time.time() - begin

    results, thinking = defaultdict(list), defaultdict(list)
    shown = defaultdict(int)
    for request, (content, calls) in zip(chosen, answers):
        good = right(request["expected"], content, calls)
        results[request["category"]].append(good)
        thinking[request["category"], request["thinking"]].append(good)
        if not good and shown[request["category"]] < args.wrong:
            shown[request["category"]] += 1
            print(f"{request['id']}: {plain(prompt(request | {'tools': []}))[-300:]!r}\n  expected {request['expected']}\n  got      {content!r} {calls}")
    print("| Category | Requests | Right | With thinking | Without | Bound |\n|---|---:|---:|---:|---:|---:|")
    share = lambda good: f"{sum(good) / len(good):.1%}" if good else "–"
    for category, good in results.items():
        parts = " | ".join(share(thinking[category, t]) for t in (True, False))
        print(f"| `{category}` | {len(good)} | {share(good)} | {parts} | {BOUNDS[category]:.0%} |")
    every = [g for good in results.values() for g in good]
    parts = " | ".join(share([g for (_, t), good in thinking.items() if t == which for g in good]) for which in (True, False))
    print(f"| all | {len(every)} | {share(every)} | {parts} | |")
    print(f"\n{seconds:.0f} s")
    if args.check and any(sum(g) / len(g) < BOUNDS[c] for c, g in results.items()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
