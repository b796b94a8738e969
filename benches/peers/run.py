"""Measures perigee beside ik_llama.cpp and llama.cpp: same machine, file, threads, tokens.

Run as `cargo xtask bench-peers -- MODEL.gguf…`, which builds perigee and the Python
environment. The peers are built on first use (about half an hour on two cores).
See benches/README.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import chart
import contenders
import kt_kernel_moe
import native
import report
import summary
from contenders import CONTENDERS, DEFAULT, NATIVE, OURS, WITH_WHEELS, Commands, Contender, Group
from quiet import Machine

ROOT = Path(__file__).resolve().parent.parent.parent
# Of two programs at 32,768 tokens and two layers.
CACHES_AND_BUFFERS = 2 << 30


def main() -> int:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    if not args.report_only:
        measure_all(args)
    session = json.loads((args.work / "session.json").read_text())
    records, moe = read_lines(args.work / "runs.jsonl"), read_lines(args.work / "moe.jsonl")
    args.results.write_text(report.render(session, records, moe, args.chart.name))
    models = dict.fromkeys(record["model"] for record in records)
    args.chart.write_text(chart.draw([(model, summary.compare(records, model)) for model in models]))
    print(f"wrote {args.results} and {args.chart}")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", help="GGUF files of the deepseek2 family")
    parser.add_argument("--perigee", type=Path, default=ROOT / "target/release/perigee")
    parser.add_argument("--work", type=Path, default=ROOT / "target/bench-peers", help="raw records, states")
    parser.add_argument("--engines", type=Path, default=ROOT / "target/peers", help="where the peers are built")
    parser.add_argument("--results", type=Path, default=ROOT / "benches/RESULTS.md")
    parser.add_argument("--chart", type=Path, default=ROOT / "benches/results.svg")
    parser.add_argument("--contenders", type=names, default=DEFAULT, help=",".join(CONTENDERS))
    parser.add_argument("--avx2", action="store_true", help="nobody uses more than AVX2; only peers with wheels")
    parser.add_argument("--prompts", type=numbers, default=(128, 512, 2048))
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--depths", type=numbers, default=(0, 4096, 32768))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ubatch", type=int, default=2048)
    parser.add_argument("--repetitions", type=int, default=5, help="counted repetitions in a process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deep", type=int, default=8192, help="beyond this depth there are fewer rounds")
    parser.add_argument("--deep-rounds", type=int, default=2)
    parser.add_argument("--apart", action="store_true", help="one program at a time even where memory has room for two")
    parser.add_argument("--retries", type=int, default=2, help="repetitions of a disturbed run")
    parser.add_argument("--wait", type=float, default=240, help="seconds to wait for a quiet machine")
    parser.add_argument("--most-foreign", type=float, default=0.04, help="share of the cores others may use")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at once")
    parser.add_argument("--kt", action="store_true", help="also measure kt-kernel's experts")
    parser.add_argument("--kt-experts", type=int, default=384)
    parser.add_argument("--resume", action="store_true", help="keep earlier runs, do what is missing")
    parser.add_argument("--report-only", action="store_true", help="write the results of earlier runs")
    parser.add_argument("--build-only", action="store_true", help="build the peers and end")
    args = parser.parse_args()
    if not (args.models or args.kt or args.report_only or args.build_only):
        parser.error("name at least one model, or --kt, --report-only, --build-only")
    for model in args.models:
        if not model.is_file():
            parser.error(f"{model} is no file")
    if args.avx2:
        args.contenders = [key for key in args.contenders if CONTENDERS[key].family in {OURS, *WITH_WHEELS}]
        if not args.contenders:
            parser.error(f"--avx2: of the contenders there are no wheels, only of {', '.join(WITH_WHEELS)}")
    return args


def names(text: str) -> list[str]:
    chosen = text.split(",")
    for key in chosen:
        if key not in CONTENDERS:
            raise argparse.ArgumentTypeError(f"{key}: known are {', '.join(CONTENDERS)}")
    return chosen


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


def measure_all(args: argparse.Namespace) -> None:
    machine = Machine(native.provide_bandwidth(args.work), args.threads, args.wait)
    commands = Commands(
        perigee=args.perigee,
        drivers=provide_drivers(args),
        states=args.work / "states",
        threads=args.threads,
        ubatch=args.ubatch,
        repetitions=args.repetitions,
        options=("--isa", "avx2") if args.avx2 else (),
    )
    if args.build_only:
        sys.exit(0)
    commands.states.mkdir(exist_ok=True)
    settings = {name: getattr(args, name) for name in SHOWN}
    if args.resume:
        check_settings(args.work / "session.json", settings)
    else:
        for old in [*args.work.glob("*.jsonl"), *args.work.glob("errors-*.log")]:
            old.unlink()
    # Runs are compared with these readings and with those around them.
    machine.wait_until_quiet()
    for _ in range(8):
        machine.bandwidth()
    bandwidth = machine.usual_bandwidth()
    settings["perigee"] = report.output([str(args.perigee), "--version"]) or OURS
    (args.work / "session.json").write_text(json.dumps(report.facts(ROOT, settings, bandwidth)))
    for model in args.models:
        refused: set[str] = set()
        for group in groups(args):
            measure_group(args, machine, commands, model, group, refused)
    if args.kt:
        kt_kernel_moe.measure(args, machine)


SHOWN = ["threads", "ubatch", "repetitions", "rounds", "deep", "deep_rounds", "retries", "most_foreign", "avx2", "apart"]


def check_settings(path: Path, settings: dict) -> None:
    """Ends where earlier runs had other settings: one table cannot tell of both."""
    before = json.loads(path.read_text()) if path.exists() else settings
    changed = [name for name, value in settings.items() if before.get(name) != value]
    if changed:
        sys.exit(f"bench-peers: the earlier runs had another {', '.join(changed)}: leave out --resume")


def provide_drivers(args: argparse.Namespace) -> dict[str, Path]:
    families = {CONTENDERS[key].family for key in args.contenders} if args.models or args.build_only else set()
    drivers = {}
    for name in (NATIVE[family] for family in NATIVE if family in families):
        args.engines.mkdir(parents=True, exist_ok=True)
        if args.avx2:
            prefix = native.provide_wheel(name, args.engines)
        else:
            prefix = native.provide_engine(name, args.engines, args.jobs)
        drivers[name] = native.provide_driver(name, prefix, args.engines)
    return drivers


def groups(args: argparse.Namespace) -> list[Group]:
    """Prompts are measured in an empty context, generation at every depth."""
    depths = list(args.depths) if args.generate else [0]
    if args.prompts and 0 not in depths:
        depths.insert(0, 0)
    return [
        Group(
            depth=depth,
            prompts=args.prompts if depth == 0 else (),
            generate=args.generate if depth in args.depths else 0,
        )
        for depth in depths
    ]


def measure_group(
    args: argparse.Namespace,
    machine: Machine,
    commands: Commands,
    model: Path,
    group: Group,
    refused: set[str],
) -> None:
    """All rounds of one group: every match in turn, as often as there are rounds."""
    done = finished(read_lines(args.work / "runs.jsonl"), args.retries)
    rounds = args.deep_rounds if group.depth > args.deep else args.rounds

    def measure_match(match: list[Contender], n: int) -> set[str]:
        keys = [contender.key for contender in match]
        if refused & set(keys) or (model.name, *sorted(keys), group.depth, n) in done:
            return set()
        return measure_once(args, machine, commands, model, group, match, n)

    for n in range(rounds):
        for match in matches(args, model, n):
            failed = measure_match(match, n)
            if failed and len(match) > 1:
                # Perhaps there was no room for two.
                print(f"{model.name}: {', '.join(failed)} failed beside another; each alone", flush=True)
                failed = set().union(*(measure_match([contender], n) for contender in match))
            refused |= failed


def matches(args: argparse.Namespace, model: Path, n: int) -> list[list[Contender]]:
    """Who runs together in a round: ours with each other contender, where memory has room for two."""
    chosen = [CONTENDERS[key] for key in args.contenders]
    together = OURS in args.contenders and len(chosen) > 1 and has_room(2 * model.stat().st_size)
    if args.apart or not together:
        all_ = [[contender] for contender in chosen]
    else:
        # Whoever loads first may get the better pages.
        all_ = [[CONTENDERS[OURS], other][:: -1 if n % 2 else 1] for other in chosen if other.key != OURS]
    # Nobody always follows the same neighbour from the same place in the round.
    start = n % len(all_)
    return all_[start:] + all_[:start]


def has_room(n_bytes: int) -> bool:
    """Whether weights of that size, caches and buffers fit into free memory."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return n_bytes + CACHES_AND_BUFFERS < int(fields["MemAvailable"].split()[0]) * 1024


