"""Compares our logits with those of ik_llama.cpp, llama.cpp and f64 arithmetic.

Run as `cargo xtask parity`, which builds both programs below and a Python environment
with the two engines. Exits with 1 when a bound is broken.

    run.py [--perigee PATH] [--models PATH] [--work DIR] [--write FILE] [--only NAME,…]

  --perigee  the program under test            (target/debug/perigee)
  --models   the example of testkit            (target/debug/examples/parity_models)
  --work     where models and logits go        (target/parity)
  --write    also write the table to this file (tests/parity/RESULTS.md is one)
  --only     these models only
"""

import argparse
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import demo_perplexity
import perplexity
import recipes

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# The prompt path and the generation path with packed weights, weights in the file, and floats
# throughout.
OURS = {
    "perigee": ["--load", "pack"],
    "perigee -ub 1": ["--load", "pack", "-ub", "1"],
    "perigee --load map": ["--load", "map"],
    "perigee --activations f32": ["--activations", "f32"],
}
ENGINES = {"ik_llama.cpp": "ik_llama_cpp_python", "llama.cpp": "xllamacpp"}

# With F32 weights all programs do the same arithmetic on the same F16 cache, whose
# rounding is nearly all of their distance from f64. Who is ahead by less than this then
# depends on which cached values lie next to a rounding boundary.
TIE = 1.02
# Where activations are rounded to 8 bits on both sides, the luck of the rounding differs more.
PACKED_TIE = 1.1


def main() -> int:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    dumper = build_dumper(args.work)
    run([args.models, args.work])
    tokens = args.work / "tokens.txt"
    rows, broken = [], []
    for line in (args.work / "models.tsv").read_text().splitlines():
        name, n_vocab, bound, engines, _ = line.split("\t")
        if args.only and name not in args.only:
            continue
        model = args.work / f"{name}.gguf"
        reference = read_f64(args.work / f"{name}.f64", int(n_vocab))
        cached = read_f64(args.work / f"{name}.f16-cache.f64", int(n_vocab))
        logits = {who: ours(args, model, tokens, flags) for who, flags in OURS.items()}
        for engine in engines.split(","):
            logits[engine] = theirs(engine, dumper, model, tokens, int(n_vocab))
        rows += table_rows(name, logits, reference, cached)
        broken += violations(name, logits, reference, float(bound))
        print("\n".join(rows[-len(logits) :]), flush=True)
    if not rows:
        broken.append("no model was compared")
    scores, different = perplexities(args, dumper)
    broken += different
    published, different = published_recipes(args, dumper, tokens)
    broken += different
    demo, different, kept = demo_perplexity.compare(args.perigee, dumper, args.work)
    broken += different
    if args.write:
        args.write.write_text(report(rows, scores, published, demo, broken))
        demo_perplexity.TABLE.write_text(kept)
    for line in broken:
        print(f"BROKEN {line}")
    print(f"{len(rows) + len(published)} results, {len(broken)} bounds broken")
    return 1 if broken else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    built = ROOT / "target/debug"
    parser.add_argument("--perigee", type=Path, default=built / "perigee")
    parser.add_argument("--models", type=Path, default=built / "examples/parity_models")
    parser.add_argument("--work", type=Path, default=ROOT / "target/parity")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", type=lambda names: names.split(","))
    return parser.parse_args()


def run(command: list) -> None:
    done = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{Path(command[0]).name} ended with {done.returncode}: {command}")


def build_dumper(work: Path) -> Path:
    """Compiles dump_ik.cpp against the header and library inside the wheel."""
    wheel = metadata.distribution(ENGINES["ik_llama.cpp"])
    include, lib = wheel.locate_file("include"), wheel.locate_file("lib64")
    bundled = wheel.locate_file("ik_llama_cpp_python.libs")
    dumper = work / "dump_ik"
    search = [f"-L{lib}", f"-Wl,-rpath,{lib}", f"-Wl,-rpath-link,{bundled}"]
    source = HERE / "dump_ik.cpp"
    run(["g++", "-O1", "-std=c++17", f"-I{include}", source, "-o", dumper, *search, "-lllama"])
    return dumper


