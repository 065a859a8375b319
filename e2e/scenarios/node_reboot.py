# SPDX-License-Identifier: Apache-2.0
"""A node loses power and boots: another boot ID, no namespaces, no bpffs, no /run; its pods serve again, none leaks."""

from pathlib import Path

from .. import leftovers
from ..shell import progress, wait_until
from . import AGNHOST, addresses, check

NODE, OTHER = "n1", "n2"
PODS = 5


def boot_id(node):
    return node.run(["cat", "/proc/sys/kernel/random/boot_id"]).strip()


def ready_since(cluster, node):
    """The boot ID that the API server knows, once the node is Ready with it."""
    return cluster.kubectl("get", "node", node, "-o", "jsonpath={.status.nodeInfo.bootID} "
                           "{.status.conditions[?(@.type==\"Ready\")].status}").split()


def served(lab):
    """The server pods that answer the client on every address."""
    [client] = lab.pods("client")
    return {pod["metadata"]["name"] for pod in lab.pods("server") if addresses(pod) and all(
        lab.http(client["metadata"]["name"], address) == pod["metadata"]["name"] for address in addresses(pod))}


def run(lab):
    node = lab.cluster.nodes[NODE]
    before = leftovers.count(node)
    lab.deployment("server", PODS, node=NODE, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.deployment("client", 1, node=OTHER, image=AGNHOST)
    lab.rolled_out("server")
    lab.rolled_out("client")
    wait_until("every server answers before the reboot", lambda: len(served(lab)) == PODS, 30)
    first = boot_id(node)
    (node.root / "var/lib/kept").write_text("kept\n")
    marker = Path(f"/proc/{node.pid()}/root/run/lost")
    marker.write_text("lost\n")
    with_pods = leftovers.count(node)

    lab.cluster.reboot(NODE)
    second = boot_id(node)
    check(second != first, f"the boot ID is still {first}")
    check((node.root / "var/lib/kept").exists(), "/var/lib was not kept")
    check(not Path(f"/proc/{node.pid()}/root/run/lost").exists(), "/run was kept")
    wait_until(f"{NODE} is Ready again", lambda: ready_since(lab.cluster, NODE) == [second, "True"], 120, every=1)
    progress("node_reboot: the node is Ready again")
    wait_until("every server answers after the reboot", lambda: len(served(lab)) == PODS, 180, every=1)
    leftovers.wait_as_before(lab.cluster, {**leftovers.count_all(lab.cluster), NODE: with_pods})
    lab.kubectl("delete", "deployment/server", "deployment/client")
    lab.pods_gone()
    leftovers.wait_as_before(lab.cluster, {**leftovers.count_all(lab.cluster), NODE: before})
