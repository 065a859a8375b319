# SPDX-License-Identifier: Apache-2.0
"""The part of the suites that continuous integration runs: what it chooses, and that it ends in time."""

import re
import unittest
from unittest import mock

from e2e import components, short
from e2e.shell import Failure


class FocusTest(unittest.TestCase):
    def test_it_chooses_a_few_tests_of_each_kind_that_are_known(self):
        document = (components.ROOT / "docs/conformance.md").read_text()
        names = set(re.findall(r"^\| (\[sig-network\].*?) \|", document, re.M))
        chosen = {name for name in names if re.search(short.FOCUS, name)}
        self.assertTrue(8 <= len(chosen) <= 16, sorted(chosen))
        for kind in ("Granular Checks", "DNS should", "Services should", "NodePort", "affinity", "HostPort"):
            self.assertTrue(any(kind in name for name in chosen), kind)


class ClockTest(unittest.TestCase):
    def test_what_does_not_fit_is_not_begun(self):
        clock = short.Clock(100)
        clock.need(90, "a thing")
        with self.assertRaisesRegex(short.Skipped, "a thing may take 110 s"):
            clock.need(110, "a thing")

    def test_programs_are_built_while_there_is_time_to_use_them(self):
        reserve = short.UP_SECONDS + short.SCENARIO_SECONDS + short.SUITE_SECONDS
        asked = []
        with mock.patch.object(components, "place", return_value=components.ROOT / "nowhere"), \
                mock.patch.object(components, "build", side_effect=lambda name, seconds: asked.append(seconds)):
            with self.assertRaisesRegex(short.Skipped, "no time is left to build kubectl, kube-apiserver"):
                short.build_programs(short.Clock(reserve + 20))
            self.assertEqual(asked, [])
            short.build_programs(short.Clock(reserve + 120))
        self.assertEqual(len(asked), len(components.CLUSTER + components.IMAGES + components.SUITE))
        self.assertTrue(all(seconds <= 120 for seconds in asked))

    def test_what_cannot_be_built_is_skipped_with_its_reason(self):
        with mock.patch.object(components, "place", return_value=components.ROOT / "nowhere"), \
                mock.patch.object(components, "build", side_effect=Failure("kubectl cannot be built: no network")):
            with self.assertRaisesRegex(short.Skipped, "no network"):
                short.build_programs(short.Clock(10000))


class RunTest(unittest.TestCase):
    """What its exit status says, without a cluster."""

    def status(self, scenario, wrong):
        with mock.patch.object(short, "build_programs"), mock.patch.object(short.clusters, "down") as down, \
                mock.patch.object(short.clusters, "Cluster"), \
                mock.patch.object(short.clusters, "is_there", return_value=False), \
                mock.patch.object(short.scenarios, "run", return_value=scenario), \
                mock.patch.object(short, "suite_part", side_effect=wrong):
            status = short.run("ci", 10000)
            self.assertTrue(down.called)
            return status

    def test_a_cluster_that_is_there_is_left_alone(self):
        with mock.patch.object(short.clusters, "is_there", return_value=True), \
                mock.patch.object(short.clusters, "down") as down:
            with self.assertRaisesRegex(Failure, "is there"):
                short.run("dev", 10000)
        self.assertFalse(down.called)

    def test_failures_count_and_skips_do_not(self):
        self.assertEqual(self.status(0, [[]]), 0)
        self.assertEqual(self.status(1, [[]]), 1)
        self.assertEqual(self.status(0, [["a test failed"]]), 1)
        self.assertEqual(self.status(0, [short.Skipped("no time")]), 0)
        self.assertEqual(self.status(1, [short.Skipped("no time")]), 1)


if __name__ == "__main__":
    unittest.main()
