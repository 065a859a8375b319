# SPDX-License-Identifier: Apache-2.0
"""What continuous integration runs: a small cluster, the restart of an agent, a part of the upstream suite. In bounded time.

Programs that are not there are built as far as the time goes; what was built is kept for the next run. Where they
cannot be had, or no time is left, that is said loudly and is no failure; what fails on a cluster that came up is one.
"""

import time

from . import cluster as clusters
from . import components, conformance, report, scenarios
from . import plan as plans
from .shell import Failure, progress

NODES = 2
BINARIES = components.ROOT / "build/dev"
SCENARIO = "agent_restart"
# One test or two of each kind of path: between pods, to Services, their affinity and NodePorts, names, host ports.
FOCUS = (r"\[sig-network\].*(Granular Checks: Pods should function for|"
         r"DNS should provide DNS for (the cluster|services) |"
         r"Services should (serve a basic endpoint from pods|be able to create a functioning NodePort service|"
         r"be able to switch session affinity for service with type clusterIP)|"
         r"HostPort validates that there is no conflict).*\[Conformance\]")
UP_SECONDS = 240  # for the cluster, at least
SCENARIO_SECONDS = 180
SUITE_SECONDS = 240


class Skipped(Exception):
    """There is a reason why nothing, or nothing more, can be run here."""


class Clock:
    """How much is left of the time that there is."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()

    def need(self, seconds, what):
        if self.left() < seconds:
            raise Skipped(f"{self.left():.0f} s are left, and {what} may take {seconds} s")


def build_programs(clock):
    """Everything that a cluster and the suite are made of, while enough time stays to use it."""
    reserve = UP_SECONDS + SCENARIO_SECONDS + SUITE_SECONDS
    names = [*components.CLUSTER, *components.IMAGES, *components.SUITE]
    missing = [name for name in names if not components.place(name).exists()]
    for number, name in enumerate(missing, 1):
        left = int(clock.left()) - reserve
        if left < 30:
            raise Skipped(f"no time is left to build {', '.join(missing[number - 1:])}; the next run goes on from there")
        progress(f"building {name} ({number} of {len(missing)}, at most {left} s)")
        started = time.monotonic()
        try:
            components.build(name, left)
        except Failure as error:
            raise Skipped(str(error)) from None
        progress(f"built {name} in {time.monotonic() - started:.0f} s")


def suite_part(cluster, clock):
    """The part of the upstream suite; what is wrong, a line each."""
    clock.need(SUITE_SECONDS, "a part of the upstream suite")
    suite = conformance.Suite(cluster.plan.kubeconfig, cluster.control_plane.outside(), NODES, procs=2)
    allowed = report.load_skips()
    results = suite.run(FOCUS, [conformance.DEFAULT_SKIP], conformance.results_directory(), int(clock.left()))
    print(f"upstream suite, a part: {report.summary(results)}")
    return report.problems(results, allowed) or ([] if results else ["no test of it was run"])


def on_cluster(cluster, clock):
    """Runs what there is to run, the shortest first; exit status."""
    clock.need(UP_SECONDS, "a cluster")
    cluster.up()
    clock.need(SCENARIO_SECONDS, f"the scenario {SCENARIO}")
    status = scenarios.run(cluster, [SCENARIO])
    try:
        wrong = suite_part(cluster, clock)
    except Skipped as reason:
        tell(reason)
        return status
    print("".join(f"  {line}\n" for line in wrong), end="")
    return 1 if wrong else status


def tell(reason):
    line = "=" * 100
    print(f"{line}\nSKIPPED, of the cluster part: {reason}\n{line}", flush=True)


def run(name, seconds):
    """A cluster of that name, made and removed again. Exit status, 0 also where nothing could be run."""
    if clusters.is_there(name):
        raise Failure(f"cluster \"{name}\" is there: ./dev cluster down, or another --name")
    clock = Clock(seconds)
    started = time.monotonic()
    try:
        build_programs(clock)
        plan = plans.Plan(name, NODES, network="weir", agent="binaries", binaries=str(BINARIES))
        status = on_cluster(clusters.Cluster(plan), clock)
    except Skipped as reason:
        tell(reason)
        status = 0
    finally:
        clusters.down(name)
    progress(f"the cluster part took {time.monotonic() - started:.0f} s")
    return status
