"""Stores some of ik_llama.cpp's logits for tests that run without it.

usage: make_goldens.py      (after `cargo xtask parity`, which leaves them in target/parity)

Writes tests/fixtures/ik_logits_NAME.f16: the first 64 positions, f16 [64, n_vocab],
little-endian, row-major; and ik_logits.tsv: name, positions, rows of the vocabulary and
the fingerprint of the file that they belong to. Half precision costs 2e-4 nrmse, a KL of
4e-8, far below what the tests ask for.
"""

from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target/parity"
FIXTURES = ROOT / "tests/fixtures"
NAMES = ("f32-split", "iq3_k-split")
N_POSITIONS = 64


def main() -> None:
    table = []
    for line in (WORK / "models.tsv").read_text().splitlines():
        name, n_vocab, _, _, fingerprint = line.split("\t")
        if name not in NAMES:
            continue
        logits = np.fromfile(WORK / f"{name}.ik_llama.cpp.f32", np.float32)
        logits = logits.reshape(-1, int(n_vocab))[:N_POSITIONS]
        logits.astype("<f2").tofile(FIXTURES / f"ik_logits_{name}.f16")
        table.append(f"{name}\t{N_POSITIONS}\t{n_vocab}\t{fingerprint}")
    (FIXTURES / "ik_logits.tsv").write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
