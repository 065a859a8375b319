# SPDX-License-Identifier: Apache-2.0
"""Weir as its users install it: an image of a build tree, on every node, and the chart, by Helm."""

import importlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import components, snapshot, weir
from .plan import PODS, SERVICES
from .shell import progress

CHART = components.ROOT / "charts/weir"
RELEASE = "weir"
NAMESPACE = "kube-system"
BEFORE = "before-weir.json"
DAEMON_SET = f"daemonset/{RELEASE}"
# A node with this label is given no agent, and loses the one it has.
WITHOUT = "weir-agent"
# Two builds of the agent: tag of the image to the program in the build tree.
BUILDS = {"one": "weir-agent", "next": "weir-agent-next"}


def values(plan, cgroup_root):
    """What this cluster's administrator would write down.

    The cgroup root is given because this node's is the host's subtree, which the agent otherwise refuses.
    """
    assigned = {"assignPodCIDRs": True} if plan.ranges == "weir" else {}
    without = {"key": WITHOUT, "operator": "NotIn", "values": ["off"]}
    return {
        "image": {"tag": "one", "pullPolicy": "Never"},
        "cluster": {"apiServers": [plan.server()], "podCIDRs": [str(PODS[family]) for family in plan.families],
                    **assigned,
                    "serviceCIDRs": [str(SERVICES[family]) for family in plan.families]},
        "host": {"cgroupRoot": cgroup_root},
        "extraArgs": list(plan.agent_flags),
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [without]}]}}}}


def load_image(cluster, build="one"):
    """Makes the image of a build and imports it into every node."""
    image = importlib.import_module("image.__main__")  # which itself needs parts of this package
    name = f"{image.REPOSITORY}:{build}"
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        tree = image.make_tree(Path(cluster.plan.binaries).resolve(), scratch, BUILDS[build])
        archive = scratch / f"weir-{build}.tar"
        image.write(tree, archive, name, compress=False)
        with ThreadPoolExecutor(len(cluster.nodes)) as pool:
            list(pool.map(lambda node: node.import_image(archive), cluster.nodes.values()))
    progress(f"image {name} is on every node")


def helm(cluster, *arguments, all_said=False, **options):
    """Helm's output, with what it tells of hooks if all_said. What it keeps goes with the cluster."""
    whole = ["sh", "-c", "exec \"$@\" 2>&1", "sh"] if all_said else []
    directory = cluster.plan.directory / "helm"
    places = {f"HELM_{kind}_HOME": str(directory / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    return cluster.run_outside([*whole, components.build("helm"), *arguments, f"--namespace={NAMESPACE}"],
                               env={**cluster.environment(), **places}, **options)


def deploy(cluster, *arguments, seconds=180):
    """`helm upgrade --install` with the cluster's values, those given besides, and the end of it waited for."""
    file = cluster.plan.directory / "values.json"
    root = weir.cgroup_root(next(iter(cluster.nodes.values())))
    file.write_text(json.dumps(values(cluster.plan, root), indent=1) + "\n")
    helm(cluster, "upgrade", "--install", RELEASE, CHART, f"--values={file}", *arguments)
    wait_rolled_out(cluster, seconds)


def wait_rolled_out(cluster, seconds=180):
    cluster.kubectl(f"--namespace={NAMESPACE}", "rollout", "status", DAEMON_SET, f"--timeout={seconds}s",
                    timeout=seconds + 10)


def before(cluster):
    """What each node was like before the first installation; see snapshot.py."""
    kept = json.loads((cluster.plan.directory / BEFORE).read_text())
    return {name: {kind: set(things) for kind, things in kinds.items()} for name, kinds in kept.items()}


def remember(cluster):
    """Writes down what nodes are like now."""
    found = {name: {kind: sorted(things) for kind, things in snapshot.take(node).items()}
             for name, node in cluster.nodes.items()}
    (cluster.plan.directory / BEFORE).write_text(json.dumps(found) + "\n")


def install(cluster):
    """The image and the chart; every node's agent is there when this returns."""
    load_image(cluster)
    remember(cluster)
    deploy(cluster)
