# SPDX-License-Identifier: Apache-2.0
"""A client pod and a server pod on two nodes, a Service with NodePorts between them, and what must come through."""

from contextlib import contextmanager
from dataclasses import dataclass

from .. import fabric, places
from ..shell import wait_until
from . import addresses, check

NODE, OTHER = "n1", "n2"
PORT = 9123
# With any MTU: one packet, one that just does not fit, a few fragments, many.
SIZES = (1, 1200, 1473, 4000, 20000, 60000)
BYTES = 3 << 20


@dataclass(frozen=True)
class Target:
    """An address of the server, with its ports."""

    name: str
    address: str
    tcp: int = PORT
    udp: int = PORT


@dataclass(frozen=True)
class Pair:
    """The pods as places, and the ways to the server."""

    client: places.Place
    server: places.Place
    pods: list  # targets: the pod's own addresses
    services: list  # its ClusterIPs
    node_ports: list  # of both nodes


def expose(lab):
    ports = [{"name": name.lower(), "protocol": name, "port": PORT} for name in ("TCP", "UDP")]
    lab.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"}, "spec": {
        "type": "NodePort", "selector": {"app": "server"}, "ipFamilyPolicy": "PreferDualStack", "ports": ports}})
    [service] = lab.get("services")
    return service["spec"]


def make(lab):
    for name, node in (("client", NODE), ("server", OTHER)):
        lab.deployment(name, 1, node=node)
        lab.rolled_out(name)
    [client], [server] = lab.pods("client"), lab.pods("server")
    nodes = lab.cluster.nodes
    service = expose(lab)
    node_ports = {port["name"]: port["nodePort"] for port in service["ports"]}
    return Pair(places.of_pod(nodes[NODE], client), places.of_pod(nodes[OTHER], server),
                [Target("pod", address) for address in addresses(server)],
                [Target("Service", address) for address in service["clusterIPs"]],
                [Target(f"NodePort of {name}", str(address), **node_ports) for name in (NODE, OTHER)
                 for address in lab.cluster.plan.addresses(name)])


@contextmanager
def pair(lab):
    """Both pods, with a server that all its addresses lead to."""
    made = make(lab)
    server = places.BulkServer(made.server, PORT)
    try:
        outside = places.of_machine(lab.cluster.control_plane)
        ways = [*((made.client, one) for one in made.services), *((outside, one) for one in made.node_ports)]
        for place, target in ways:
            wait_until(f"{target.name} {target.address} is there for {place.name}",
                       lambda p=place, t=target: p.bulk("up", t.address, t.tcp, 1)["how"] == "ok", 30)
        yield made
    finally:
        server.stop()


def datagrams(place, targets, sizes=SIZES):
    """Every datagram there and back, at the first attempt."""
    for target in targets:
        seen = place.bulk("udp", target.address, target.udp, *sizes)
        wrong = {size: how for size, how in seen.items() if how != "ok"}
        check(not wrong, f"datagrams from {place.name} to {target.name} {target.address}: {wrong}")


def learn(place, targets):
    """A datagram too many each way: nobody fragments IPv6 on its way, so what has no room is lost, and its sender told."""
    for target in targets:
        for _ in ("there", "back") if fabric.version(target.address) == 6 else ():
            place.bulk("udp", target.address, target.udp, 1473)


def forget(*those):
    """Of what these places have learnt of ways: a receiver that knows tells its sender, which then need not learn."""
    for place in those:
        for family in ("-4", "-6"):
            place.run(["ip", family, "route", "flush", "cache"])


def streams(place, targets, up=None, down=None, unlearn=()):
    """Every byte there and back. up, down: what their senders must know of the way afterwards, if given, where the
    places of unlearn know nothing before."""
    for target in targets:
        for way, mtu in (("up", up), ("down", down)):
            forget(*unlearn)
            seen = place.bulk(way, target.address, target.tcp, BYTES)
            what = f"a stream {way} from {place.name} to {target.name} {target.address}"
            check(seen["how"] == "ok", f"{what}: {seen['how']}")
            check(mtu in (None, seen["mtu"]), f"{what}: the way carries {mtu}, and its sender believes {seen['mtu']}")


def everything(lab, made):
    """All ways by which somebody reaches the server, each with datagrams and streams."""
    node, outside = places.of_machine(lab.cluster.nodes[NODE]), places.of_machine(lab.cluster.control_plane)
    learn(outside, made.node_ports)  # behind them there may be the overlay
    for place, targets in ((made.client, [*made.pods, *made.services, *made.node_ports]),
                           (node, [*made.pods, *made.services, *made.node_ports]), (outside, made.node_ports)):
        datagrams(place, targets)
        streams(place, targets)