def read_f64(path: Path, n_vocab: int) -> np.ndarray:
    return np.fromfile(path).reshape(-1, n_vocab)


def ours(args: argparse.Namespace, model: Path, tokens: Path, flags: list) -> np.ndarray:
    out = model.with_suffix(".perigee.npy")
    inputs = ["-m", model, "--token-file", tokens]
    run([args.perigee, "perplexity", *inputs, *flags, "--logits-out", out])
    return np.load(out).astype(np.float64)


def theirs(engine: str, dumper: Path, model: Path, tokens: Path, n_vocab: int) -> np.ndarray:
    out = model.with_suffix(f".{engine}.f32")
    program = [dumper]
    if engine == "llama.cpp":
        program = [sys.executable, HERE / "dump_llama_cpp.py"]
    run([*program, model, tokens, out])
    return np.fromfile(out, np.float32).reshape(-1, n_vocab).astype(np.float64)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def mean_kl(got: np.ndarray, want: np.ndarray) -> float:
    p, q = log_softmax(want), log_softmax(got)
    return float((np.exp(p) * (p - q)).sum(1).mean())


def nrmse(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.sqrt(((got - want) ** 2).mean()) / want.std())


def table_rows(name: str, logits: dict, reference: np.ndarray, cached: np.ndarray) -> list[str]:
    rows = []
    for who, values in logits.items():
        columns = [
            name,
            who,
            f"{nrmse(values, reference):.2e}",
            f"{nrmse(values, cached):.2e}",
            f"{mean_kl(values, reference):.1e}",
            f"{100 * (values.argmax(1) == reference.argmax(1)).mean():.1f}",
            "" if who in OURS else f"{mean_kl(logits[next(iter(OURS))], values):.1e}",
        ]
        rows.append(f"| {' | '.join(columns)} |")
    return rows


def violations(name: str, logits: dict, reference: np.ndarray, bound: float) -> list[str]:
    """What the comparison demands and did not find. NaN breaks every demand."""
    found = []
    for path in OURS:
        our_error = nrmse(logits[path], reference)
        for engine in (who for who in logits if who not in OURS):
            kl = mean_kl(logits[path], logits[engine])
            if not kl <= bound:
                found.append(f"{name}: {path}: mean KL to {engine} {kl:.2e}, bound {bound:.0e}")
            error = nrmse(logits[engine], reference)
            is_rounded = "pack" in OURS[path] and not name.startswith(("f32", "f16", "bf16"))
            if not our_error <= error * (PACKED_TIE if is_rounded else TIE):
                found.append(f"{name}: {path}: {our_error:.3e} from f64, {engine} {error:.3e}")
    return found


def perplexities(args: argparse.Namespace, dumper: Path) -> tuple[list[str], list[str]]:
    """Table rows for a text scored by both, and what differs in the first four digits."""
    text = args.work / "text.txt"
    text.write_text((ROOT / "README.md").read_text() + (ROOT / "crates/README.md").read_text())
    rows, different = [], []
    for name in ("f32-split", "f16-split", "q8_0-split"):
        model = args.work / f"{name}.gguf"
        if not model.exists():
            different.append(f"{name}: no such model")
            continue
        ours, theirs = perplexity.compare(args.perigee, dumper, model, text, args.work)
        rows.append(f"| {name} | {ours} | {theirs} |")
        print(rows[-1], flush=True)
        # 8-bit activations alone move the third digit of a Q8_0 model.
        digits = 4 if name != "q8_0-split" else 2
        rounded = [f"{float(score.split()[0]):.{digits - 1}e}" for score in (ours, theirs)]
        if rounded[0] != rounded[1]:
            different.append(f"{name}: perplexity {ours}, ik_llama.cpp {theirs}")
    return rows, different


