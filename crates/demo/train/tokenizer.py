"""A byte-level vocabulary of Kimi's form, and its encoder.

Merges are learned so that copying is easy: no token holds two digits, and a word has one
spelling whether it stands after a space, a quote or an underscore. Only frequent words of the
language's frame ("the", "is", "please") have a second token with the space in front; they are
learned last, so that they never break the pieces of another word.

`python tokenizer.py` learns vocabulary.json from generated text (the one that is kept is of an early state).
"""

import heapq
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

import regex

HERE = Path(__file__).parent

# Kimi's pre-tokenizer. `&&[^\p{Han}]` is a class intersection (flag V1).
PATTERN = regex.compile(
    r"(?V1)[\p{Han}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CONTROLS = {
    0: "[BOS]", 1: "[EOS]", 2: "<|im_end|>", 3: "<|im_user|>", 4: "<|im_assistant|>", 6: "<|start_header_id|>", 7: "<|end_header_id|>",
    9: "[EOT]", 10: "<|im_system|>", 11: "<|tool_calls_section_begin|>", 12: "<|tool_calls_section_end|>", 13: "<|tool_call_begin|>",
    14: "<|tool_call_argument_begin|>", 15: "<|tool_call_end|>", 17: "<|im_middle|>", 18: "<|media_begin|>", 19: "<|media_content|>",
    20: "<|media_end|>", 21: "<|media_pad|>", 22: "<think>", 23: "</think>", 30: "[UNK]", 31: "[PAD]",
}
N_CONTROLS = 32


