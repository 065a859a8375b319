# SPDX-License-Identifier: Apache-2.0
"""Weir on a cluster's nodes without an image: the programs of a build tree, run as each node's service."""

from pathlib import Path

from . import components
from .shell import Failure, progress, run

INSIDE = "/opt/weir"
PROGRAMS = ("agent/weir-agent", "cni/weir-cni", "cli/weir")
RELEASE = components.ROOT / "build/release"
POOL_REST = 20  # seconds: scenarios wait for it
RULES = components.ROOT / "charts/weir/files"


def build():
    """The release build, unless it is there: what is there may be what somebody wants to try."""
    if all((RELEASE / "src" / program).is_file() for program in PROGRAMS):
        return
    progress("building Weir")
    run([components.ROOT / "dev", "build", "release", "weir-agent", "weir-agent-next", "weir", "weir-cni"],
        timeout=3600)


def permissions():
    """What the agents may ask of the API server: the chart's rules, for the user of their certificate."""
    text = (Path(__file__).with_name("manifests") / "weir-agent-rbac.yaml").read_text()
    for place, file in (("CLUSTER", "clusterrole-rules.yaml"), ("NAMESPACE", "role-rules.yaml")):
        text = text.replace(f"rules: {place}\n", f"rules:\n{(RULES / file).read_text()}")
    return text


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
    pools = [f"--pool-cidrs={plan.pod_cidrs()}", f"--pool-rest={POOL_REST}s"] if plan.ranges == "weir" else []
    return [f"{INSIDE}/agent/weir-agent", "--source=kubernetes", f"--kubeconfig={kubeconfig}", f"--node-name={node}",
            f"--cluster-cidrs={plan.pod_cidrs()}", f"--service-cidrs={plan.service_cidrs()}",
            f"--cgroup-root={cgroup_root}", "--cni-conf-dir=/etc/cni/net.d", "--cni-bin-dir=/opt/cni/bin",
            *pools, *plan.agent_flags]


def cgroup_root(node):
    """Where a node has its cgroup2 mounted."""
    hybrid = Path(f"/proc/{node.pid()}/root/sys/fs/cgroup/unified")
    return "/sys/fs/cgroup/unified" if hybrid.exists() else "/sys/fs/cgroup"


def install(plan, node, pki):
    """Defines and starts the agent on a node that runs; it installs the CNI plugin itself."""
    kubeconfig = pki.path("weir-agent.conf")
    node.define("weir-agent", agent_command(plan, node.name, kubeconfig, cgroup_root(node)))
    node.start("weir-agent")
