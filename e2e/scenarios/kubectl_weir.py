# SPDX-License-Identifier: Apache-2.0
"""The plugin of kubectl: every kind of path is tried, agents are asked node by node, and gathered for a report."""

import os

from .. import components
from ..shell import Failure, progress
from . import check

PLUGIN = components.ROOT / "src/cli/kubectl-weir"
NODE = "n1"
FILES = ("status", "config", "drops", "pod-list", "service-list", "backend-list", "ipam-list", "flows", "version",
         "log")


def applies(plan):
    return plan.by_chart


def plugin(lab, *arguments, **options):
    """As kubectl finds it: by its name, in a directory of PATH."""
    environment = lab.cluster.environment()
    environment["PATH"] = f"{PLUGIN.parent}{os.pathsep}{environment['PATH']}"
    return lab.cluster.run_outside(["kubectl", "weir", *arguments], env=environment, **options)


def run(lab):
    nodes, families = len(lab.cluster.nodes), len(lab.cluster.plan.families)
    lines = plugin(lab, "connectivity", "test", timeout=300).splitlines()[1:]
    # Each node and a pod on it try a server on each node, the Service, each node's NodePort; pods its name too.
    wanted = 2 * nodes * families * (nodes + 1 + nodes) + nodes
    good = [line for line in lines if line.endswith(" ok")]
    check(len(lines) == len(good) == wanted, f"{len(good)} of {len(lines)} paths are good, of {wanted} that there are")
    progress(f"kubectl_weir: {wanted} paths are good")

    check("== n1" in plugin(lab, "status"), "the status of all nodes has no heading for n1")
    check("==" not in plugin(lab, "--node", NODE, "version"), "one node's answer has a heading")
    try:
        plugin(lab, "--node", "nosuch", "version")
        raise Failure("a node that is not there was asked")
    except Failure as error:
        check("nosuch" in str(error) and NODE in str(error), f"the message does not say which nodes there are: {error}")

    directory = lab.cluster.plan.directory / "sysdump"
    plugin(lab, "sysdump", str(directory))
    for name in lab.cluster.nodes:
        for file in FILES:
            check((directory / name / f"{file}.txt").stat().st_size > 0, f"{file} of {name} is empty")
    text = "".join(file.read_text(errors="replace") for file in directory.rglob("*.txt"))
    check("BEGIN" not in text and "eyJ" not in text, "a certificate or a token is in the report")
