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
class Ratio:
    """Ours over one peer's: of repetitions that followed each other, else of a round's medians."""

    by_round: dict[int, list[float]]

    @property
    def median(self) -> float:
        return median(one for ratios in self.by_round.values() for one in ratios)

    @property
    def spread(self) -> tuple[float, float]:
        medians = [median(ratios) for ratios in self.by_round.values()]
        return min(medians), max(medians)


@dataclass(frozen=True)
class Comparison:
    """One test on one file."""

    test: str
    scores: dict[str, Score]
    # By peer.
    ratios: dict[str, Ratio]

    def best(self, family: str) -> Score | None:
        """The best settings of an engine; ours has one setting, whatever else was measured."""
        if family == OURS:
            return self.scores.get(OURS)
        return self._best([key for key in self.scores if CONTENDERS[key].family == family])

    def best_peer(self) -> Score | None:
        return self._best([key for key in self.scores if not CONTENDERS[key].is_ours])

    def _best(self, keys: list[str]) -> Score | None:
        """The one that we are least ahead of; the fastest where that is not known."""
        if all(key in self.ratios for key in keys):
            return min((self.scores[key] for key in keys), key=lambda score: self.ratios[score.contender].median, default=None)
        return max((self.scores[key] for key in keys), key=lambda score: score.median, default=None)

    def ratio(self) -> tuple[float, float, float] | None:
        """Ours over the best peer's: the median, and the extremes of single rounds."""
        peer = self.best_peer()
        ratio = self.ratios.get(peer.contender) if peer else None
        return (ratio.median, *ratio.spread) if ratio else None


def compare(records: list[dict], model: str) -> list[Comparison]:
    """All tests on a file, in the order in which they were run."""
    tests: dict[str, dict[str, list[dict]]] = {}
    for record in used(kept(record for record in records if record["model"] == model)):
        for test in record["rates"]:
            tests.setdefault(test, {}).setdefault(record["contender"], []).append(record)
    return [
        Comparison(test, {key: score(key, test, runs) for key, runs in contenders.items()}, ratios(test, contenders))
        for test, contenders in tests.items()
    ]


def used(runs: list[dict]) -> list[dict]:
    """Disturbed runs of a match count only where none was quiet."""

    def match(run: dict) -> tuple:
        return (*sorted([run["contender"], *run["beside"]]), run["depth"])

    quiet = {match(run) for run in runs if not run["disturbance"]}
    return [run for run in runs if not run["disturbance"] or match(run) not in quiet]


def score(contender: str, test: str, runs: list[dict]) -> Score:
    """Ours has several runs in a round, beside each peer."""
    rounds: dict[int, list[float]] = {}
    for run in runs:
        rounds.setdefault(run["round"], []).extend(run["rates"][test])
    return Score(contender, {n: median(rates) for n, rates in rounds.items()}, any(run["disturbance"] for run in runs))


def ratios(test: str, runs: dict[str, list[dict]]) -> dict[str, Ratio]:
    """Ours over every peer: of their matches, or where there were none of runs alone."""
    found = {}
    for peer in runs:
        if not CONTENDERS[peer].is_ours:
            ratio = of_matches(test, runs, peer) or of_runs_alone(test, runs, peer)
            if ratio:
                found[peer] = Ratio(ratio)
    return found


def of_matches(test: str, runs: dict[str, list[dict]], peer: str) -> dict[int, list[float]]:
    theirs = {run["round"]: run["rates"][test] for run in runs[peer] if run["beside"] == [OURS]}
    return {
        run["round"]: [a / b for a, b in zip(run["rates"][test], theirs[run["round"]])]
        for run in runs.get(OURS, [])
        if run["beside"] == [peer] and run["round"] in theirs
    }


def of_runs_alone(test: str, runs: dict[str, list[dict]], peer: str) -> dict[int, list[float]]:
    """By round; that of all medians where no round has both."""
    ours, theirs = (
        {run["round"]: median(run["rates"][test]) for run in runs.get(key, []) if not run["beside"]}
        for key in (OURS, peer)
    )
    both = {n: [ours[n] / theirs[n]] for n in ours if n in theirs}
    if both or not (ours and theirs):
        return both
    return {0: [median(ours.values()) / median(theirs.values())]}


def kept(records) -> list[dict]:
    """One attempt of each run: the undisturbed one, else that during which others did least."""
    attempts: dict[tuple, list[dict]] = {}
    for record in records:
        if not record["error"]:
            run = (record["contender"], *record["beside"], record["depth"], record["round"])
            attempts.setdefault(run, []).append(record)

    def disturbed(record: dict) -> tuple[bool, float]:
        return bool(record["disturbance"]), record["conditions"]["foreign"]

    return [min(group, key=disturbed) for group in attempts.values()]


def refusals(records: list[dict], model: str) -> dict[str, str]:
    """Contenders that could not run a file at all, and what they said."""
    of_model = [record for record in records if record["model"] == model]
    able = {record["contender"] for record in of_model if not record["error"]}
    return {
        record["contender"]: record["error"]
        for record in of_model
        if record["error"] and record["contender"] not in able
    }
