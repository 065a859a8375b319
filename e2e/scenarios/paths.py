# SPDX-License-Identifier: Apache-2.0
"""Fragments of both families pass between nodes, and who sends too much for a way learns what it carries."""

from contextlib import contextmanager
from ipaddress import ip_network

from .. import fabric, places
from ..plan import CONTROL_PLANE
from ..shell import progress
from . import _bulk

NODE, OTHER = _bulk.NODE, _bulk.OTHER
MTU = 1300
# Between nodes over IPv6 alone, where nobody fragments outer packets: an inner one of 1280 must have room.
MTU6, OUTER6 = 1400, 70
# Somebody outside, behind the nodes' router.
OUTSIDE = "narrow"
OUTSIDE_LINK = {4: ("198.51.100.1", "198.51.100.2", 30), 6: ("fd00:198::1", "fd00:198::2", 64)}


def encapsulated(plan):
    """Whether nodes that share a link reach each other through VXLAN."""
    return "--routing=vxlan" in plan.agent_flags


def between_nodes(plan):
    """What the narrow way between the nodes carries, and what senders then know of it: nothing if it is fragmented."""
    if not encapsulated(plan):
        return MTU, MTU
    return (MTU, None) if 4 in plan.families else (MTU6, MTU6 - OUTER6)


def batch(place, lines):
    place.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")


@contextmanager
def narrow_outside(cluster):
    """A place outside whose router has MTU bytes for what goes there, and says so to whoever sends more."""
    plan, hub = cluster.plan, places.of_machine(cluster.control_plane)
    name = fabric.make_namespace(plan, OUTSIDE)
    outside = places.Place("outside", cluster.control_plane, str(fabric.path(plan.name, OUTSIDE)))
    try:
        hub.run(["ip", "link", "add", OUTSIDE, "type", "veth", "peer", "name", "eth0", "netns", name])
        for place, device, which in ((hub, OUTSIDE, 0), (outside, "eth0", 1)):
            batch(place, [*(f"address add {OUTSIDE_LINK[family][which]}/{OUTSIDE_LINK[family][2]} dev {device}"
                            f"{' nodad' if family == 6 else ''}" for family in plan.families), f"link set {device} up"])
        batch(hub, [f"route add {OUTSIDE_LINK[family][1]} dev {OUTSIDE} mtu lock {MTU}" for family in plan.families])
        routers = [OUTSIDE_LINK[family][0] for family in plan.families]
        batch(outside, ["link set lo up", *(f"route add default via {router}" for router in routers)])
        yield outside
    finally:
        fabric.unplug(plan.name, OUTSIDE)


def detours(cluster):
    """For each way between the two nodes: the node that sends, the destination, its parts, and the node it leads to."""
    ranges = cluster.pod_cidrs()
    for here, there in ((NODE, OTHER), (OTHER, NODE)):
        for address in cluster.plan.addresses(there):
            if encapsulated(cluster.plan):
                yield here, address, [address], address
            else:
                cidr = next(one for one in ranges[there] if fabric.version(one) == address.version)
                yield here, cidr, ip_network(cidr).subnets(1), address  # before the node's own route


@contextmanager
def narrow_fabric(cluster):
    """What goes between the nodes goes through their router, which has few bytes for it."""
    mtu, _ = between_nodes(cluster.plan)
    hub, routers = places.of_machine(cluster.control_plane), cluster.plan.addresses(CONTROL_PLANE)
    back = [(hub, "route flush cache")]
    redirects = [f"net.ipv4.conf.{where}.send_redirects" for where in ("all", fabric.BRIDGE)]
    hub.run(["sysctl", "-qw", *(f"{name}=0" for name in redirects)])
    try:
        for here, target, parts, address in detours(cluster):
            router = next(one for one in routers if one.version == address.version)
            where = f"dev {fabric.BRIDGE}" if encapsulated(cluster.plan) else f"via {address}"
            batch(hub, [f"route replace {target} {where} mtu lock {mtu}"])
            back.append((hub, f"route {'del' if encapsulated(cluster.plan) else 'replace'} {target} {where}"))
            node = places.of_machine(cluster.nodes[here])
            for part in parts:
                batch(node, [f"route add {part} via {router}"])
                back.append((node, f"route del {part}"))
        yield
    finally:
        for place, line in reversed(back):
            batch(place, [line])
        hub.run(["sysctl", "-qw", *(f"{name}=1" for name in redirects)])


def through_the_narrow(cluster, pair):
    """Whoever sends learns it, behind whatever translation; encapsulated packets of IPv4 are fragmented instead."""
    node = places.of_machine(cluster.nodes[NODE])
    _, mtu = between_nodes(cluster.plan)
    all_of_them = (pair.client, pair.server, node)
    for place in (pair.client, node):
        _bulk.datagrams(place, [one for one in pair.pods if fabric.version(one.address) == 4])
    _bulk.streams(pair.client, [*pair.pods, *pair.services], mtu, mtu, all_of_them)
    _bulk.streams(node, pair.pods, up=mtu, unlearn=all_of_them)


def to_the_outside(cluster, pair, outside):
    """Answers of a NodePort's server, and what a masqueraded pod and a node send."""
    nodes = [places.of_machine(node) for node in cluster.nodes.values()]
    _bulk.streams(outside, pair.node_ports, down=MTU, unlearn=(pair.server, outside, *nodes))
    _bulk.forget(*nodes)
    _bulk.learn(outside, pair.node_ports)
    _bulk.datagrams(outside, pair.node_ports)
    server = places.BulkServer(outside, _bulk.PORT)
    try:
        targets = [_bulk.Target("outside", OUTSIDE_LINK[family][1]) for family in cluster.plan.families]
        for place in (pair.client, places.of_machine(cluster.nodes[NODE])):
            _bulk.streams(place, targets, up=MTU, unlearn=(place, outside))
    finally:
        server.stop()


def run(lab):
    cluster = lab.cluster
    with _bulk.pair(lab) as pair:
        _bulk.everything(lab, pair)
        progress("paths: fragments pass between nodes, to pods, Services and NodePorts")
        with narrow_outside(cluster) as outside:
            to_the_outside(cluster, pair, outside)
            progress("paths: pods learn of a narrow way outside, as servers and as clients")
        with narrow_fabric(cluster):
            through_the_narrow(cluster, pair)
        progress("paths: everything passes a narrow way between nodes")
        _bulk.everything(lab, pair)
