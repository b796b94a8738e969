"""Who is measured, and the command that measures each."""

import json
from dataclasses import dataclass
from pathlib import Path

OURS = "perigee"


@dataclass(frozen=True)
class Group:
    """Tests that one process can do: all at one depth."""

    depth: int
    prompts: tuple[int, ...]
    generate: int

    @property
    def name(self) -> str:
        return f"depth {self.depth}"


@dataclass(frozen=True)
class Contender:
    """An engine with its settings. `family` is what the results compare."""

    key: str
    family: str
    settings: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        return self.family == OURS


# Every promising setting of a peer competes; the best of a family counts in each test.
# All of ik's use `-mla 3 -fa -fmoe`, all of llama.cpp's its repacking buffers.
CONTENDERS = {
    contender.key: contender
    for contender in [
        Contender("perigee", OURS, ("--load", "pack")),
        Contender("perigee-map", OURS, ("--load", "map")),
        Contender("ik", "ik_llama.cpp", ("repack=0",)),
        Contender("ik-repack", "ik_llama.cpp", ("repack=1",)),
        Contender("ik-repack-merge", "ik_llama.cpp", ("repack=1", "merge=1")),
        Contender("ik-merge", "ik_llama.cpp", ("repack=0", "merge=1")),
        Contender("llama", "llama.cpp", ("repack=1", "flash=1")),
        Contender("llama-nofa", "llama.cpp", ("repack=1", "flash=0")),
    ]
}
DEFAULT = ["perigee", "ik", "ik-repack", "ik-repack-merge", "llama", "llama-nofa"]
# The engine that native.py builds for a family.
NATIVE = {"ik_llama.cpp": "ik", "llama.cpp": "llama"}
# Families of which there are wheels, which are compiled for AVX2.
WITH_WHEELS = {"ik_llama.cpp"}


@dataclass(frozen=True)
class Commands:
    """Programs and what all runs share."""

    perigee: Path
    drivers: dict[str, Path]
    states: Path
    threads: int
    ubatch: int
    repetitions: int
    # More options of ours.
    options: tuple[str, ...] = ()

    def of(self, contender: Contender, model: Path, group: Group) -> list[str]:
        if contender.is_ours:
            return self.ours(contender, model, group)
        return self.theirs(contender, model, group)

    def ours(self, contender: Contender, model: Path, group: Group) -> list[str]:
        prompts = ",".join(map(str, group.prompts)) or "0"
        return [
            *(str(self.perigee), "bench", "-m", str(model), *contender.settings, *self.options),
            *("-t", str(self.threads), "--ubatch-size", str(self.ubatch), "--all-logits"),
            *("-p", prompts, "-n", str(group.generate), "-d", str(group.depth)),
            *("-r", str(self.repetitions), "--turns", "-o", "json"),
        ]

    def theirs(self, contender: Contender, model: Path, group: Group) -> list[str]:
        native = NATIVE[contender.family]
        command = [
            *(str(self.drivers[native]), str(model), *contender.settings),
            *(f"threads={self.threads}", f"ubatch={self.ubatch}", f"repetitions={self.repetitions}"),
            *(f"prompts={','.join(map(str, group.prompts))}", f"generate={group.generate}"),
            *(f"depth={group.depth}", "turns=1"),
        ]
        if group.depth > 0:
            # Which experts computed a row of the cache does not matter to its reader: one
            # state serves all settings that keep the cache in the same form.
            form = "plain" if "flash=0" in contender.settings else "flash"
            size = model.stat().st_size
            command.append(f"state={self.states}/{native}-{form}-{model.stem}-{size}-{group.depth}.state")
        return command


def parse(printed: str) -> list[dict]:
    """The rows of a program's JSON, which starts a line of its own."""
    # ik_llama.cpp prints a line per computed tensor first.
    starts = [at for at in (printed.find("[\n"), printed.find("[{")) if at >= 0]
    rows = json.loads(printed[min(starts) :])
    if any(row["logits"] != "all" for row in rows):
        raise ValueError("logits were computed for the last token only")
    return rows


def rates(rows: list[dict]) -> dict[str, list[float]]:
    """Tokens per second of each repetition, by test."""
    return {
        test_name(row): [
            (row["n_prompt"] + row["n_gen"]) / (nanoseconds / 1e9) for nanoseconds in row["samples_ns"]
        ]
        for row in rows
    }


def features(rows: list[dict]) -> list[str]:
    """What an engine says it was compiled for."""
    # "AVX = 1 | AVX2 = 1 | NEON = 0 |", perhaps after the name of a backend.
    words = rows[0].get("features", "").replace("CPU :", "").split("|")
    pairs = [word.split("=") for word in words if "=" in word]
    return [name.strip() for name, value in pairs if value.strip() == "1"]


def test_name(row: dict) -> str:
    name = f"pp{row['n_prompt']}" if row["n_prompt"] else f"tg{row['n_gen']}"
    return f"{name} @ {row['n_depth']}" if row["n_depth"] else name
