# SPDX-License-Identifier: Apache-2.0
"""The link between machines: a bridge in the control plane's network namespace, a veth to each node.

Nothing of it is in the host's own namespace: clusters do not meet each other, nor the host's routes and sysctls.
The control plane's namespace is the nodes' router, and what an outside client of the cluster is.
"""

from pathlib import Path

from .plan import CONTROL_PLANE, LINK, netns
from .shell import run

BRIDGE = "br0"
NETNS = Path("/run/netns")


def path(cluster, machine):
    return NETNS / netns(cluster, machine)


def batch(namespace, lines):
    """Several `ip` commands within a namespace, in one process."""
    run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines) + "\n")


def address_lines(plan, machine, device):
    for address in plan.with_prefix(machine):
        yield f"address add {address} dev {device}{' nodad' if ':' in address else ''}"


def make_namespace(plan, machine):
    """A namespace whose kernel settings fit the plan's families before any interface is up."""
    name = netns(plan.name, machine)
    run(["ip", "netns", "add", name])
    settings = [f"net.ipv6.conf.{where}.disable_ipv6={0 if 6 in plan.families else 1}" for where in ("all", "default")]
    if 6 in plan.families:
        settings.append("net.ipv6.conf.all.forwarding=1")
    run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1", *settings])
    return name


def make_hub(plan):
    """The control plane's namespace with the bridge."""
    name = make_namespace(plan, CONTROL_PLANE)
    batch(name, ["link set lo up", f"link add {BRIDGE} type bridge", *address_lines(plan, CONTROL_PLANE, BRIDGE),
                 f"link set {BRIDGE} up"])


def plug_in(plan, machine):
    """A node's namespace with its eth0 on the link."""
    name = make_namespace(plan, machine)
    hub = netns(plan.name, CONTROL_PLANE)
    run(["ip", "-n", hub, "link", "add", machine, "type", "veth", "peer", "name", "eth0", "address",
         plan.link_address(machine), "netns", name])
    batch(hub, [f"link set {machine} master {BRIDGE} up"])
    routes = [f"route add default via {address}" for address in plan.addresses(CONTROL_PLANE)]
    batch(name, ["link set lo up", *address_lines(plan, machine, "eth0"), "link set eth0 up", *routes])


def route_pods(plan, to, cidrs, namespaces):
    """Routes to a node's pods in other machines' namespaces: what a cloud's or a rack's router would know."""
    for machine in namespaces:
        lines = [f"route replace {cidr} via {next(a for a in plan.addresses(to) if a in LINK[version(cidr)])}"
                 for cidr in cidrs]
        batch(netns(plan.name, machine), lines)


def version(cidr):
    return 6 if ":" in cidr else 4


def unplug(cluster, machine):
    """Removes a machine's namespace; its interfaces go with it."""
    if path(cluster, machine).exists():
        # The kernel empties a namespace when it has the time; another one's link wants the same name at once.
        run(["ip", "-n", netns(cluster, CONTROL_PLANE), "link", "delete", machine], check=False)
        run(["ip", "netns", "delete", netns(cluster, machine)])


def machines(cluster):
    """Names of the machines whose namespaces are there."""
    prefix = netns(cluster, "")
    return sorted(entry.name.removeprefix(prefix) for entry in NETNS.glob(f"{prefix}*"))
