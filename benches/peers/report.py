"""RESULTS.md: the machine, what was computed, tables, every loss included."""

import os
import platform
import subprocess
from datetime import date
from pathlib import Path

import summary
from contenders import CONTENDERS, NATIVE, OURS
from native import ENGINES, pinned_sources
from summary import Comparison, Score

# Of the many that Linux lists, those that matrix kernels look at.
FEATURES = ["avx2", "avx512f", "avx512_vnni", "avx512vbmi", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"]
FAMILIES = ["ik_llama.cpp", "llama.cpp"]
RATIO_NOTE = """\
Tokens per second: the median of the rounds' medians, in parentheses the slowest and the
fastest round. A peer's cell is its best settings in that test. *ratio*: perigee over the best
peer, the median of all pairs of repetitions that followed each other (of the rounds' medians where
programs ran alone), in parentheses the worst and the best round; below 1 is a loss. It is not the
quotient of the cells, as perigee ran beside each peer and memory is not always equally fast. `~`
marks cells where every round was disturbed."""


IN_TURNS = """\
In each, perigee and one
setting of a peer are loaded side by side and do one repetition in turn, so that both meet the
same memory; the next round starts with another peer, and with the other of the two. Where memory
has no room for both, every program runs alone."""
ALONE = """\
In each, every program
runs alone; the next round starts with another."""


def render(session: dict, records: list[dict], moe: list[dict], chart: str) -> str:
    models = list(dict.fromkeys(record["model"] for record in records))
    title = "# Speed beside other engines" + ", with AVX2 alone" * session["avx2"]
    lines = [title, "", written_by(session), ""]
    families = {CONTENDERS[record["contender"]].family for record in records}
    lines += machine(session, families) + compiled_for(records) + [""]
    lines += what_was_computed(session) + [""]
    lines += [f"![bars of the tables below]({chart})", ""]
    lines += [RATIO_NOTE, ""]
    for model in models:
        comparisons = summary.compare(records, model)
        lines += [f"## {model}", "", *best_table(comparisons), ""]
        lines += ["All settings:", "", *settings_table(comparisons), ""]
        for key, reason in summary.refusals(records, model).items():
            lines += [f"`{key}` cannot run this file: {reason}", ""]
    lines += conditions(records) + [""]
    if moe:
        lines += moe_section(moe) + [""]
    lines += ["## Commands", "", "```text", *commands(records), "```", ""]
    return "\n".join(lines)


def written_by(session: dict) -> str:
    return f"Written by `cargo xtask bench-peers`; do not edit. {session['date']}, commit {session['commit']}."


def facts(root: Path, settings: dict, bandwidth: float) -> dict:
    """What is known about a session when it starts."""
    return settings | {
        "date": date.today().isoformat(),
        "commit": commit(root),
        "cpu": cpu_field("model name"),
        "features": [name for name in FEATURES if name in cpu_field("flags").split()],
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "compiler": output(["g++", "--version"]).split("\n")[0],
        "bandwidth": bandwidth,
    }


def commit(root: Path) -> str:
    head = output(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    # The results themselves may be new.
    changed = output(["git", "-C", str(root), "status", "--porcelain", "--", "crates", "Cargo.toml", "Cargo.lock"])
    return f"{head} with changes" if changed else head


def cpu_field(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.split(":")[0].strip() == name:
            return line.split(":", 1)[1].strip()
    return "unknown"


def output(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()


def machine(session: dict, families: set[str]) -> list[str]:
    names = {ENGINES[NATIVE[family]]["distribution"] for family in families if family in NATIVE}
    versions = ", ".join(f"{name} {version}" for name, version in pinned_sources().items() if name in names)
    how = "as their wheels have them" if session["avx2"] else "compiled here with `GGML_NATIVE=ON`"
    return [
        f"- {session['cpu']}, {session['cores']} cores, {session['memory_gib']} GiB; {', '.join(session['features'])}",
        f"- memory read with {session['threads']} threads: {session['bandwidth']:.1f} GB/s",
        f"- {session['system']}; {session['compiler']}",
        f"- {session['perigee']}; the engines inside {versions} (PyPI), {how}",
        f"- {session['threads']} threads, micro-batches of up to {session['ubatch']} tokens, F16 cache for everyone",
    ]


def compiled_for(records: list[dict]) -> list[str]:
    """What each peer says of itself: a build for another processor would be no fair peer."""
    told = {CONTENDERS[record["contender"]].family: record["features"] for record in records if record["features"]}
    return [f"- {family} compiled for {', '.join(names)}" for family, names in told.items()]


def what_was_computed(session: dict) -> list[str]:
    return [
        "*ppN*: a prompt of N tokens in an empty context, with the logits of **every** token. With",
        "the last token's logits alone (what llama-bench does, and `perigee bench` unless told",
        "`--all-logits`) an engine drops all other rows before the experts of the last layer, which",
        "is half of a file with two layers. *tgN @ D*: N tokens, one by one, after D tokens of",
        "context. The peers read the context from a state they saved; perigee computes it once per",
        "process. Neither is timed. Tokens are random, so that experts vary.",
        "",
        f"Each cell: up to {session['rounds']} rounds ({session['deep_rounds']} beyond {session['deep']} tokens). "
        + (ALONE if session["apart"] else IN_TURNS),
        f"{session['repetitions']} counted repetitions after one that is",
        "not. Weights are in memory, not mapped. A run during which others used more than "
        f"{session['most_foreign']:.0%} of",
        "the cores (or, of a program alone, around which memory was 20 % slower than usual) is",
        f"repeated up to {session['retries']} times.",
    ]


def best_table(comparisons: list[Comparison]) -> list[str]:
    lines = [f"| test | {OURS} | {' | '.join(FAMILIES)} | ratio |", f"|---|{'---|' * len(FAMILIES)}---|---|"]
    for comparison in comparisons:
        peers = [cell(comparison.best(family), named=True) for family in FAMILIES]
        ratio = comparison.ratio()
        shown = "" if ratio is None else f"**{ratio[0]:.2f}** ({ratio[1]:.2f}–{ratio[2]:.2f})"
        lines.append(f"| {comparison.test} | {cell(comparison.best(OURS))} | {' | '.join(peers)} | {shown} |")
    return lines


def settings_table(comparisons: list[Comparison]) -> list[str]:
    keys = [key for key in CONTENDERS if any(key in comparison.scores for comparison in comparisons)]
    lines = [f"| test | {' | '.join(keys)} |", f"|---|{'---|' * len(keys)}"]
    for comparison in comparisons:
        cells = [cell(comparison.scores.get(key)) for key in keys]
        lines.append(f"| {comparison.test} | {' | '.join(cells)} |")
    return lines


def cell(score: Score | None, named: bool = False) -> str:
    if score is None:
        return "–"
    low, high = score.spread
    settings = f" `{score.contender}`" if named else ""
    return f"{'~' if score.is_disturbed else ''}{score.median:.2f} ({low:.2f}–{high:.2f}){settings}"


def conditions(records: list[dict]) -> list[str]:
    ran = [record for record in records if not record["error"]]
    used = summary_of_kept(ran)
    shares = sorted(record["conditions"]["foreign"] for record in used)
    bandwidths = [record["conditions"][when] for record in used for when in ("bandwidth_before", "bandwidth_after")]
    if not used:
        return ["No run succeeded."]
    disturbed = sum(bool(record["disturbance"]) for record in used)
    return [
        "## Quiet",
        "",
        f"{len(ran)} runs, {len(ran) - len(used)} of them repeated because others disturbed them; "
        f"{disturbed} of the {len(used)} kept are disturbed.",
        f"In the kept runs others used {shares[0]:.1%} to {shares[-1]:.1%} of the cores (median "
        f"{shares[len(shares) // 2]:.1%}), and memory gave {min(bandwidths):.1f} to {max(bandwidths):.1f} GB/s "
        "just before and after.",
    ]


def summary_of_kept(records: list[dict]) -> list[dict]:
    models = dict.fromkeys(record["model"] for record in records)
    return [
        record
        for model in models
        for record in summary.kept(other for other in records if other["model"] == model)
    ]


def moe_section(moe: list[dict]) -> list[str]:
    experts = next((row["experts"] for row in moe if "experts" in row), "many")
    lines = [
        "## kt-kernel: the routed experts alone",
        "",
        f"One layer of {experts} experts of 7168 × 2048, 8 per token, random weights and routes; not a",
        "whole model, so that there is no ratio.",
        "",
        "| class | weights | tokens | ms | tokens/s and layer | spread | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in moe:
        if "error" in row:
            lines.append(f"| {row['class']} | {row['weights']} | – | – | – | – | does not run: {row['error']} |")
            continue
        low, high = row["spread"]
        mark = row.get("disturbance", "")
        lines.append(
            f"| {row['class']} | {row['weights']} | {row['tokens']} | {row['ms']:.2f} | "
            f"{row['rate']:.1f} | {low:.1f}–{high:.1f} | {mark} |"
        )
    return lines


def commands(records: list[dict]) -> list[str]:
    """The command of each contender and depth, without the folders of this machine."""
    shown = {}
    for record in records:
        words = [shorten(word) for word in record["command"]]
        shown.setdefault((record["contender"], record["depth"]), " ".join(words))
    return list(shown.values())


def shorten(word: str) -> str:
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}{Path(value).name}" if "/" in value else word