def measure_once(
    args: argparse.Namespace,
    machine: Machine,
    commands: Commands,
    model: Path,
    group: Group,
    match: list[Contender],
    n: int,
) -> set[str]:
    """One match, repeated while others disturb it; the contenders that cannot do it at all."""
    logs = [args.work / f"errors-{contender.key}.log" for contender in match]
    for attempt in range(args.retries + 1):
        lines = [commands.of(contender, model, group) for contender in match]
        players, conditions = machine.run(lines, logs)
        disturbance = machine.disturbance(conditions, args.most_foreign, len(match))
        refused = set()
        for contender, command, player, log in zip(match, lines, players, logs):
            if player.is_stopped:
                continue
            rows = contenders.parse(player.printed) if player.status == 0 else []
            record = {
                "model": model.name,
                "contender": contender.key,
                "beside": [other.key for other in match if other is not contender],
                "depth": group.depth,
                "round": n,
                "attempt": attempt,
                "command": command,
                "conditions": conditions.record(),
                "disturbance": disturbance,
                "error": "" if player.status == 0 else last_line(log),
                "rates": contenders.rates(rows),
                "features": contenders.features(rows) if rows else [],
            }
            append(args.work / "runs.jsonl", record)
            show(record)
            if record["error"]:
                refused.add(contender.key)
        if refused or not disturbance:
            break
    return refused


def finished(records: list[dict], retries: int) -> set[tuple]:
    """Matches that need no other attempt."""
    return {
        (record["model"], *sorted([record["contender"], *record["beside"]]), record["depth"], record["round"])
        for record in records
        if not record["disturbance"] or record["attempt"] >= retries or record["error"]
    }


def show(record: dict) -> None:
    rates = ", ".join(f"{test} {sorted(all_)[len(all_) // 2]:.2f}" for test, all_ in record["rates"].items())
    note = record["error"] or record["disturbance"]
    print(f"{record['model']} round {record['round']} {record['contender']}: {rates} {note}", flush=True)


def last_line(log: Path) -> str:
    lines = log.read_text().strip().splitlines()
    return lines[-1] if lines and not lines[-1].startswith("+ ") else "it ended without a word"


def append(path: Path, record: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench-peers: {error}")
