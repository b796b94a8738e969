"""Writes training data: `python generate.py --seed S --tokens N --out DIR --stage K`.

    ids.npy     uint16, all documents one after the other
    loss.npy    uint8, weight of each token as a target, 100 = 1.0 (a token is predicted from those before it)
    starts.npy  int64, where each document starts

Stage 1 is a curriculum of copying and looking up, 2 the whole mix in documents of at most 512
tokens, 3 the whole mix in documents of at most 1,500 tokens and up to six turns.
"""

import argparse
import json
import multiprocessing
import random
import time
from pathlib import Path

import numpy as np

import words as w
from chat_format import ASSISTANT, DECLARATION, HEADER, RESULT, SYSTEM, USER, Control, segments
from conversations import chat_for
from plain_text import paragraphs
from tokenizer import Tokenizer
from tools import make_tools

TARGET = 100
# Prose is hard for so small a model, and must not outweigh what it can learn.
PROSE = 40
# Repeats within these parts teach copying; the rest of them cannot be predicted.
WEIGHTS = {HEADER: 0, SYSTEM: 8, DECLARATION: 12, USER: 10, RESULT: 8, ASSISTANT: 0}
LONGEST = {1: 256, 2: 512, 3: 1500}

MIX = {
    1: {"keys": 14, "spans": 16, "objects": 10, "lookup": 12, "repeat": 10, "reading": 5, "memory": 3, "call": 20, "result": 4, "talk": 2, "fact": 2, "sum": 2},
    2: {"talk": 3, "fact": 7, "sum": 7, "repeat": 2.5, "reading": 1.5, "memory": 2, "plain": 3.5, "keys": 1, "spans": 1.5, "lookup": 1,
        "call": 16, "result": 18, "two": 9, "chain": 5, "no_tool": 6, "missing": 2.5, "multi": 14},
    3: {"talk": 6, "fact": 6, "sum": 12, "repeat": 2.5, "reading": 1.5, "memory": 2, "plain": 2.5, "keys": 1, "spans": 2, "objects": 1, "lookup": 1,
        "call": 26, "result": 14, "two": 16, "chain": 4, "no_tool": 20, "choose": 16, "missing": 2, "multi": 15},
}


def keys_document(rng):
    """Pairs of a name and a value, then some names again."""
    pairs = {}
    for _ in range(rng.randint(3, 9)):
        key = rng.choice((w.made_up(rng), w.NOUNS.pick(rng), w.NAMES.pick(rng), w.RESULT_KEYS.pick(rng)))
        pairs[key] = rng.choice((w.made_up(rng), w.CITIES.pick(rng), w.code(rng), str(rng.randint(0, 999)), w.ITEMS.pick(rng), w.email(rng)))
    mark = rng.choice((": ", " = ", " is ", " -> "))
    end = rng.choice(("\n", ", ", ". ")) if mark != " is " else ". "
    parts = [("".join(k + mark + v + end for k, v in pairs.items()), 5)]
    asked = rng.sample(list(pairs), min(len(pairs), rng.randint(2, 5)))
    text = "".join(k + mark + pairs[k] + end for k in asked)
    return parts + [(text, 60)]


def spans_document(rng, tokenizer):
    """A random span, other text, the span again."""
    if tokenizer is None:
        return [(" ".join(w.made_up(rng) for _ in range(6)), 0)]
    low = 256 if rng.random() < 0.8 else 0
    span = [rng.randrange(low, tokenizer.first_control) for _ in range(rng.randint(4, 30))]
    gap = [rng.randrange(low, tokenizer.first_control) for _ in range(rng.choice((0, 0, 3, 12, 30)))]
    out = [(span, 0)]
    for _ in range(rng.randint(1, 3)):
        if gap:
            out.append((gap, 0))
        # The first tokens of the span only say which span comes.
        out.append((span[:1], 0))
        out.append((span[1:], TARGET))
    return out


def objects_document(rng):
    """An object, then the same object or one of its values."""
    keys = list(dict.fromkeys(rng.choice((w.RESULT_KEYS.pick(rng), w.made_up(rng), w.NOUNS.pick(rng))) for _ in range(rng.randint(2, 6))))
    values = {k: rng.choice((w.made_up(rng), w.NAMES.pick(rng), rng.randint(0, 999), w.code(rng), w.CITIES.pick(rng), w.path(rng), True, False)) for k in keys}
    text = json.dumps(values)
    if rng.random() < 0.5:
        return [(text + "\n", 5), (text, TARGET)]
    chosen = rng.sample(keys, min(len(keys), 3))
    plain = ", ".join(f"{k} {values[k]}" for k in chosen)
    return [(text + "\n" + plain + "\n", 5), (json.dumps({k: values[k] for k in chosen}), TARGET)]


