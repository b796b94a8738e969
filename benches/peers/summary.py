"""Numbers of a whole session: medians, spread, who is best, by how much."""

from dataclasses import dataclass
from statistics import median

from contenders import CONTENDERS, OURS


@dataclass(frozen=True)
class Score:
    """Tokens per second of one contender in one test: a median per round."""

    contender: str
    by_round: dict[int, float]
    is_disturbed: bool

    @property
    def median(self) -> float:
        return median(self.by_round.values())

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.by_round.values()), max(self.by_round.values())


@dataclass(frozen=True)
class Comparison:
    """One test on one file."""

    test: str
    scores: dict[str, Score]

    def best(self, family: str) -> Score | None:
        """The best settings of an engine; ours has one setting, whatever else was measured."""
        if family == OURS:
            return self.scores.get(OURS)
        members = [score for key, score in self.scores.items() if CONTENDERS[key].family == family]
        return max(members, key=lambda score: score.median, default=None)

    def best_peer(self) -> Score | None:
        peers = [score for key, score in self.scores.items() if not CONTENDERS[key].is_ours]
        return max(peers, key=lambda score: score.median, default=None)

    def ratio(self) -> tuple[float, float, float] | None:
        """Ours over the best peer's: of the medians, and the extremes of single rounds."""
        ours, peer = self.best(OURS), self.best_peer()
        if ours is None or peer is None:
            return None
        rounds = [ours.by_round[n] / peer.by_round[n] for n in ours.by_round if n in peer.by_round]
        overall = ours.median / peer.median
        return overall, min(rounds, default=overall), max(rounds, default=overall)


def compare(records: list[dict], model: str) -> list[Comparison]:
    """All tests on a file, in the order in which they were run."""
    tests: dict[str, dict[str, dict[int, tuple[float, bool]]]] = {}
    for record in kept(record for record in records if record["model"] == model):
        for test, rates in record["rates"].items():
            rounds = tests.setdefault(test, {}).setdefault(record["contender"], {})
            rounds[record["round"]] = (median(rates), bool(record["disturbance"]))
    return [
        Comparison(test, {key: score(key, rounds) for key, rounds in contenders.items()})
        for test, contenders in tests.items()
    ]


def kept(records) -> list[dict]:
    """One attempt of each run: the undisturbed one, else that during which others did least."""
    attempts: dict[tuple, list[dict]] = {}
    for record in records:
        if not record["error"]:
            run = (record["contender"], record["depth"], record["round"])
            attempts.setdefault(run, []).append(record)

    def disturbed(record: dict) -> tuple[bool, float]:
        return bool(record["disturbance"]), record["conditions"]["foreign"]

    return [min(group, key=disturbed) for group in attempts.values()]


def score(contender: str, rounds: dict[int, tuple[float, bool]]) -> Score:
    """Disturbed rounds count only where no round was quiet."""
    quiet = {n: rate for n, (rate, is_disturbed) in rounds.items() if not is_disturbed}
    everything = {n: rate for n, (rate, _) in rounds.items()}
    return Score(contender, quiet or everything, not quiet)


def refusals(records: list[dict], model: str) -> dict[str, str]:
    """Contenders that could not run a file, and what they said."""
    return {
        record["contender"]: record["error"]
        for record in records
        if record["model"] == model and record["error"]
    }
