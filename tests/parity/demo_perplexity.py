"""Perplexity of the demonstration model's held-out text by us and by other engines, type by type.

The model is written in each type by `perigee quantize`; all programs score the same files. ik's
scores are kept in tests/fixtures/demo_perplexity.tsv for a test that runs without it.
"""

import subprocess
import sys
from pathlib import Path

import perplexity

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "tests/fixtures/demo_perplexity.tsv"
# Finest first. Tensors whose rows do not suit a type stay in one that does.
TYPES = ["Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_K", "IQ4_KS", "Q4_0", "Q3_K", "IQ3_K", "Q2_K", "IQ2_K", "IQ2_KS"]
# All of the text: of fewer tokens, the luck of the rounding of activations moves the score by 1 %.
N_CHUNKS = 15
# Types that llama.cpp has too; the file as shipped it cannot read.
LLAMA_CPP = {"Q8_0", "Q4_0"}
# Relative; all programs round activations to 8 bits, each in its way.
BOUND = 5e-3


def compare(perigee: Path, dumper: Path, work: Path) -> tuple[list[str], list[str], str]:
    """Rows of a Markdown table, what differs too much, and the table to keep."""
    text = ROOT / "crates/demo/train/heldout.txt"
    embedded = ROOT / "crates/demo/demo.gguf"
    rows, different, kept = [], [], []
    for kind in ["as shipped", *TYPES]:
        model = embedded
        if kind != "as shipped":
            model = work / f"demo-{kind}.gguf"
            model.unlink(missing_ok=True)
            command = [perigee, "quantize", embedded, model, kind, "--allow-requantize"]
            subprocess.run(command, check=True, capture_output=True)
        ours = perplexity.ours(perigee, model, text, N_CHUNKS)
        theirs = perplexity.theirs(perigee, [dumper], model, text, work, N_CHUNKS)
        scores = {"ik_llama.cpp": theirs}
        if kind in LLAMA_CPP:
            program = [sys.executable, Path(__file__).parent / "dump_llama_cpp.py"]
            scores["llama.cpp"] = perplexity.theirs(perigee, program, model, text, work, N_CHUNKS)
        rows.append(f"| {kind} | {ours} | {theirs} | {scores.get('llama.cpp', '')} |")
        print(rows[-1], flush=True)
        for engine, score in scores.items():
            if not abs(value(ours) / value(score) - 1) <= BOUND:
                different.append(f"demo in {kind}: perplexity {ours}, {engine} {score}")
        if kind != "as shipped":
            kept.append(f"{kind}\t{value(theirs)}")
    return rows, different, "\n".join(kept) + "\n"


def value(score: str) -> float:
    """The number before the error."""
    return float(score.split()[0])