def lookup_document(rng):
    """Several functions; which one does something?"""
    tools = make_tools(rng, rng.randint(2, 4))
    lines = "".join(f"{t.name}: {t.declaration['function'].get('description', '')}\n" for t in tools)
    parts = [(lines, 5)]
    for _ in range(rng.randint(1, 3)):
        use = rng.choice(tools).use(rng)
        parts += [(use.ask + " -> ", 5), (use.thought() + "\n", TARGET)]
    return parts


def plain_document(rng, texts, limit):
    """A few paragraphs as they follow each other."""
    at = rng.randrange(len(texts))
    text = "\n\n".join(texts[at : at + rng.randint(1, 6)])[: limit * 3]
    return [(text, PROSE), (Control("[EOS]"), PROSE)]


def chat_document(rng, kind, stage):
    chat = chat_for(rng, kind, stage)
    return [(s, TARGET if is_target else WEIGHTS[part]) for s, part, is_target in segments(chat.finish())]


def documents(seed, stage, count, tokenizer):
    """`count` documents (None: without end), each a list of (text, control or ids; weight)."""
    rng = random.Random(seed)
    kinds, weights = zip(*MIX[stage].items())
    texts = paragraphs("train")
    made = 0
    while count is None or made < count:
        kind = rng.choices(kinds, weights)[0]
        made += 1
        if kind == "keys":
            yield keys_document(rng)
        elif kind == "spans":
            yield spans_document(rng, tokenizer)
        elif kind == "objects":
            yield objects_document(rng)
        elif kind == "lookup":
            yield lookup_document(rng)
        elif kind == "plain":
            yield plain_document(rng, texts, LONGEST[stage])
        else:
            yield chat_document(rng, kind, stage)


def encode(tokenizer, document):
    """Ids and weights. Neighbouring texts are encoded apart only where their weights differ."""
    ids, weights = [], []
    text, text_weight = "", 0

    def flush():
        nonlocal text
        if text:
            new = tokenizer.encode(text)
            ids.extend(new)
            weights.extend([text_weight] * len(new))
            text = ""

    for segment, weight in document:
        if type(segment) is str:
            if weight != text_weight:
                flush()
            text, text_weight = text + segment, weight
            continue
        flush()
        new = segment if isinstance(segment, list) else [tokenizer.names[segment]]
        ids.extend(new)
        weights.extend([weight] * len(new))
    flush()
    return ids, weights


def work(job):
    seed, stage, n_tokens, vocabulary = job
    tokenizer = Tokenizer(vocabulary)
    all_ids, all_weights, lengths = [], [], []
    total = 0
    for document in documents(seed, stage, None, tokenizer):
        ids, weights = encode(tokenizer, document)
        if len(ids) > LONGEST[stage]:
            continue
        all_ids.append(np.array(ids, np.uint16))
        all_weights.append(np.array(weights, np.uint8))
        lengths.append(len(ids))
        total += len(ids)
        if total >= n_tokens:
            break
    return np.concatenate(all_ids), np.concatenate(all_weights), np.array(lengths, np.int64)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--vocabulary", default=str(Path(__file__).parent / "vocabulary.json"))
    args = parser.parse_args()
    begin = time.time()
    n = args.workers * max(1, args.tokens // (args.workers * 1_000_000))
    jobs = [(args.seed * 100_003 + i, args.stage, -(-args.tokens // n), args.vocabulary) for i in range(n)]
    with multiprocessing.Pool(args.workers) as pool:
        parts = pool.map(work, jobs, chunksize=1)
    ids, weights, lengths = (np.concatenate(p) for p in zip(*parts))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "ids.npy", ids)
    np.save(out / "loss.npy", weights)
    np.save(out / "starts.npy", np.concatenate(([0], np.cumsum(lengths)[:-1])))
    print(f"{len(ids)} tokens, {len(lengths)} documents of {lengths.mean():.0f} tokens (longest {lengths.max()}), "
          f"{(weights == TARGET).mean():.0%} targets, {len(ids) / (time.time() - begin):.0f} tokens/s")


if __name__ == "__main__":
    main()
