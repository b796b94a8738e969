"""Whether the machine is ours: who else computes, and what memory yields."""

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGTERM
from subprocess import PIPE

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
IDLE_NICE = 19
# Share of the usual bandwidth below which memory is not ours alone.
LEAST_BANDWIDTH = 0.8


def busy_seconds() -> float:
    """CPU seconds of all cores since boot that were not idle (time stolen by the host counts)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields)
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def background_seconds() -> float:
    """CPU seconds of living processes of the lowest priority, which give way to everyone."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name may hold spaces; what follows its parenthesis does not.
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[16]) == IDLE_NICE:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_SECOND


@dataclass
class Conditions:
    """What surrounded one run."""

    waited_s: float
    wall_s: float
    # Shares of all cores that others used, and of that the lowest priority.
    foreign: float
    background: float
    # GB/s just before and just after.
    bandwidth_before: float
    bandwidth_after: float

    def record(self) -> dict:
        return asdict(self)


class Player:
    """A program that says `turn` before every repetition and waits for a line."""

    def __init__(self, command: list[str], log: Path) -> None:
        with log.open("a") as errors:
            errors.write(f"+ {' '.join(command)}\n")
            errors.flush()
            self.child = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=errors, text=True)
        self.printed = ""
        self.used_s = 0.0
        self.is_stopped = False

    @property
    def status(self) -> int | None:
        """Of the program's end; none while it runs."""
        return self.child.returncode

    def await_turn(self) -> None:
        """Until it could begin another repetition, or has ended."""
        for line in self.child.stdout:
            # A library may have left its line unfinished.
            if line.endswith("turn\n"):
                self.printed += line.removesuffix("turn\n")
                return
            self.printed += line
        # The time of this child alone, whatever else this process has started.
        _, status, used = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        self.used_s = used.ru_utime + used.ru_stime
        self.child.stdout.close()
        with suppress(BrokenPipeError):
            self.child.stdin.close()

    def take_turn(self) -> None:
        # If it died while it waited, its status will tell.
        with suppress(BrokenPipeError):
            self.child.stdin.write("\n")
            self.child.stdin.flush()
        self.await_turn()

    def stop(self) -> None:
        self.is_stopped = True
        # Not by `Popen`, which would take the status of one that has died meanwhile.
        os.kill(self.child.pid, SIGTERM)
        self.await_turn()


def take_turns(commands: list[list[str]], logs: list[Path]) -> list[Player]:
    """Starts one program after the other, then lets each do a repetition in turn until all end."""
    players = []
    for command, log in zip(commands, logs):
        player = Player(command, log)
        players.append(player)
        player.await_turn()
        if player.status is not None:
            for other in players[:-1]:
                other.stop()
            return players
    while any(player.status is None for player in players):
        for player in players:
            if player.status is None:
                player.take_turn()
    return players


class Machine:
    """Runs commands and watches what else happens meanwhile."""

    def __init__(self, bandwidth_program: Path, threads: int, wait_s: float) -> None:
        self.bandwidth_program = bandwidth_program
        self.threads = threads
        self.wait_s = wait_s
        self.readings: list[float] = []

    def bandwidth(self) -> float:
        command = [self.bandwidth_program, str(self.threads)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.readings.append(float(printed.stdout))
        return self.readings[-1]

    def usual_bandwidth(self) -> float:
        """What memory gives when nobody disturbs it: the middle of the better half of all readings.

        The very best would not do: one lucky reading would condemn a whole session.
        """
        return sorted(self.readings)[len(self.readings) * 3 // 4]

    def wait_until_quiet(self) -> float:
        """Waits for two quiet seconds in a row, or until patience ends; seconds waited."""
        started, quiet = time.monotonic(), 0
        while quiet < 2 and time.monotonic() - started < self.wait_s:
            before = busy_seconds() - background_seconds()
            time.sleep(1)
            used = busy_seconds() - background_seconds() - before
            quiet = quiet + 1 if used < 0.1 * os.cpu_count() else 0
        return time.monotonic() - started

    def run(self, commands: list[list[str]], logs: list[Path]) -> tuple[list[Player], Conditions]:
        """Runs programs that take turns; the first that cannot begin ends the others.

        What they complain about goes to their logs.
        """
        waited = self.wait_until_quiet()
        bandwidth_before = self.bandwidth()
        busy, background, started = busy_seconds(), background_seconds(), time.monotonic()
        players = take_turns(commands, logs)
        wall = time.monotonic() - started
        cores = wall * os.cpu_count()
        foreign = busy_seconds() - busy - sum(player.used_s for player in players)
        conditions = Conditions(
            waited_s=round(waited, 1),
            wall_s=round(wall, 1),
            foreign=round(max(0.0, foreign) / cores, 4),
            background=round(max(0.0, background_seconds() - background) / cores, 4),
            bandwidth_before=bandwidth_before,
            bandwidth_after=self.bandwidth(),
        )
        return players, conditions

    def disturbance(self, conditions: Conditions, most_foreign: float, n_players: int) -> str:
        """Why a run does not count, or nothing."""
        if conditions.foreign > most_foreign:
            return f"others used {conditions.foreign:.0%} of the cores"
        if n_players > 1:
            # Slow memory is slow for both.
            return ""
        worst = min(conditions.bandwidth_before, conditions.bandwidth_after)
        usual = self.usual_bandwidth()
        if worst < LEAST_BANDWIDTH * usual:
            return f"memory gave {worst:.1f} GB/s of {usual:.1f}"
        return ""
