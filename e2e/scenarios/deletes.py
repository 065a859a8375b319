# SPDX-License-Identifier: Apache-2.0
"""Pods are deleted while the agent is away, and after their namespaces are: all succeed, addresses are free again."""

import json
import os
import signal
from pathlib import Path

from .. import agents, cgroups, leftovers
from ..shell import progress, wait_until
from . import AGNHOST, addresses, check

NODE = "n1"
PODS = 5


def pod_addresses(lab, app):
    return {address for pod in lab.pods(app) for address in addresses(pod)}


def without_agent(lab, node, agent):
    """DELs wait for the agent and are done when it is back. What it gives out meanwhile is given to nobody else."""
    lab.deployment("away", PODS, node=NODE)
    lab.rolled_out("away")
    agent.stop()
    try:
        lab.kubectl("delete", "deployment/away")
        lab.pods_gone()
    finally:
        agent.start()
    lab.deployment("next", PODS, node=NODE, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.rolled_out("next")
    used = pod_addresses(lab, "next")
    check(len(used) == PODS * len(lab.cluster.plan.families), f"pods share addresses: {sorted(used)}")
    wait_until("the addresses in use are those of pods there are",
               lambda: used <= leftovers.addresses(node) and len(leftovers.addresses(node)) == expected(lab), 60, every=1)


def expected(lab):
    """Addresses that the pods on the node have, as the API server says."""
    on_node = f"--field-selector=spec.nodeName={NODE}"
    items = json.loads(lab.cluster.kubectl("get", "pods", "-A", "-o", "json", on_node))
    pods = [pod for pod in items["items"] if not pod["spec"].get("hostNetwork") and pod["status"].get("podIPs")]
    return sum(len(pod["status"]["podIPs"]) for pod in pods)


def network_of(pid):
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0  # ended meanwhile


def end_sandboxes(node, names):
    """Kills every process of the namespaces and unmounts them: a namespace without path and process is gone."""
    directory = Path(f"/proc/{node.pid()}/root/run/netns")
    inodes = {(directory / name).stat().st_ino for name in names}
    for pid in cgroups.members(cgroups.find(node.plan.name, node.name)):
        if network_of(pid) in inodes:
            os.kill(pid, signal.SIGKILL)
    for name in names:
        node.run(["umount", f"/run/netns/{name}"], check=False)
        (directory / name).unlink(missing_ok=True)


def without_namespace(lab, node):
    there = leftovers.namespaces(node)
    lab.deployment("robbed", PODS, node=NODE)
    lab.rolled_out("robbed")
    robbed = leftovers.namespaces(node) - there
    check(len(robbed) == PODS, f"{len(robbed)} namespaces came with {PODS} pods")
    end_sandboxes(node, robbed)
    wait_until("the pods have new namespaces",
               lambda: len(leftovers.namespaces(node) - there - robbed) == PODS and len(lab.pods("robbed")) == PODS,
               180, every=1)
    progress(f"deletes: {PODS} pods have new namespaces")


def run(lab):
    node = lab.cluster.nodes[NODE]
    before = leftovers.count_all(lab.cluster)
    without_agent(lab, node, agents.agent(lab.cluster, node))
    lab.kubectl("delete", "deployment/next")
    lab.pods_gone()
    without_namespace(lab, node)
    lab.kubectl("delete", "deployment/robbed")
    lab.pods_gone()
    leftovers.wait_as_before(lab.cluster, before)
