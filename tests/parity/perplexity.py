"""Perplexity of a text by `perigee perplexity` and from the logits of another engine.

Those logits are scored here as llama-perplexity scores them: chunks of N_CTX tokens, of each
the second half, the standard error from the variance of the negative log-likelihoods.
"""

import re
import subprocess
from pathlib import Path

import numpy as np

N_CTX = 512
N_CHUNKS = 4


def compare(perigee: Path, dumper: Path, model: Path, text: Path, work: Path) -> tuple[str, str]:
    """(ours, ik's) as `PPL +/- error`, both with the digits that `perigee perplexity` prints."""
    return ours(perigee, model, text), theirs(perigee, [dumper], model, text, work)


def ours(perigee: Path, model: Path, text: Path, n_chunks: int = N_CHUNKS) -> str:
    flags = ["-c", str(N_CTX), "--chunks", str(n_chunks)]
    command = [perigee, "perplexity", "-m", model, "-f", text, *flags]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "{} +/- {}".format(*re.search(r"PPL = ([\d.]+) \+/- ([\d.]+)", printed).groups())


def theirs(perigee: Path, dumper: list, model: Path, text: Path, work: Path, n_chunks: int = N_CHUNKS) -> str:
    command = [perigee, "tokenize", "-m", model, "-f", text, "--ids"]
    ids = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    chunk_file, logits_file = work / "chunk.txt", work / "chunk.f32"
    losses = []
    for i in range(n_chunks):
        chunk = ids[i * N_CTX : (i + 1) * N_CTX]
        chunk_file.write_text(" ".join(chunk))
        subprocess.run([*dumper, model, chunk_file, logits_file], check=True, capture_output=True)
        logits = np.fromfile(logits_file, np.float32).reshape(N_CTX, -1).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))
        scored = np.arange(N_CTX // 2, N_CTX - 1)
        losses.append(-logits[scored, [int(id) for id in chunk[N_CTX // 2 + 1 :]]])
    losses = np.concatenate(losses)
    perplexity = np.exp(losses.mean())
    error = np.sqrt(losses.var() / (len(losses) - 1)) * perplexity
    return f"{perplexity:.4f} +/- {error:.5f}"
