# SPDX-License-Identifier: Apache-2.0
"""Runs the conformance suite of ClusterNetworkPolicy, unmodified, and judges its output."""

import os
import re
import subprocess
import threading
import time
from pathlib import Path

from . import components, conformance, report
from .shell import Failure, progress

CRDS = components.ROOT / "charts/weir/crds"
SKIPS = Path(__file__).with_name("policy_skips.txt")
REPORT = components.ROOT / "docs/cluster-network-policy-report.yaml"
ENTRY = "TestConformanceProfiles"
ENDED = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)$", re.M)
STATES = {"PASS": report.PASSED, "FAIL": report.FAILED, "SKIP": report.SKIPPED}
# What the suite writes into its report.
ABOUT = {"organization": "weir", "project": "weir", "url": "https://weir.io", "contact": "weir maintainers",
         "additional-info": "./dev e2e --policy-api"}


def parse(text):
    """Results of the smallest parts of the suite, by what `go test -v` prints."""
    ended = {name: (state, float(seconds)) for state, name, seconds in ENDED.findall(text)}
    if ENTRY not in ended:
        raise Failure("the suite did not come to its end")
    parts = [name for name in ended if not any(other.startswith(f"{name}/") for other in ended)]
    results = []
    for name in parts:
        state, seconds = ended[name]
        reason = "" if state == "PASS" else complaint(text, name)
        results.append(report.Result(name.removeprefix(f"{ENTRY}/").replace("_", " "), STATES[state], seconds, reason))
    return sorted(results, key=lambda result: result.name)


def complaint(text, name):
    """The first line that a part says after it has begun, and that looks like a reason."""
    start = text.find(f"=== RUN   {name}\n")
    reasons = re.search(r"^.*(?:FAILED|Error:|Skipping|panic:).*$", text[start:], re.M) if start >= 0 else None
    return reasons.group(0).strip() if reasons else "see its output"


class PolicySuite:
    """The suite against one cluster. outside: words before a command that give it a way to the cluster."""

    def __init__(self, kubeconfig, outside=()):
        self.kubeconfig = kubeconfig
        self.outside = list(outside)
        self.path = components.build_all(["conformance.test"])["conformance.test"]

    def command(self, skips, directory, timeout):
        pattern = "|".join(skip_pattern(name) for name in sorted(skips))
        return [*self.outside, str(self.path), "-test.v", f"-test.timeout={timeout}s", f"-test.run=^{ENTRY}$",
                *([f"-test.skip={pattern}"] if pattern else []),
                "-conformance-profiles=ClusterNetworkPolicy", "-all-features", f"-report-output={directory}/report.yaml",
                *(f"-{name}={value}" for name, value in ABOUT.items()), f"-version={version()}"]

    def run(self, skips, directory, timeout=3600):
        directory.mkdir(parents=True, exist_ok=True)
        kubectl = components.build("kubectl")
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        subprocess.run([*self.outside, kubectl, "apply", "--server-side", "-f", CRDS], env=environment, check=True,
                       stdout=subprocess.DEVNULL)
        output = directory / "output.txt"
        with open(output, "wb") as log:
            suite = subprocess.Popen(self.command(skips, directory, timeout), stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=subprocess.STDOUT, env=environment, cwd=directory)
            threading.Thread(target=watch, args=(suite, output), daemon=True).start()
            try:
                suite.wait()
            finally:
                if suite.poll() is None:
                    suite.terminate()
                    suite.wait()
        return parse(output.read_text(errors="replace"))


def skip_pattern(name):
    """What `go test -skip` takes for a test, or a part of one, by its name in the results."""
    return "/".join(f"^{re.escape(part)}$" for part in (ENTRY, *name.replace(" ", "_").split("/")))


def version():
    found = re.search(r"^appVersion: \"?([^\"\n]+)", (components.ROOT / "charts/weir/Chart.yaml").read_text(), re.M)
    return found.group(1)


def watch(suite, output):
    """A line now and then while the suite runs."""
    while suite.poll() is None:
        time.sleep(conformance.PROGRESS_SECONDS)
        states = [state for state, _, _ in ENDED.findall(output.read_text(errors="replace"))]
        begun = re.findall(rf"^=== RUN   {ENTRY}/(\S+)$", output.read_text(errors="replace"), re.M)
        progress(f"policy suite: {begun[-1] if begun else 'preparing'}, {states.count('FAIL')} failed")


def run(suite, runs, heading):
    """The suite several times; exit status. Nothing is retried: a part that fails once has failed."""
    allowed = report.parse_skips(SKIPS.read_text(), SKIPS)
    directory = conformance.results_directory()
    all_results, bad = [], 0
    for number in range(1, runs + 1):
        place = directory / f"policy-{number}"
        progress(f"policy suite, run {number} of {runs}; everything is kept in {place}")
        results = suite.run(allowed, place)
        all_results.append(results)
        wrong = report.problems(results, allowed)
        bad += len(wrong)
        print(f"run {number}: {report.summary(results)}")
        print("".join(f"  {line}\n" for line in wrong), end="")
    if heading:
        conformance.write_section(report.table(all_results, allowed, heading))
        REPORT.write_text((place / "report.yaml").read_text())
    return 1 if bad else 0