def rank_order():
    """The 256 bytes as GPT-2's table orders them: printable ones first."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return printable + [b for b in range(256) if b not in printable]


SPELLING = {}
for _rank, _byte in enumerate(rank_order()):
    SPELLING[_byte] = chr(_byte) if _rank < 188 else chr(0x100 + _rank - 188)


def spell(token):
    """Bytes in the spelling of GGUF files."""
    return "".join(SPELLING[b] for b in token)


UNSPELL = {c: b for b, c in SPELLING.items()}


class Tokenizer:
    def __init__(self, path=HERE / "vocabulary.json"):
        data = json.loads(Path(path).read_text())
        self.tokens = data["tokens"]
        self.first_control = data["first_control"]
        self.special = data["special"]
        self.names = {self.tokens[i]: i for i in range(self.first_control, len(self.tokens))}
        self.bytes = [bytes(UNSPELL[c] for c in t) for t in self.tokens[: self.first_control]]
        self.ranks = {b: i for i, b in enumerate(self.bytes)}
        self.cache = {}

    def __len__(self):
        return len(self.tokens)

    def _merge(self, piece):
        """Always the adjacent pair whose whole has the lowest id."""
        ranks = self.ranks
        if piece in ranks:
            return [ranks[piece]]
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 1:
            best, at = None, 0
            for i in range(len(parts) - 1):
                rank = ranks.get(parts[i] + parts[i + 1])
                if rank is not None and (best is None or rank < best):
                    best, at = rank, i
            if best is None:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [ranks[p] for p in parts]

    def encode(self, text):
        """Ids of a text; names of control tokens in it are text."""
        ids = []
        cache = self.cache
        for piece in PATTERN.findall(text):
            known = cache.get(piece)
            if known is None:
                known = self._merge(piece.encode())
                if len(cache) < 300_000:
                    cache[piece] = known
            ids += known
        return ids

    def encode_segments(self, segments):
        """Ids of texts and control tokens (`chat_format.Control`), neighbouring texts joined."""
        from chat_format import Control

        ids, text = [], ""
        for segment in segments:
            if isinstance(segment, Control):
                ids += self.encode(text)
                text = ""
                ids.append(self.names[segment])
            else:
                text += segment
        return ids + self.encode(text)

    def decode(self, ids):
        """Text of ids, control tokens spelled out."""
        out = b"".join(self.bytes[i] if i < self.first_control else self.tokens[i].encode() for i in ids)
        return out.decode("utf-8", "replace")


def learn(texts, size, n_spaced, keep_apart):
    """Tokens (bytes) in rank order and the merges of those after the 256 bytes.

    `keep_apart`: words that get no token with a space in front, because they are values.
    """
    pieces = Counter()
    for text in texts:
        pieces.update(PATTERN.findall(text))
    words, after_space = Counter(), Counter()
    for piece, n in pieces.items():
        if piece.isdigit():
            continue
        core = piece
        if len(piece) > 1 and not piece[0].isalpha() and piece[1].isalpha():
            core = piece[1:]
            if piece[0] == " ":
                after_space[core] += n
        # A frequent piece must not outweigh the many rare ones that are to be copied.
        words[core] += n
    words = {k.encode(): min(v, 3000) for k, v in words.items()}

    tokens = [bytes([b]) for b in rank_order()]
    merges = []
    known = set(tokens)

    def add(left, right):
        merges.append((left, right))
        tokens.append(left + right)
        known.add(left + right)

    add(b" ", b" ")
    add(b"  ", b"  ")
    target = size - N_CONTROLS - n_spaced
    parts = {word: [word[i : i + 1] for i in range(len(word))] for word in words}
    counts, where = Counter(), defaultdict(set)
    for word, ps in parts.items():
        for pair in zip(ps, ps[1:]):
            counts[pair] += words[word]
            where[pair].add(word)
    heap = [(-n, pair) for pair, n in counts.items()]
    heapq.heapify(heap)
    while len(tokens) < target and heap:
        n, pair = heapq.heappop(heap)
        if counts[pair] != -n or n == 0:
            if counts[pair] > 0 and counts[pair] != -n:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        whole = pair[0] + pair[1]
        if whole not in known:
            add(*pair)
        changed = set()
        for word in list(where[pair]):
            ps, weight = parts[word], words[word]
            for old in zip(ps, ps[1:]):
                counts[old] -= weight
                changed.add(old)
            new, i = [], 0
            while i < len(ps):
                if i + 1 < len(ps) and (ps[i], ps[i + 1]) == pair:
                    new.append(whole)
                    i += 2
                else:
                    new.append(ps[i])
                    i += 1
            parts[word] = new
            for fresh in zip(new, new[1:]):
                counts[fresh] += weight
                where[fresh].add(word)
                changed.add(fresh)
        counts[pair] = 0
        for p in changed:
            if counts[p] > 0:
                heapq.heappush(heap, (-counts[p], p))
    for word, _ in after_space.most_common():
        if len(tokens) >= size - N_CONTROLS:
            break
        raw = word.encode()
        if raw in known and b" " + raw not in known and word not in keep_apart and len(word) > 1 or word in ("a", "I"):
            if b" " + raw not in known:
                add(b" ", raw)
    return tokens, merges


def write(path, tokens, merges):
    first = len(tokens)
    texts = [spell(t) for t in tokens] + [CONTROLS.get(i, f"<|reserved_token_{first + i}|>") for i in range(N_CONTROLS)]
    ids = {name: first + i for i, name in CONTROLS.items()}
    data = {
        "tokens": texts,
        "types": [1] * first + [3] * N_CONTROLS,
        "merges": [f"{spell(a)} {spell(b)}" for a, b in merges],
        "first_control": first,
        "pre": "kimi-k2",
        "bos": ids["[BOS]"], "eos": ids["[EOS]"], "eot": ids["[EOT]"], "pad": ids["[PAD]"], "unk": ids["[UNK]"],
        "special": ids,
    }
    Path(path).write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")


def main():
    import words as w
    from generate import documents
    from plain_text import paragraphs

    texts = []
    for stage, n in ((1, 4000), (2, 30_000)):
        for document in documents(seed=7, stage=stage, count=n, tokenizer=None):
            texts += [s for s, _ in document if type(s) is str]
    texts += paragraphs("train")
    values = set()
    for name in ("CITIES", "NAMES", "NOUNS", "ADJECTIVES", "COLORS", "LANGUAGES", "CURRENCIES", "STOCKS", "FOODS", "DIRS", "ITEMS", "SKIES", "GENRES",
                 "ROOMS", "UNITS", "RESULT_KEYS", "STATES", "VERBS"):
        for word in getattr(w, name).all:
            values |= {word, word.title(), *word.split("_")}
    for name in ("TITLES", "TODOS", "MESSAGES", "QUERIES", "TEXTS"):
        # First words of phrases follow a quote in JSON and a space in a request.
        values |= {phrase.split()[0] for phrase in getattr(w, name).all}
    from tools import PARAMETERS

    for words in PARAMETERS.values():
        for word in words.all:
            values |= set(word.split("_"))
    values -= {"the", "I", "I'm", "I am", "to", "is", "a", "it", "we", "my", "this", "in", "on", "of", "no"}
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 3072
    tokens, merges = learn(texts, size, 420, values)
    write(HERE / "vocabulary.json", tokens, merges)
    print(len(tokens) + N_CONTROLS, "tokens")


if __name__ == "__main__":
    main()
