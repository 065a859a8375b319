# SPDX-License-Identifier: Apache-2.0
"""What a cluster is to be: its name, nodes, address families and network. Pure; names and addresses are made here."""

import json
import re
from dataclasses import asdict, dataclass
from ipaddress import ip_network
from pathlib import Path

from .shell import Failure

STATE = Path("/var/tmp")  # a disk, not memory: images are unpacked below

LINK = {4: ip_network("172.30.0.0/24"), 6: ip_network("fd00:172:30::/64")}
PODS = {4: ip_network("10.244.0.0/16"), 6: ip_network("fd00:10:244::/56")}
SERVICES = {4: ip_network("10.96.0.0/16"), 6: ip_network("fd00:10:96::/112")}
NODE_MASK = {4: 24, 6: 64}
FAMILIES = {"v4": (4,), "v6": (6,), "dual": (4, 6)}
NETWORKS = ("none", "reference", "weir")
AGENTS = ("binaries", "chart")
RANGES = ("controllers", "weir")
CONTROL_PLANE = "cp"
FIRST_NODE_HOST = 11


@dataclass(frozen=True)
class Plan:
    """A cluster on paper. Its machines are the control plane and nodes n1…nN, all on one link."""

    name: str = "dev"
    nodes: int = 3
    ip: str = "dual"
    network: str = "none"
    proxy_mode: str = "nftables"
    binaries: str = ""  # build tree whose programs nodes run, for network weir
    agent: str = "binaries"  # how they run them: as services of the node, or in pods of the chart
    ranges: str = "controllers"  # who gives Nodes their pod ranges
    agent_flags: tuple = ()  # more of the agents' flags

    def __post_init__(self):
        if not re.fullmatch(r"[a-z][a-z0-9]{0,11}", self.name):
            raise Failure(f"cluster name \"{self.name}\": one letter, then at most 11 letters or digits")
        if not 1 <= self.nodes <= 20:
            raise Failure(f"{self.nodes} nodes: 1 to 20")
        if (self.ip not in FAMILIES or self.network not in NETWORKS or self.agent not in AGENTS
                or self.ranges not in RANGES):
            raise Failure(f"no plan for ip {self.ip}, network {self.network}, agent {self.agent}, ranges {self.ranges}")
        if self.ranges == "weir" and self.network == "reference":
            raise Failure("ranges weir: the reference's plugins give Nodes none")

    @property
    def families(self):
        """4, 6 or both; the first is the cluster's primary family."""
        return FAMILIES[self.ip]

    @property
    def by_chart(self):
        """Whether the chart is what runs the network."""
        return self.network == "weir" and self.agent == "chart"

    @property
    def directory(self):
        return state_directory(self.name)

    @property
    def node_names(self):
        return [f"n{i}" for i in range(1, self.nodes + 1)]

    @property
    def kubeconfig(self):
        return self.directory / "admin.conf"

    def addresses(self, machine):
        """The machine's addresses on the link, primary family first."""
        host = 1 if machine == CONTROL_PLANE else FIRST_NODE_HOST - 1 + int(machine[1:])
        return [LINK[family][host] for family in self.families]

    def link_address(self, machine):
        """The machine's MAC address. It stays over a reboot, as hardware's does: others' neighbour entries hold."""
        host = FIRST_NODE_HOST - 1 + int(machine[1:])
        return f"02:57:65:69:72:{host:02x}"

    def with_prefix(self, machine):
        return [f"{a}/{LINK[a.version].prefixlen}" for a in self.addresses(machine)]

    def pod_cidrs(self):
        return ",".join(str(PODS[family]) for family in self.families)

    def service_cidrs(self):
        return ",".join(str(SERVICES[family]) for family in self.families)

    def service_address(self, number):
        """The number-th address of the primary Service range: 1 is the API server's, 10 is DNS."""
        return SERVICES[self.families[0]][number]

    def server(self):
        """The API server's URL on the link."""
        address = self.addresses(CONTROL_PLANE)[0]
        return f"https://[{address}]:6443" if address.version == 6 else f"https://{address}:6443"

    def save(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "plan.json").write_text(json.dumps(asdict(self)) + "\n")


def state_directory(name):
    return STATE / f"weir-cluster-{name}"


def load(name):
    """The plan of a cluster that was brought up."""
    path = state_directory(name) / "plan.json"
    try:
        return Plan(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise Failure(f"there is no cluster \"{name}\": ./dev cluster up makes one") from None
    except (ValueError, TypeError) as error:
        raise Failure(f"{path} is damaged ({error}): ./dev cluster down removes it") from None


def netns(cluster, machine):
    """The name of a machine's network namespace."""
    return f"weir-{cluster}-{machine}"
