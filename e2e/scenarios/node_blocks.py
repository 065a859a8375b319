# SPDX-License-Identifier: Apache-2.0
"""Nodes that nobody gives pod ranges get blocks: none twice, the same one after a return, and none that is in use."""

import json
from ipaddress import ip_network

from ..plan import PODS
from ..shell import progress, wait_until
from ..weir import POOL_REST
from . import AGNHOST, addresses, check

NODE, OTHER = "n1", "n2"
GHOST = "ghost"


def applies(plan):
    return plan.ranges == "weir"


def blocks(cluster):
    """Each Node's ranges."""
    return cluster.pod_cidrs()


def claims(cluster):
    """The Node of each block that is claimed."""
    leases = json.loads(cluster.kubectl("--namespace=kube-system", "get", "leases", "--selector=weir.io/block", "-o",
                                        "json"))
    return {item["metadata"]["annotations"]["weir.io/block"]: item["spec"]["holderIdentity"]
            for item in leases["items"]}


def leader(cluster):
    return cluster.kubectl("--namespace=kube-system", "get", "lease", "weir-leader",
                           "-o", "jsonpath={.spec.holderIdentity}").rpartition("_")[0]


def check_blocks(cluster):
    """Every Node has a block of each family, of the pools, that overlaps no other; and its Leases."""
    given = [(name, ip_network(block)) for name, ranges in blocks(cluster).items() for block in ranges]
    for index, (name, block) in enumerate(given):
        check(block.subnet_of(PODS[block.version]), f"{name}'s {block} is not of {PODS[block.version]}")
        for other, another in given[:index]:
            check(block.version != another.version or not block.overlaps(another),
                  f"{name} has {block}, {other} has {another}")
    wait_until("every block has its Lease", lambda: {str(block): name for name, block in given} == claims(cluster), 20)


def served(lab):
    [client] = lab.pods("client")
    return {pod["metadata"]["name"] for pod in lab.pods("server") if addresses(pod) and all(
        lab.http(client["metadata"]["name"], address) == pod["metadata"]["name"] for address in addresses(pod))}


def make_ghost(cluster):
    cluster.kubectl("apply", "-f", "-", input=json.dumps(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": GHOST}, "spec": {"unschedulable": True}}))


def run(lab):
    cluster = lab.cluster
    check_blocks(cluster)
    lab.deployment("server", 2, node=NODE, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.deployment("client", 1, node=OTHER, image=AGNHOST)
    lab.rolled_out("server")
    lab.rolled_out("client")
    wait_until("pods of two blocks reach each other", lambda: len(served(lab)) == 2, 30)

    before = blocks(cluster)[NODE]
    cluster.kubectl("delete", "node", NODE)
    cluster.nodes[NODE].stop("kubelet")
    cluster.nodes[NODE].start("kubelet")
    wait_until(f"{NODE} is there again, with its blocks", lambda: blocks(cluster).get(NODE) == before, 60, every=0.5)
    cluster.wait_ready()
    wait_until("its pods are reached as before", lambda: len(served(lab)) == 2, 60)
    progress("node_blocks: a Node that came back has its blocks")

    first = leader(cluster)
    cluster.nodes[first].stop("weir-agent")
    try:
        make_ghost(cluster)
        wait_until("another agent gives blocks", lambda: GHOST in blocks(cluster), 40, every=0.5)
        check(leader(cluster) != first, f"{first} is still elected without an agent")
        check_blocks(cluster)
    finally:
        cluster.nodes[first].start("weir-agent")
    freed = blocks(cluster)[GHOST]
    cluster.kubectl("delete", "node", GHOST)
    check(set(freed) <= set(claims(cluster)), "the blocks of a Node are free as soon as it is gone")
    wait_until("the blocks of a Node that is gone are free", lambda: not set(freed) & set(claims(cluster)),
               POOL_REST + 40, every=1)
    check_blocks(cluster)
