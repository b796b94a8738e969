"""The arithmetic behind RESULTS.md, on records made by hand."""

import sys
import tempfile
import time
import unittest
from pathlib import Path

import chart
import contenders
import quiet
import summary


def record(contender: str, n: int, rate: float, disturbance: str = "", foreign: float = 0.0) -> dict:
    return {
        "model": "m.gguf",
        "contender": contender,
        "beside": [],
        "depth": 0,
        "round": n,
        "conditions": {"foreign": foreign},
        "disturbance": disturbance,
        "error": "",
        "rates": {"pp128": [rate, rate - 1, rate + 1]},
    }


class Summary(unittest.TestCase):
    def test_the_quiet_attempt_of_a_round_counts(self) -> None:
        records = [record("perigee", 0, 50.0, "others"), record("perigee", 0, 100.0), record("perigee", 1, 120.0)]
        score = summary.compare(records, "m.gguf")[0].scores["perigee"]
        self.assertEqual((score.median, score.spread, score.is_disturbed), (110.0, (100.0, 120.0), False))

    def test_disturbed_rounds_count_only_without_quiet_ones(self) -> None:
        mixed = [record("ik", 0, 10.0, "others"), record("ik", 1, 30.0)]
        self.assertEqual(summary.compare(mixed, "m.gguf")[0].scores["ik"].median, 30.0)
        noisy = [record("ik", 0, 10.0, "others", 0.5), record("ik", 0, 20.0, "others", 0.1)]
        score = summary.compare(noisy, "m.gguf")[0].scores["ik"]
        self.assertEqual((score.median, score.is_disturbed), (20.0, True))

    def test_the_ratio_is_to_the_best_peer_with_its_best_settings(self) -> None:
        records = [record("perigee", n, 100.0 + n) for n in range(3)]
        records += [record("ik", n, 40.0) for n in range(3)]
        records += [record("ik-repack", n, 50.0) for n in range(3)]
        records += [record("llama", n, 45.0) for n in range(3)]
        comparison = summary.compare(records, "m.gguf")[0]
        self.assertEqual(comparison.best_peer().contender, "ik-repack")
        self.assertEqual(comparison.ratio(), (101 / 50, 100 / 50, 102 / 50))

    def test_repetitions_that_followed_each_other_are_compared(self) -> None:
        # Memory halves its speed in the midst of the round.
        ours = record("perigee", 0, 0.0) | {"beside": ["ik"], "rates": {"tg32": [40.0, 40.0, 20.0, 21.0]}}
        theirs = record("ik", 0, 0.0) | {"beside": ["perigee"], "rates": {"tg32": [32.0, 32.0, 16.0, 16.0]}}
        comparison = summary.compare([ours, theirs], "m.gguf")[0]
        self.assertEqual(comparison.ratio(), (1.25, 1.25, 1.25))

    def test_matches_count_for_their_peer_alone(self) -> None:
        def match(peer: str, ours: float, theirs: float) -> list[dict]:
            return [
                record("perigee", 0, 0.0) | {"beside": [peer], "rates": {"tg32": [ours]}},
                record(peer, 0, 0.0) | {"beside": ["perigee"], "rates": {"tg32": [theirs]}},
            ]

        # The second peer met slow memory, and is the better one.
        records = match("ik", 50.0, 40.0) + match("ik-repack", 22.0, 20.0)
        comparison = summary.compare(records, "m.gguf")[0]
        self.assertEqual(comparison.best_peer().contender, "ik-repack")
        self.assertEqual(comparison.ratio()[0], 1.1)
        self.assertEqual(comparison.scores["perigee"].median, 36.0)

    def test_a_disturbed_match_is_no_reason_to_forget_the_peer(self) -> None:
        def match(peer: str, ours: float, theirs: float, disturbance: str) -> list[dict]:
            both = [record("perigee", 0, ours, disturbance), record(peer, 0, theirs, disturbance)]
            return [both[0] | {"beside": [peer]}, both[1] | {"beside": ["perigee"]}]

        records = match("ik", 40.0, 35.0, "") + match("llama", 20.0, 25.0, "others")
        comparison = summary.compare(records, "m.gguf")[0]
        self.assertEqual(comparison.best_peer().contender, "llama")
        self.assertEqual(comparison.ratio()[0], 0.8)

    def test_runs_alone_without_a_common_round_are_compared_by_their_medians(self) -> None:
        records = [record("perigee", 0, 30.0), record("perigee", 1, 30.0, "others")]
        records += [record("ik", 0, 20.0, "others"), record("ik", 1, 20.0)]
        self.assertEqual(summary.compare(records, "m.gguf")[0].ratio(), (1.5, 1.5, 1.5))

    def test_a_match_is_not_compared_with_runs_alone(self) -> None:
        match = [record("perigee", 0, 40.0) | {"beside": ["ik"]}, record("ik", 0, 40.0) | {"beside": ["perigee"]}]
        for records in (match + [record("ik", 0, 20.0)], [record("ik", 0, 20.0)] + match):
            self.assertEqual(summary.compare(records, "m.gguf")[0].ratio()[0], 1.0)

    def test_other_settings_of_ours_do_not_help_us(self) -> None:
        records = [record("perigee", 0, 100.0), record("perigee-map", 0, 200.0), record("ik", 0, 100.0)]
        self.assertEqual(summary.compare(records, "m.gguf")[0].ratio()[0], 1.0)

    def test_a_refusal_is_no_score(self) -> None:
        refused = record("llama", 0, 1.0) | {"error": "refused", "rates": {}}
        self.assertEqual(summary.refusals([refused], "m.gguf"), {"llama": "refused"})
        self.assertEqual(summary.compare([refused], "m.gguf"), [])
        # It was only too large beside another.
        self.assertEqual(summary.refusals([refused, record("llama", 0, 1.0)], "m.gguf"), {})

    def test_the_chart_has_a_bar_per_engine(self) -> None:
        records = [record("perigee", 0, 100.0), record("ik", 0, 50.0), record("llama", 0, 25.0)]
        drawn = chart.draw([("m.gguf", summary.compare(records, "m.gguf"))])
        for width in (500, 250, 125):
            self.assertIn(f'width="{width:.1f}"', drawn)


