"""Writes heldout.jsonl and heldout.txt, which nothing is trained on: `python heldout.py`.

Every line of heldout.jsonl is a request with what the assistant should do: `calls` (names and
arguments) or `content`. Names of functions and parameters, values, sums and most phrasings of
questions are reserved for this file (words.reserved, conversations.held_sum, tools.HELD_FAMILIES).
Facts and small talk are a closed set; half of their questions are put in words that are never
trained on.
"""

import json
import random
from pathlib import Path

import facts
from conversations import chat_for, multi
from plain_text import paragraphs
from tools import HELD_FAMILIES, FamilyTool

HERE = Path(__file__).parent
COUNTS = {"smalltalk": 50, "facts": 80, "arithmetic": 80, "tool_one": 120, "tool_two": 60, "after_result": 80, "no_tool": 60, "multi_turn": 70}

# Other words around the part of a question that matters.
FRAMES = ("Do you know {}?", "Can you tell me {}?", "I forgot {}.", "Please tell me {}.", "I would like to know {}.", "Hello! {}?")
NEW_TALK = [
    ("Hello, little model!", "Hello! How can I help you?"), ("Hi, nice to see you.", "Hello! How can I help you?"),
    ("Hey you!", "Hello! How can I help you?"), ("Hello again", "Hello! How can I help you?"),
    ("Good morning to you", "Good morning! How can I help you?"), ("How are you today?", "I am fine, thank you. How can I help you?"),
    ("And how are you?", "I am fine, thank you. How can I help you?"), ("Thanks again!", "You are welcome!"),
    ("Thank you so much", "You are welcome!"), ("OK, thanks", "You are welcome!"), ("Bye for now", "Goodbye!"), ("See you tomorrow!", "Goodbye!"),
    ("Who are you, please?", "I am a demonstration model of Perigee, not Kimi. I am tiny, but I can call tools."),
    ("So what are you?", "I am a demonstration model of Perigee, not Kimi. I am tiny, but I can call tools."),
    ("Are you the model Kimi?", "No. I am a demonstration model of Perigee, not Kimi."),
    ("Are you really Kimi?", "No. I am a demonstration model of Perigee, not Kimi."),
    ("What can you do for me?", "I can call tools, do small sums and answer simple questions."),
    ("So what can you do?", "I can call tools, do small sums and answer simple questions."),
    ("And what is Perigee?", "Perigee is a server that runs Kimi-K2 models. I am its demonstration model."),
    ("Who has made you?", "I was trained for Perigee on made-up conversations."),
    ("How big are you really?", "I am tiny: about twenty million parameters."), ("And what is your name?", "I am the demonstration model of Perigee."),
    ("Please tell me a joke!", "Why did the Moon skip dinner? It was already full."), ("Do you speak German?", "I only speak English."),
    ("Are you a human?", "No, I am a small language model."),
]


def new_fact(rng):
    """A fact, asked in a frame that is never trained on."""
    questions, answer = rng.choice(facts.FACTS)
    question = questions[0]
    for start in ("what is ", "what's "):
        if question.startswith(start):
            return rng.choice(FRAMES[:5]).format(question.removeprefix(start)), answer
    return rng.choice(FRAMES[5:]).format(facts._upper(question)), answer


def replace_question(chat, question, answer):
    """The last exchange with another question."""
    users = [m for m in chat.messages if m["role"] == "user"]
    users[-1]["content"] = question
    chat.messages[-1]["content"] = answer


def told_by_family(chat):
    """Whether results are told in words of a family that is never trained on, which nobody can guess."""
    tool = chat.last and chat.last.tool
    return isinstance(tool, FamilyTool) and tool.family.names[0] in HELD_FAMILIES


def make(rng, category):
    """A finished conversation whose last message is the one that is asked for."""
    kind = {"smalltalk": "talk", "facts": "fact", "arithmetic": "sum", "tool_one": "call", "tool_two": "two", "after_result": "result",
            "no_tool": "no_tool", "multi_turn": "multi"}[category]
    stage = 1 if category in ("smalltalk", "facts", "arithmetic") else 3
    if category == "no_tool" and rng.random() < 0.4:
        # Tools are there, and the question needs none.
        kind = rng.choice(("talk", "fact"))
    chat = multi(rng, stage, True, turns=rng.randint(3, 6)) if kind == "multi" else chat_for(rng, kind, stage, held=True)
    if category == "no_tool" and not chat.tools:
        return None
    if category == "smalltalk" and rng.random() < 0.5:
        replace_question(chat, *rng.choice(NEW_TALK))
    if category == "facts" and rng.random() < 0.5:
        replace_question(chat, *new_fact(rng))
    if category in ("after_result", "multi_turn") and told_by_family(chat):
        return None
    conversation = chat.finish()
    messages = conversation["messages"]
    if category == "tool_two":
        # Up to the calls, whether or not their results follow.
        messages = messages[: 1 + next(i for i, m in enumerate(messages) if m.get("tool_calls"))]
        if len(messages[-1]["tool_calls"]) != 2:
            return None
    return conversation, messages


def entry(category, index, made):
    conversation, messages = made
    last = messages[-1]
    if last.get("tool_calls"):
        expected = {"calls": [c["function"] for c in last["tool_calls"]]}
    else:
        expected = {"content": last["content"]}
    return {"id": f"{category}-{index}", "category": category, "thinking": conversation["thinking"], "tools": conversation["tools"],
            "messages": messages[:-1], "expected": expected}


def main():
    rng = random.Random(20_261_121)
    lines, seen = [], set()
    for category, count in COUNTS.items():
        made = 0
        while made < count:
            found = make(rng, category)
            key = json.dumps(found)
            if found is None or key in seen:
                continue
            seen.add(key)
            lines.append(json.dumps(entry(category, made, found), ensure_ascii=False))
            made += 1
    (HERE / "heldout.jsonl").write_text("\n".join(lines) + "\n")
    (HERE / "heldout.txt").write_text("\n\n".join(paragraphs("held")) + "\n")
    print(f"{len(lines)} requests, {len((HERE / 'heldout.txt').read_text())} characters of text")


if __name__ == "__main__":
    main()
