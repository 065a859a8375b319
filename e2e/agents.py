# SPDX-License-Identifier: Apache-2.0
"""The network's agent of one node, however it is run: stopped, started, killed."""

import os
import signal

from . import cgroups, chart
from .leftovers import program
from .shell import Failure, wait_until


class ServiceAgent:
    """One that its node runs as a service."""

    RESTARTED = 20  # seconds within which a killed one must be back

    def __init__(self, node, name):
        self.node, self.name = node, name

    def process(self):
        """Its process id, of whatever namespace; 0 if it does not run."""
        return self.node.ask("status").get(self.name, 0)

    def stop(self):
        self.node.stop(self.name)

    def start(self):
        self.node.start(self.name)

    def kill(self):
        """As kill -9; whoever keeps it running starts it again."""
        self.node.ask(f"kill {self.name}")


class PodAgent:
    """One in a pod of the chart's DaemonSet."""

    RESTARTED = 120  # kubelet waits longer each time

    def __init__(self, cluster, node):
        self.cluster, self.node = cluster, node
        self.name = "weir-agent"

    def process(self):
        members = cgroups.members(cgroups.find(self.node.plan.name, self.node.name))
        return next((pid for pid in members if program(pid) == self.name), 0)

    def stop(self):
        self.cluster.kubectl("label", "node", self.node.name, "--overwrite", f"{chart.WITHOUT}=off")
        wait_until(f"the agent on {self.node.name} ends", lambda: not self.process(), 60)

    def start(self):
        self.cluster.kubectl("label", "node", self.node.name, f"{chart.WITHOUT}-")

    def kill(self):
        os.kill(self.process(), signal.SIGKILL)


def agent(cluster, node):
    """The agent of a node of the cluster."""
    if cluster.plan.network == "reference":
        return ServiceAgent(node, "kube-proxy")
    if cluster.plan.network != "weir":
        raise Failure(f"network {cluster.plan.network} has no agents")
    return PodAgent(cluster, node) if cluster.plan.by_chart else ServiceAgent(node, "weir-agent")
