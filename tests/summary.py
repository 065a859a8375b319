#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sums up JUnit files of ctest: failures and skips by name, then one line with the counts.

usage: summary.py EXPECTED_SKIPS JUNIT...

EXPECTED_SKIPS lists, one a line, patterns of tests that may be skipped on machines without what they need; a skip that
is not listed is a failure, because a test that silently stops running proves nothing.
"""
import fnmatch
import sys
import xml.etree.ElementTree as ElementTree


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        allowed = [line.split("#")[0].strip() for line in f]
    allowed = [pattern for pattern in allowed if pattern]
    passed, failed, skipped, unexpected = 0, [], [], []
    seconds = 0.0
    for path in sys.argv[2:]:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            seconds += float(case.get("time") or 0)
            if case.get("status") == "run":
                passed += 1
            elif case.get("status") in ("notrun", "disabled"):
                skip = case.find("skipped")
                skipped.append((case.get("name"), skip.get("message") if skip is not None else ""))
                if not any(fnmatch.fnmatch(case.get("name"), pattern) for pattern in allowed):
                    unexpected.append(case.get("name"))
            else:
                failed.append(case.get("name"))
    for name, message in skipped:
        print(f"skipped: {name} {message}")
    for name in unexpected:
        print(f"FAILED: {name} was skipped and is not in {sys.argv[1]}")
    for name in failed:
        print(f"FAILED: {name}")
    print(f"{seconds:.0f} s of tests")
    print(f"{passed} passed, {len(failed) + len(unexpected)} failed, {len(skipped) - len(unexpected)} skipped")
    return 1 if failed or unexpected or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
