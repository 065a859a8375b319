# SPDX-License-Identifier: Apache-2.0
"""What a network can leave on a node, read by other people's programs, to be compared before and after."""

import re
from pathlib import Path

from . import weir
from .shell import run

# Names of what is on disk or in a file system of the kernel, below these.
DIRECTORIES = ("/sys/fs/bpf", "/etc/cni/net.d", "/opt/cni/bin", "/run/weir", "/run/netns", "/host")
COMMANDS = {
    "links": ["ip", "-o", "link"],
    "addresses": ["ip", "-o", "address"],
    "routes": ["ip", "-4", "route", "show", "table", "all"],
    "IPv6 routes": ["ip", "-6", "route", "show", "table", "all"],
    "rules": ["ip", "rule"],
    "IPv6 rules": ["ip", "-6", "rule"],
    "neighbours": ["ip", "neighbour", "show", "nud", "permanent"],
    "queueing disciplines": ["tc", "qdisc", "show"],
    "firewall": ["nft", "list", "ruleset"],
    "programs on devices": ["bpftool", "net", "show"],
}
# What changes by itself: lifetimes, counters, numbers of devices and of programs.
MOVING = re.compile(r"expires \d+sec|valid_lft \w+|preferred_lft \w+|\bqlen \d+|^\d+: |\bid \d+|\(\d+\)|"
                    r"link-netnsid \d+|handle \w+:|counter packets \d+ bytes \d+")
MOVING_SETTINGS = ("nf_conntrack_count", "/route/flush")


def lines(text):
    return {" ".join(MOVING.sub("", line).split()) for line in text.splitlines()} - {""}


def settings(node):
    """Every kernel setting of the node's network, with its value."""
    values = run(node.enter(["sh", "-c", "cd /proc/sys && grep -rH . net 2>/dev/null || true"]))
    return {line for line in values.splitlines() if not any(name in line for name in MOVING_SETTINGS)}


def paths(node):
    """Runtimes make /run/netns with their first pod."""
    root = Path(f"/proc/{node.pid()}/root")
    return {str(place)[len(str(root)):] for directory in DIRECTORIES
            for place in [root / directory.lstrip("/"), *(root / directory.lstrip("/")).rglob("*")]
            if place.exists()} - {"/run/netns"}


def take(node):
    """Kind of thing to the set of those there are."""
    found = {kind: lines(node.run(command, check=False)) for kind, command in COMMANDS.items()}
    found["programs on cgroups"] = lines(node.run(["bpftool", "cgroup", "tree", weir.cgroup_root(node)], check=False))
    found["kernel settings"] = settings(node)
    found["paths"] = paths(node)
    return found


def differences(before, after):
    """What came and what went, a line each; empty if nothing did."""
    changes = []
    for kind in before:
        changes += [f"{kind}: + {line}" for line in sorted(after[kind] - before[kind])]
        changes += [f"{kind}: - {line}" for line in sorted(before[kind] - after[kind])]
    return changes
