# SPDX-License-Identifier: Apache-2.0
"""Weir on a cluster's nodes without an image: the programs of a build tree, run as each node's service."""

from pathlib import Path

from . import components
from .shell import Failure

INSIDE = "/opt/weir"
PROGRAMS = ("agent/weir-agent", "cni/weir-cni", "cli/weir")
RELEASE = components.ROOT / "build/release"


def permissions():
    """What the agents may ask of the API server: the chart's rules, for the user of their certificate."""
    rules = (components.ROOT / "charts/weir/files/clusterrole-rules.yaml").read_text()
    manifest = Path(__file__).with_name("manifests") / "weir-agent-rbac.yaml"
    return manifest.read_text().replace("rules: CHART\n", f"rules:\n{rules}")


def binds(build):
    """What a node must see of a build tree."""
    source = Path(build).resolve() / "src"
    for program in PROGRAMS:
        if not (source / program).is_file():
            raise Failure(f"there is no {source / program}: ./dev build release makes it")
    return [(source, INSIDE, True)]


def agent_command(plan, node, kubeconfig, cgroup_root):
    """The agent's own flags; what it can find out by itself is left to it.

    The cgroup root is given because this node's is the host's subtree, which the agent otherwise refuses.
    """
    return [f"{INSIDE}/agent/weir-agent", "--source=kubernetes", f"--kubeconfig={kubeconfig}", f"--node-name={node}",
            f"--cluster-cidrs={plan.pod_cidrs()}", f"--service-cidrs={plan.service_cidrs()}",
            f"--cgroup-root={cgroup_root}", "--cni-conf-dir=/etc/cni/net.d", "--cni-bin-dir=/opt/cni/bin",
            *plan.agent_flags]


def cgroup_root(node):
    """Where a node has its cgroup2 mounted."""
    hybrid = Path(f"/proc/{node.pid()}/root/sys/fs/cgroup/unified")
    return "/sys/fs/cgroup/unified" if hybrid.exists() else "/sys/fs/cgroup"


def install(plan, node, pki):
    """Defines and starts the agent on a node that runs; it installs the CNI plugin itself."""
    kubeconfig = pki.path("weir-agent.conf")
    node.define("weir-agent", agent_command(plan, node.name, kubeconfig, cgroup_root(node)))
    node.start("weir-agent")
