# SPDX-License-Identifier: Apache-2.0
"""What a run of the upstream suite says: Ginkgo's JSON report, the list of allowed skips, the table for docs/."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .shell import Failure

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SUITE = "Kubernetes e2e suite"  # what Ginkgo puts before every name
SKIPS = Path(__file__).with_name("skips.txt")


@dataclass(frozen=True)
class Result:
    """One test of one run. reason: the failure's or skip's first line."""

    name: str
    state: str
    seconds: float
    reason: str = ""


def test_name(spec):
    return " ".join([*(spec.get("ContainerHierarchyTexts") or []), spec.get("LeafNodeText", "")]).strip()


def first_line(text):
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def parse(text):
    """Results of the tests that were chosen, by Ginkgo's report; suite-level failures count as tests.

    A test that focus or skip patterns leave out has state "skipped" and no reason: it is no result.
    """
    results = []
    try:
        suites = json.loads(text)
        for suite in suites:
            for spec in suite.get("SpecReports") or []:
                state = spec["State"]
                reason = first_line((spec.get("Failure") or {}).get("Message", ""))
                is_test = spec.get("LeafNodeType", "It") == "It"
                if state in ("skipped", "pending") and (not reason or not is_test):
                    continue
                if not is_test and state == PASSED:
                    continue
                name = test_name(spec) if is_test else f"({spec['LeafNodeType']}) {test_name(spec)}".strip()
                short = state if state in (PASSED, SKIPPED) else FAILED
                if short == FAILED and state != FAILED:
                    reason = f"{state}: {reason}"
                results.append(Result(name, short, spec.get("RunTime", 0) / 1e9, reason))
            for reason in suite.get("SpecialSuiteFailureReasons") or []:
                if not any(result.state == FAILED for result in results):
                    results.append(Result("(suite)", FAILED, 0, reason))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"the suite's JSON report cannot be read: {error!r}") from None
    return sorted(results, key=lambda result: result.name)


def parse_skips(text, where=SKIPS):
    """Lines "test name<TAB>evidence": allowed skips, name to evidence. Blank lines and # lines say nothing."""
    skips = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, tab, evidence = line.partition("\t")
        if not tab or not evidence.strip():
            raise Failure(f"{where}:{number}: a test's full name, a tab, and the evidence why it cannot run")
        skips[name.strip()] = evidence.strip()
    return skips


def load_skips():
    return parse_skips(SKIPS.read_text())


def skip_pattern(skips):
    """A regular expression of Go that matches exactly the tests of the list; empty if there is none.

    Ginkgo matches it against the suite's description and the test's name.
    """
    return "|".join(f"^({SUITE} )?{go_quote(name)}( |$)" for name in sorted(skips))


def go_quote(text):
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def problems(results, skips):
    """Why a run is not good: failures, skips nobody allowed, nothing run at all. Empty if it is good."""
    found = [f"FAILED {r.name}: {r.reason}" for r in results if r.state == FAILED]
    found += [f"SKIPPED without being in skips.txt: {r.name}: {r.reason}" for r in results
              if r.state == SKIPPED and not allowed(r.name, skips)]
    if not any(r.state == PASSED for r in results):
        found.append("no test passed: does the focus match any?")
    return found


def allowed(name, skips):
    return any(name == skip or name.startswith(f"{skip} ") for skip in skips)


def summary(results):
    counts = {state: sum(r.state == state for r in results) for state in (PASSED, FAILED, SKIPPED)}
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def table(runs, skips, heading):
    """The section of docs/conformance.md for some runs of one focus on one kind of cluster."""
    names = sorted({result.name for run in runs for result in run})
    states = [{result.name: result for result in run} for run in runs]
    lines = [f"## {heading}", ""]
    lines += [f"Run {number}: {summary(run)}." for number, run in enumerate(runs, 1)]
    lines += ["", f"| Test | {' | '.join(f'Run {n}' for n in range(1, len(runs) + 1))} |",
              f"|---|{'---|' * len(runs)}"]
    for name in names:
        cells = [describe(run.get(name)) for run in states]
        lines.append(f"| {cell(name)} | {' | '.join(cells)} |")
    if skips:
        lines += ["", "Not run, and why:", "", "| Test | Evidence |", "|---|---|"]
        lines += [f"| {cell(name)} | {cell(evidence)} |" for name, evidence in sorted(skips.items())]
    return "\n".join(lines) + "\n"


def describe(result):
    if result is None:
        return "not run"
    if result.state == PASSED:
        return "passed"
    return f"**{result.state}**: {cell(result.reason)}"


def replace_section(document, section):
    """A document with the section of the same heading replaced, or appended."""
    heading = section.splitlines()[0]
    pattern = re.compile(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", re.M | re.S)
    if pattern.search(document):
        return pattern.sub(lambda _: section + "\n", document).rstrip("\n") + "\n"
    return document.rstrip("\n") + "\n\n" + section
