# SPDX-License-Identifier: Apache-2.0
"""The runtime ends, politely and by kill -9: running pods and their connections do not notice, new pods start after."""

from ..shell import wait_until
from . import AGNHOST, addresses, check, container_ids

NODE, OTHER = "n1", "n2"


def answers(lab):
    [server], [client] = lab.pods("server"), lab.pods("client")
    name = server["metadata"]["name"]
    return all(lab.http(client["metadata"]["name"], address) == name for address in addresses(server))


def run(lab):
    node = lab.cluster.nodes[NODE]
    lab.deployment("server", 1, node=NODE, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.deployment("client", 1, node=OTHER, image=AGNHOST)
    lab.rolled_out("server")
    lab.rolled_out("client")
    wait_until("the server answers", lambda: answers(lab), 30)
    same = container_ids(lab.pods("server"))

    node.stop("containerd")
    check(answers(lab), "the pod does not answer while the runtime is stopped")
    node.start("containerd")
    lab.deployment("after-stop", 3, node=NODE)
    lab.rolled_out("after-stop")

    before = node.ask("status")["containerd"]
    node.ask("kill containerd")
    check(answers(lab), "the pod does not answer after the runtime was killed")
    wait_until("the runtime is started again", lambda: node.ask("status").get("containerd", before) != before, 10)
    lab.deployment("after-kill", 3, node=NODE)
    lab.rolled_out("after-kill")

    check(container_ids(lab.pods("server")) == same, "the server's container was replaced")
    check(answers(lab), "the pod does not answer after the runtime is back")