def published_recipes(args: argparse.Namespace, dumper: Path, tokens: Path) -> tuple[list[str], list[str]]:
    """Table rows for files that ik_llama.cpp's quantiser made, and what differs too much."""
    rows, different = [], []
    source = args.work / "f32-split.gguf"
    for name, model, twin, bound in recipes.write_models(source, args.work):
        logits, decoded = (ours(args, path, tokens, OURS["perigee --activations f32"]) for path in (model, twin))
        packed = ours(args, model, tokens, OURS["perigee"])
        n_vocab = logits.shape[1]
        engine = theirs("ik_llama.cpp", dumper, model, tokens, n_vocab)
        same = bool((logits == decoded).all())
        kl = mean_kl(logits, engine)
        columns = [
            name,
            "yes" if same else f"no, by {np.abs(logits - decoded).max():.1e}",
            f"{kl:.1e}",
            f"{mean_kl(packed, engine):.1e}",
            f"{nrmse(packed, decoded):.1e}",
            f"{nrmse(engine, decoded):.1e}",
            f"{100 * (packed.argmax(1) == engine.argmax(1)).mean():.1f}",
        ]
        rows.append(f"| {' | '.join(columns)} |")
        print(rows[-1], flush=True)
        if not same:
            different.append(f"{name}: logits are not those of the decoded weights")
        for kl in (kl, mean_kl(packed, engine)):
            if not kl <= bound:
                different.append(f"{name}: mean KL to ik_llama.cpp {kl:.2e}, bound {bound:.0e}")
        if not nrmse(packed, decoded) <= PACKED_TIE * nrmse(engine, decoded):
            different.append(f"{name}: packed weights are farther from the twin than ik_llama.cpp")
    return rows, different


def report(rows: list[str], scores: list[str], published: list[str], demo: list[str], broken: list[str]) -> str:
    versions = ", ".join(f"{name} (`{wheel}` {metadata.version(wheel)})" for name, wheel in ENGINES.items())
    lines = [
        "# Logits compared",
        "",
        "Written by `cargo xtask parity --write tests/parity/RESULTS.md`; do not edit.",
        "",
        f"Engines: {versions}; {platform.machine()}, {os.cpu_count()} cores.",
        "Tiny Kimi-shaped random models with all experts in use, 320 tokens in one batch,",
        "F16 KV cache everywhere, ik_llama.cpp with `-mla 1`. *f64* is a forward pass over the",
        "dequantised weights, *f64, F16 cache* the same with cached rows rounded to F16: what is",
        "left is a program's own arithmetic and the cached values that a last-bit difference",
        "rounds the other way (3e-5 to 5e-5). The last column is the mean KL between our logits",
        "and that engine's.",
        "",
        "| model | program | nrmse to f64 | nrmse to f64, F16 cache | KL to f64 | top-1 % | KL to ours |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Perplexity of a text, {perplexity.N_CHUNKS} chunks of {perplexity.N_CTX} tokens, scored as llama-perplexity does:",
        "",
        "| model | perigee perplexity | from ik_llama.cpp's logits |",
        "|---|---|---|",
        *scores,
        "",
        "Recipes of published files, every matrix encoded by ik_llama.cpp's quantiser (UD: mixes in",
        "unsloth's manner; *mixed*: the types that are left). *Twin*: a file of the same weights in F32,",
        "decoded by ik's library; with `--activations f32` our logits on it must be the same bits. Otherwise",
        "weights meet activations of 8 bits, as ik's do.",
        "",
        "| recipe | f32 activations: same as twin | KL to ik | int8: KL to ik | nrmse to twin | ik's nrmse to twin | top-1 as ik % |",
        "|---|---|---|---|---|---|---|",
        *published,
        "",
        "Held-out text of the demonstration model, written in each type by `perigee quantize`:",
        "",
        "| type | perigee perplexity | from ik_llama.cpp's logits | from llama.cpp's |",
        "|---|---|---|---|",
        *demo,
        "",
        *(broken or ["All bounds hold."]),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
