# SPDX-License-Identifier: Apache-2.0
"""What the agents' metrics say."""

import re

from .shell import run

PORT = 9470
LINE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)')


def scrape(node):
    """Samples of a node's agent: (name, labels) to value; labels is a sorted tuple of pairs."""
    text = node.run(["curl", "-s", "-m", "10", f"http://127.0.0.1:{PORT}/metrics"], check=False)
    return parse(text)


def parse(text):
    samples = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if found:
            labels = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', found[2] or "")))
            samples[found[1], labels] = float(found[3])
    return samples


def version(samples):
    return next((dict(labels)["version"] for (name, labels) in samples if name == "weir_build_info"), "")


def histogram(samples, name, **wanted):
    """Upper bound to how many were at most that, for one histogram."""
    counts = {}
    for (metric, labels), value in samples.items():
        given = dict(labels)
        if metric == f"{name}_bucket" and wanted.items() <= given.items():
            counts[float(given["le"])] = value
    return counts


def since(after, before):
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def merged(histograms):
    bounds = sorted({bound for counts in histograms for bound in counts})
    return {bound: sum(counts.get(bound, 0) for counts in histograms) for bound in bounds}


def quantile(counts, share):
    """The upper bound below which that share lies: what the histogram can say of it."""
    total = max(counts.values(), default=0)
    return next((bound for bound, count in sorted(counts.items()) if total and count >= share * total), 0.0)
