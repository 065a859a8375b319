# SPDX-License-Identifier: Apache-2.0
"""The frame of the scenarios."""

import unittest

from e2e import plan, scenarios
from e2e.shell import Failure


class ScenarioTest(unittest.TestCase):
    def test_every_scenario_says_what_it_shows_and_can_run(self):
        self.assertGreaterEqual(len(scenarios.names()), 5)
        for name in scenarios.names():
            self.assertRegex(scenarios.title(name), r"^[A-Z0-9].*\.$")
            module = __import__(f"e2e.scenarios.{name}", fromlist=["run"])
            self.assertTrue(callable(module.run), name)

    def test_a_scenario_runs_where_it_applies(self):
        usual = scenarios.applicable(plan.Plan("x", network="weir"))
        pools = scenarios.applicable(plan.Plan("x", network="weir", ranges="weir"))
        self.assertEqual(sorted({*pools} - {*usual}), ["node_blocks"])
        self.assertIn("churn", usual)
        self.assertNotIn("migration", usual)
        self.assertIn("migration", scenarios.applicable(plan.Plan("x", network="reference")))

    def test_an_unknown_scenario_is_named_with_those_there_are(self):
        with self.assertRaisesRegex(Failure, "no scenario nosuch; there are .*churn"):
            scenarios.run(None, ["nosuch"])

    def test_a_prober_tells_answers_from_failures(self):
        seen = scenarios.parse_probes("pod-1\nFAILED 28 12:00:00.1\n\npod-2\n")
        self.assertEqual((seen.answers, seen.failures, seen.count), (["pod-1", "pod-2"], ["FAILED 28 12:00:00.1"], 3))


if __name__ == "__main__":
    unittest.main()
