# SPDX-License-Identifier: Apache-2.0
"""What is read out of the output of the policy conformance suite, and which of its parts are left out."""

import re
import unittest

from e2e import policy_suite, report
from e2e.report import FAILED, PASSED, SKIPPED, Result
from e2e.shell import Failure

OUTPUT = """\
=== RUN   TestConformanceProfiles
    conformance_profile_test.go:96: Running
=== RUN   TestConformanceProfiles/CNPPriority
=== RUN   TestConformanceProfiles/CNPPriority/Should_deny
    helper.go:113: Expected connection to be dropped
        Error:      	Condition never satisfied
=== RUN   TestConformanceProfiles/CNPPriority/Should_allow
=== RUN   TestConformanceProfiles/CNPNames
    suite.go:194: Skipping CNPNames: suite does not support them
--- FAIL: TestConformanceProfiles (33.10s)
    --- FAIL: TestConformanceProfiles/CNPPriority (31.00s)
        --- FAIL: TestConformanceProfiles/CNPPriority/Should_deny (30.00s)
        --- PASS: TestConformanceProfiles/CNPPriority/Should_allow (1.00s)
    --- SKIP: TestConformanceProfiles/CNPNames (0.00s)
FAIL
"""


class ParseTest(unittest.TestCase):
    def test_the_smallest_parts_are_the_results(self):
        self.assertEqual(policy_suite.parse(OUTPUT), [
            Result("CNPNames", SKIPPED, 0, "suite.go:194: Skipping CNPNames: suite does not support them"),
            Result("CNPPriority/Should allow", PASSED, 1),
            Result("CNPPriority/Should deny", FAILED, 30, "Error:      \tCondition never satisfied")])

    def test_a_suite_that_was_cut_off_is_no_result(self):
        with self.assertRaisesRegex(Failure, "did not come to its end"):
            policy_suite.parse(OUTPUT.partition("--- FAIL: TestConf")[0])

    def test_a_suite_that_fails_as_a_whole_is_a_failure(self):
        text = "=== RUN   TestConformanceProfiles\n    x.go:1: Error: no pods\n--- FAIL: TestConformanceProfiles (300.00s)\n"
        [result] = policy_suite.parse(text)
        self.assertEqual((result.state, result.reason), (FAILED, "x.go:1: Error: no pods"))


class SkipTest(unittest.TestCase):
    def test_a_part_is_left_out_by_the_name_it_has_in_the_results(self):
        pattern = policy_suite.skip_pattern("CNPPriority/Should allow (TCP)")
        for part, name in zip(pattern.split("/"), ("TestConformanceProfiles", "CNPPriority", "Should_allow_(TCP)")):
            self.assertRegex(name, part)
        self.assertIsNone(re.search(pattern.split("/")[1], "CNPPriorityField"))

    def test_every_line_of_the_list_has_its_evidence(self):
        skips = report.parse_skips(policy_suite.SKIPS.read_text(), policy_suite.SKIPS)
        self.assertGreater(len(skips), 0)


if __name__ == "__main__":
    unittest.main()
