# SPDX-License-Identifier: Apache-2.0
"""Runs the upstream end-to-end suite, unmodified, and judges its report."""

import os
import subprocess
import threading
import time
from pathlib import Path

from . import components, report
from .shell import Failure, progress

# What the network must pass: Conformance, and the groups beside it that concern pods, Services and names.
DEFAULT_FOCUS = (r"\[sig-network\].*(\[Conformance\]|Granular Checks|NoSNAT|HostPort|\bDNS\b|"
                 r"Connectivity Pod Lifecycle|IPv6DualStack)")
# Left to the other suites by their own labels: features that are off, ten thousand Services, and what kills the
# cluster's own parts.
DEFAULT_SKIP = r"\[Alpha\]|\[Disruptive\]|\[Feature:(PerformanceDNS|SCTPConnectivity|Networking-IPv4|Networking-IPv6)\]"
DOCUMENT = components.ROOT / "docs/conformance.md"
PROGRESS_SECONDS = 20


class Suite:
    """The suite against one cluster. outside: words before a command that give it a way to the cluster."""

    def __init__(self, kubeconfig, outside=(), nodes=3, procs=4):
        self.kubeconfig = kubeconfig
        self.outside = list(outside)
        self.nodes = nodes
        self.procs = procs
        self.paths = components.build_all(components.SUITE)

    def command(self, focus, skips, directory, timeout):
        ginkgo = [str(self.paths["ginkgo"]), f"--procs={self.procs}", "--no-color", f"--focus={focus}",
                  *(f"--skip={skip}" for skip in skips), f"--output-dir={directory}", "--json-report=report.json",
                  f"--timeout={timeout}s", "--flake-attempts=1", str(self.paths["e2e.test"])]
        return [*self.outside, *ginkgo, "--", f"--kubeconfig={self.kubeconfig}", "--provider=skeleton",
                f"--num-nodes={self.nodes}", f"--report-dir={directory}", "--allowed-not-ready-nodes=0",
                "--disable-log-dump"]

    def run(self, focus, skips, directory, timeout=3 * 3600):
        """One run; the report's results. Ginkgo's own output is kept in directory/output.txt."""
        directory.mkdir(parents=True, exist_ok=True)
        old = directory / "report.json"
        old.unlink(missing_ok=True)
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig),
                       "PATH": f"{components.build('kubectl').parent}:{os.environ['PATH']}"}
        output = directory / "output.txt"
        with open(output, "wb") as log:
            suite = subprocess.Popen(self.command(focus, skips, directory, timeout), stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=directory)
            watcher = threading.Thread(target=watch, args=(suite, output), daemon=True)
            watcher.start()
            try:
                suite.wait()
            finally:
                if suite.poll() is None:
                    suite.terminate()
                    suite.wait()
        if not old.exists():
            raise Failure(f"the suite left no report (status {suite.returncode}); see {output}")
        return report.parse(old.read_text())


def count(text):
    """Passed, failed and skipped tests by Ginkgo's marks so far, and how many it wants to run (0: not said yet)."""
    total = 0
    for line in text.splitlines():
        words = line.split()
        if line.startswith("Will run ") and len(words) > 2 and words[2].isdigit():
            total = int(words[2])
    failed = text.count("• [FAILED]") + text.count("• [PANICKED]") + text.count("• [TIMEDOUT]")
    return max(text.count("•") - failed, 0), failed, total


def watch(suite, output):
    """A line now and then while the suite runs."""
    while suite.poll() is None:
        time.sleep(PROGRESS_SECONDS)
        passed, failed, total = count(output.read_text(errors="replace"))
        progress(f"upstream suite: {passed + failed} of {total or '?'} done, {failed} failed")


def results_directory():
    return components.ROOT / "build/e2e" / time.strftime("%Y%m%d-%H%M%S")


def run(suite, focus, skip, runs, heading, write_docs):
    """The suite several times; exit status. Nothing is retried: a test that fails once has failed."""
    allowed = report.load_skips()
    patterns = [pattern for pattern in (skip, report.skip_pattern(allowed)) if pattern]
    directory = results_directory()
    all_results, bad = [], 0
    for number in range(1, runs + 1):
        place = directory / f"run-{number}"
        progress(f"upstream suite, run {number} of {runs}; everything is kept in {place}")
        results = suite.run(focus, patterns, place)
        all_results.append(results)
        wrong = report.problems(results, allowed)
        bad += len(wrong)
        print(f"run {number}: {report.summary(results)}")
        print("".join(f"  {line}\n" for line in wrong), end="")
    if write_docs:
        write_section(report.table(all_results, allowed, heading))
    return 1 if bad else 0


def write_section(section):
    text = DOCUMENT.read_text() if DOCUMENT.exists() else INTRODUCTION
    Path(DOCUMENT).write_text(report.replace_section(text, section))
    progress(f"wrote {DOCUMENT}")


INTRODUCTION = """\
# Conformance

What the upstream end-to-end suite of Kubernetes says, unmodified and with nothing retried. Written by
`./dev e2e --write-docs`; [skips.txt](../e2e/skips.txt) is the list of tests that cannot run where this is tested.
[policy_skips.txt](../e2e/policy_skips.txt) is that of the suite for ClusterNetworkPolicy (`./dev e2e --policy-api`), whose own report is in
[cluster-network-policy-report.yaml](cluster-network-policy-report.yaml); it counts a test as passed when parts of it were left out.
"""
