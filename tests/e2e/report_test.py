# SPDX-License-Identifier: Apache-2.0
"""What is read out of the upstream suite's report, and what is made of it."""

import json
import re
import unittest

from e2e import conformance, report
from e2e.report import FAILED, PASSED, SKIPPED, Result
from e2e.shell import Failure


def spec(name, state, message="", kind="It", seconds=1.5):
    containers, _, leaf = name.rpartition(" / ")
    return {"ContainerHierarchyTexts": containers.split(" / ") if containers else None, "LeafNodeText": leaf,
            "LeafNodeType": kind, "State": state, "RunTime": int(seconds * 1e9),
            **({"Failure": {"Message": message}} if message else {})}


def suite(*specs, **more):
    return json.dumps([{"SpecReports": list(specs), **more}])


class ParseTest(unittest.TestCase):
    def test_name_state_time_and_the_first_line_of_a_reason(self):
        text = suite(spec("[sig-network] DNS / should work", "passed"),
                     spec("[sig-network] DNS / should fail", "failed", "\n  timed out\nmore"))
        self.assertEqual(report.parse(text), [
            Result("[sig-network] DNS should fail", FAILED, 1.5, "timed out"),
            Result("[sig-network] DNS should work", PASSED, 1.5)])

    def test_what_focus_left_out_is_no_result_but_a_skip_of_its_own_is(self):
        text = suite(spec("a", "skipped"), spec("b", "skipped", "no SCTP here"), spec("c", "pending"))
        self.assertEqual(report.parse(text), [Result("b", SKIPPED, 1.5, "no SCTP here")])

    def test_every_other_end_is_a_failure(self):
        for state in ("timedout", "panicked", "interrupted", "aborted"):
            [result] = report.parse(suite(spec("a", state, "why")))
            self.assertEqual((result.state, result.reason), (FAILED, f"{state}: why"))

    def test_a_failed_set_up_counts_though_it_is_no_test(self):
        text = suite(spec("", "failed", "nodes are not ready", kind="SynchronizedBeforeSuite"),
                     spec("", "passed", kind="SynchronizedAfterSuite"))
        self.assertEqual([(r.name, r.state) for r in report.parse(text)], [("(SynchronizedBeforeSuite)", FAILED)])

    def test_a_suite_that_ended_early_has_failed(self):
        text = suite(spec("a", "passed"), SpecialSuiteFailureReasons=["Suite Timeout Elapsed"])
        self.assertIn(Result("(suite)", FAILED, 0, "Suite Timeout Elapsed"), report.parse(text))

    def test_a_damaged_report_is_no_empty_one(self):
        for text in ("", "{", "[1]", '[{"SpecReports":[{}]}]', "{}x"):
            with self.assertRaises(Failure):
                report.parse(text)


class JudgeTest(unittest.TestCase):
    def test_only_listed_skips_are_fine(self):
        results = [Result("a", PASSED, 1), Result("b", SKIPPED, 0, "why"), Result("c [Label]", SKIPPED, 0, "why")]
        self.assertEqual(report.problems(results, {"b": "e", "c": "e"}), [])
        self.assertEqual(report.problems(results, {"b": "e"}),
                         ["SKIPPED without being in skips.txt: c [Label]: why"])

    def test_a_run_without_tests_is_not_good(self):
        self.assertEqual(len(report.problems([], {})), 1)

    def test_skips_need_evidence(self):
        self.assertEqual(report.parse_skips("# c\n\nA [x] test\tno SCTP\n"), {"A [x] test": "no SCTP"})
        for text in ("a test", "a test\t ", "a\n"):
            with self.assertRaisesRegex(Failure, ":1: "):
                report.parse_skips(text)

    def test_the_checked_in_list_is_readable(self):
        report.load_skips()

    def test_the_pattern_means_the_names_themselves(self):
        pattern = report.skip_pattern({"[sig-network] DNS a.b (c)": "", "x": ""})
        self.assertTrue(re.search(pattern, "[sig-network] DNS a.b (c) [Slow]"))
        self.assertTrue(re.search(pattern, "Kubernetes e2e suite [sig-network] DNS a.b (c) [Slow]"))
        self.assertTrue(re.search(pattern, "x"))
        for other in ("[sig-network] DNS aXb (c)", "xy", "y x"):
            self.assertIsNone(re.search(pattern, other))

    def test_the_default_focus_chooses_what_it_says(self):
        for name in ("[sig-network] Services should serve [Conformance]",
                     "[sig-network] Networking Granular Checks: Pods x", "[sig-network] NoSNAT should y",
                     "[sig-network] [Feature:IPv6DualStack] should z"):
            self.assertTrue(re.search(conformance.DEFAULT_FOCUS, name), name)
        for name in ("[sig-node] Pods should be [Conformance]", "[sig-network] Netpol should deny",
                     "[sig-network] Services DNSx"):
            self.assertIsNone(re.search(conformance.DEFAULT_FOCUS, name), name)


class TableTest(unittest.TestCase):
    RUNS = [[Result("a|b", PASSED, 1), Result("c", FAILED, 1, "x")], [Result("a|b", PASSED, 1)]]

    def test_a_row_for_each_test_and_a_column_for_each_run(self):
        text = report.table(self.RUNS, {"d": "no SCTP"}, "Three nodes")
        self.assertIn("| a\\|b | passed | passed |\n", text)
        self.assertIn("| c | **failed**: x | not run |\n", text)
        self.assertIn("Run 1: 1 passed, 1 failed, 0 skipped.\n", text)
        self.assertIn("| d | no SCTP |\n", text)

    def test_a_section_replaces_its_former_self_only(self):
        first = report.replace_section("# T\n\nintro\n", "## A\n\nold\n")
        both = report.replace_section(first, "## B\n\nb\n")
        self.assertEqual(both, "# T\n\nintro\n\n## A\n\nold\n\n## B\n\nb\n")
        self.assertEqual(report.replace_section(both, "## A\n\nnew\n"), "# T\n\nintro\n\n## A\n\nnew\n\n## B\n\nb\n")


class ProgressTest(unittest.TestCase):
    def test_marks_are_counted(self):
        text = "Will run 5 of 7144 specs\nRunning in parallel\n••S•\n• [FAILED] [1.5 seconds]\n"
        self.assertEqual(conformance.count(text), (3, 1, 5))


if __name__ == "__main__":
    unittest.main()
