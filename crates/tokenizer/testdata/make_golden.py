"""Writes golden.txt: what Python's tiktoken makes of the corpus in tests/kimi/corpus.rs.

    python make_golden.py PATH/TO/kimi.tiktoken

The rank file is `vocabs/kimi.tiktoken` of the crate splintr-vocab-kimi 1.0.0, which is
the vendor's `tiktoken.model`. Needs `tiktoken` (written with 0.14.0).

The corpus is not stored: this script and corpus.rs compose it, chunk by chunk, from
seeds.txt with the same generator. One line per chunk: bytes and FNV-1a of the text,
number and FNV-1a of the ids.
"""

import base64
import pathlib
import sys

import tiktoken

HERE = pathlib.Path(__file__).parent
N_CHUNKS = 400
CHUNK_BYTES = 16_000
MASK = (1 << 64) - 1

PATTERN = "|".join(
    [
        r"[\p{Han}]+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

SPACES = [" ", "  ", "    ", "\n", "\r\n", "\t", "\n\n", " \n ", "\n    ", "\u3000", "\u00a0", "\r", " \t ", "\u2028"]

# First and last code point of what chunks of code points draw from.
RANGES = [
    (0x00, 0x7F), (0x20, 0x7E), (0x80, 0xFF), (0x100, 0x24F), (0x2B0, 0x36F), (0x370, 0x3FF),
    (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF),
    (0xE00, 0xE7F), (0x1780, 0x17FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F),
    (0x2190, 0x2BFF), (0x2E80, 0x303F), (0x3040, 0x30FF), (0x3400, 0x3420), (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF), (0xAC00, 0xD7A3), (0xE000, 0xE010), (0xF900, 0xFAFF), (0xFE00, 0xFE0F),
    (0xFF00, 0xFFEF), (0x10300, 0x1034F), (0x16FE0, 0x16FF1), (0x1D400, 0x1D7FF), (0x1F1E6, 0x1F1FF),
    (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0100, 0xE01EF),
]


class Random:
    """SplitMix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return (self.next() >> 32) % n

    def pick(self, items):
        return items[self.below(len(items))]


def unescape(line):
    """Only \\uXXXX; every other backslash is text."""
    out, rest = [], line
    while "\\u" in rest:
        before, rest = rest.split("\\u", 1)
        out += [before, chr(int(rest[:4], 16))]
        rest = rest[4:]
    return "".join(out) + rest


def read_seeds():
    sections = []
    for line in (HERE / "seeds.txt").read_text("utf-8").split("\n"):
        if line.startswith("# "):
            sections.append([])
        elif line:
            sections[-1].append(unescape(line))
    return sections


def ascii_upper(text):
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)


def seeded_piece(random, lines):
    """A line, a word or a cutting of one, white space, or a number."""
    line = random.pick(lines)
    choice = random.below(10)
    if choice < 3:
        return line + "\n"
    if choice < 5:
        return random.pick(line.split(" ")) + " "
    if choice < 7:
        start = random.below(len(line))
        return line[start : start + random.below(12)]
    if choice == 7:
        return ascii_upper(random.pick(line.split(" ")))
    if choice == 8:
        return random.pick(SPACES) * (1 + random.below(3))
    return str(random.below(1 << 31))


def character_piece(random):
    """Up to eight characters of one range, sometimes with a space or an apostrophe."""
    first, last = random.pick(RANGES)
    text = "".join(chr(first + random.below(last - first + 1)) for _ in range(1 + random.below(8)))
    return text + random.pick(["", "", "", " ", "'s", "'LL", "\n", "0"])


def byte_piece(random):
    """Sixteen bytes, half of them ASCII, invalid UTF-8 replaced."""
    drawn = [random.below(128) if random.below(2) == 0 else random.below(256) for _ in range(16)]
    return bytes(drawn).decode("utf-8", "replace")


def chunk(index, sections):
    random = Random(index)
    kind = index % 8
    parts, size = [], 0
    while size < CHUNK_BYTES:
        if kind == 6:
            piece = character_piece(random)
        elif kind == 7:
            piece = byte_piece(random)
        else:
            # Kinds 0 to 4 keep to one section, kind 5 mixes all.
            piece = seeded_piece(random, sections[kind] if kind < 5 else random.pick(sections))
        parts.append(piece)
        size += len(piece.encode("utf-8"))
    return "".join(parts)


def extremes():
    """Texts that the vendor's cuts divide."""
    return [
        " " * 60_001 + "x",
        "x" * 60_001 + " y",
        "\n" * 24_999 + " " * 3 + "\x1c" * 24_999 + "z",
        "\x1c \x1f" * 20_000 + "end",
        "世" * 25_001 + " " + "é" * 25_000 + "b",
        "ab " * 140_000,
        " a" * 195_000 + "a" * 60_000,
        "don't " * 70_000 + "\u3000" * 30_000 + "1" * 30_000,
        "!" * 50_003 + "\r\n" * 13_000,
    ]


def parts(text):
    """The vendor's cuts: 400,000 characters, then runs of 25,000 by str.isspace."""
    for start in range(0, len(text), 400_000):
        piece = text[start : start + 400_000]
        begin, run, last = 0, 0, None
        for i, character in enumerate(piece):
            space = character.isspace()
            run = run + 1 if space == last else 1
            last = space
            if run > 25_000:
                yield piece[begin:i]
                begin, run = i, 1
        yield piece[begin:]


def fnv(values):
    hash = 0xCBF29CE484222325
    for value in values:
        hash = ((hash ^ value) * 0x100000001B3) & MASK
    return hash


def main():
    ranks = {}
    for line in pathlib.Path(sys.argv[1]).read_bytes().split(b"\n"):
        if line:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding("kimi", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    sections = read_seeds()
    texts = [chunk(index, sections) for index in range(N_CHUNKS)] + extremes()
    with (HERE / "golden.txt").open("w", newline="\n") as golden:
        for text in texts:
            ids = [id for part in parts(text) for id in encoding.encode_ordinary(part)]
            encoded = text.encode("utf-8")
            golden.write(f"{len(encoded)} {fnv(encoded):016x} {len(ids)} {fnv(ids):016x}\n")


main()
