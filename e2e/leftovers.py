# SPDX-License-Identifier: Apache-2.0
"""What a node holds because of its pods, counted by means that do not depend on the network: what must not grow."""

import json
from pathlib import Path

from . import cgroups, weir
from .shell import Failure, wait_until


# Of Weir's, those that a pod has entries in.
TABLES = ("weir_pods", "weir_devices", "weir_netns")


def links(node):
    return {link["ifname"] for link in json.loads(node.run(["ip", "-json", "link"]))}


def namespaces(node):
    directory = Path(f"/proc/{node.pid()}/root/run/netns")
    return {entry.name for entry in directory.glob("*")} if directory.exists() else set()


def shims(node):
    """containerd's processes that look after a pod each."""
    return sum(program(pid) == "containerd-shim" for pid in cgroups.members(cgroups.find(node.plan.name, node.name)))


def program(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def host_local_addresses(node):
    """Addresses that the reference IPAM has given out, by its files."""
    directory = node.root / "var/lib/cni/networks/reference"
    return {file.name for file in directory.glob("*") if file.name.count(".") == 3 or ":" in file.name}


def weir_addresses(node):
    """Addresses that Weir's IPAM says are in use."""
    listed = json.loads(node.run([f"{weir.INSIDE}/cli/weir", "ipam", "list", "--output=json"]))
    return {item["address"] for item in listed["addresses"]}


def weir_tables(node):
    """Entries of the kernel tables that hold something of each pod: table to count."""
    status = json.loads(node.run([f"{weir.INSIDE}/cli/weir", "status", "--output=json"], check=False) or "{}")
    entries = {table["name"]: table["entries"] for table in status.get("datapath", {}).get("maps", [])}
    return {f"entries of {name}": entries.get(name, 0) for name in TABLES}


def addresses(node):
    return {"reference": host_local_addresses, "weir": weir_addresses}[node.plan.network](node)


def count(node):
    """Every kind of thing with how many there are."""
    tables = weir_tables(node) if node.plan.network == "weir" else {}
    return {**tables, "links": len(links(node)), "namespaces": len(namespaces(node)), "runtime shims": shims(node),
            "addresses": len(addresses(node)),
            "routes": len(node.run(["ip", "route"]).splitlines()) + len(node.run(["ip", "-6", "route"]).splitlines())}


def count_all(cluster):
    return {name: count(node) for name, node in cluster.nodes.items()}


def wait_as_before(cluster, before, seconds=90):
    """Waits until no node holds more than it did; a Failure that says what was left."""
    def grown():
        return {f"{name}: {kind}": (before[name][kind], now) for name, kinds in count_all(cluster).items()
                for kind, now in kinds.items() if now > before[name][kind]}
    try:
        wait_until("nothing is left behind", lambda: not grown(), seconds, every=1)
    except Failure:
        left = ", ".join(f"{what} {old} before, {new} now" for what, (old, new) in grown().items())
        raise Failure(f"left behind after {seconds} s: {left}") from None
