# SPDX-License-Identifier: Apache-2.0
"""200 pods come and go, and no node is left with an interface, namespace, address, route or process more."""

import time

from .. import leftovers
from ..shell import progress
from . import PAUSE, check

PODS = 40
ROUNDS = 5


def warm_up(lab):
    """A pod on each node comes and goes first: a network may keep what a node's first pod brought, such as a bridge."""
    container = {"name": "main", "image": PAUSE, "imagePullPolicy": "IfNotPresent"}
    lab.apply({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "first"}, "spec": {
        "selector": {"matchLabels": {"app": "first"}}, "template": {
            "metadata": {"labels": {"app": "first"}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}}})
    lab.kubectl("rollout", "status", "daemonset/first", "--timeout=120s", timeout=130)
    lab.kubectl("delete", "daemonset/first")
    lab.pods_gone()


def run(lab):
    warm_up(lab)
    before = leftovers.count_all(lab.cluster)
    started = time.monotonic()
    seen = set()
    for number in range(1, ROUNDS + 1):
        if number == 1:
            lab.deployment("churn", PODS)
        else:
            lab.kubectl("rollout", "restart", "deployment/churn")
        lab.rolled_out("churn")
        pods = lab.pods("churn")
        used = [address["ip"] for pod in pods for address in pod["status"]["podIPs"]]
        check(len(used) == len(set(used)), f"two pods have one address: {sorted(used)}")
        seen |= {pod["metadata"]["uid"] for pod in pods}
        progress(f"churn: round {number} of {ROUNDS}, {len(seen)} pods so far")
    check(len(seen) >= PODS * ROUNDS, f"only {len(seen)} pods came up")
    lab.kubectl("delete", "deployment/churn")
    lab.pods_gone()
    progress(f"churn: {len(seen)} pods in {time.monotonic() - started:.1f} s")
    leftovers.wait_as_before(lab.cluster, before)