class Turns(unittest.TestCase):
    # Notes its name in a file at every turn, as often as told; then prints a result.
    PROGRAM = """
import sys
name, turns, path = sys.argv[1:]
for _ in range(int(turns)):
    print("turn", flush=True)
    sys.stdin.readline()
    open(path, "a").write(name)
print("result of", name)
sys.exit(name == "c")
"""

    def play(self, *players: tuple[str, int]) -> tuple[str, list[quiet.Player]]:
        with tempfile.TemporaryDirectory() as folder:
            noted = Path(folder) / "noted"
            noted.touch()
            commands = [[sys.executable, "-c", self.PROGRAM, name, str(n), str(noted)] for name, n in players]
            logs = [Path(folder) / f"{name}.log" for name, _ in players]
            return [quiet.take_turns(commands, logs), noted.read_text()][::-1]

    def test_programs_alternate_until_each_has_ended(self) -> None:
        noted, (a, b) = self.play(("a", 2), ("b", 4))
        self.assertEqual(noted, "ababbb")
        self.assertEqual((a.status, a.printed, b.status, b.printed), (0, "result of a\n", 0, "result of b\n"))
        self.assertGreater(a.used_s, 0)

    def test_who_cannot_begin_ends_the_others(self) -> None:
        noted, (a, c) = self.play(("a", 2), ("c", 0))
        self.assertEqual((noted, a.is_stopped, c.is_stopped, c.status), ("", True, False, 1))

    def test_who_has_died_can_be_stopped(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            player = quiet.Player([sys.executable, "-c", "print('begun', flush=True)"], Path(folder) / "log")
            self.assertEqual(player.child.stdout.readline(), "begun\n")
            time.sleep(0.2)
            player.stop()
        self.assertIsNotNone(player.status)

    def test_a_turn_may_follow_an_unfinished_line(self) -> None:
        program = "import sys; print('...', end='', flush=True); print('turn', flush=True); sys.stdin.readline()"
        with tempfile.TemporaryDirectory() as folder:
            [player] = quiet.take_turns([[sys.executable, "-c", program]], [Path(folder) / "log"])
        self.assertEqual((player.status, player.printed), (0, "..."))


class Output(unittest.TestCase):
    def test_json_after_other_lines(self) -> None:
        printed = 'Computed a tensor\n[{"n_prompt":0,"n_gen":4,"n_depth":300,"logits":"all","samples_ns":[2e9]}]\n'
        self.assertEqual(contenders.rates(contenders.parse(printed)), {"tg4 @ 300": [2.0]})

    def test_logits_of_the_last_token_are_refused(self) -> None:
        with self.assertRaises(ValueError):
            contenders.parse('[{"n_prompt":8,"n_gen":0,"n_depth":0,"logits":"last","samples_ns":[1]}]')

    def test_features(self) -> None:
        row = {"features": "CPU : AVX2 = 1 | AVX512 = 1 | NEON = 0 | "}
        self.assertEqual(contenders.features([row]), ["AVX2", "AVX512"])


if __name__ == "__main__":
    unittest.main()
