"""The arithmetic behind RESULTS.md, on records made by hand."""

import unittest

import chart
import contenders
import summary


def record(contender: str, n: int, rate: float, disturbance: str = "", foreign: float = 0.0) -> dict:
    return {
        "model": "m.gguf",
        "contender": contender,
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

    def test_other_settings_of_ours_do_not_help_us(self) -> None:
        records = [record("perigee", 0, 100.0), record("perigee-map", 0, 200.0), record("ik", 0, 100.0)]
        self.assertEqual(summary.compare(records, "m.gguf")[0].ratio()[0], 1.0)

    def test_a_refusal_is_no_score(self) -> None:
        refused = record("llama", 0, 1.0) | {"error": "refused", "rates": {}}
        self.assertEqual(summary.refusals([refused], "m.gguf"), {"llama": "refused"})
        self.assertEqual(summary.compare([refused], "m.gguf"), [])

    def test_the_chart_has_a_bar_per_engine(self) -> None:
        records = [record("perigee", 0, 100.0), record("ik", 0, 50.0), record("llama", 0, 25.0)]
        drawn = chart.draw([("m.gguf", summary.compare(records, "m.gguf"))])
        for width in (500, 250, 125):
            self.assertIn(f'width="{width:.1f}"', drawn)


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
