# SPDX-License-Identifier: Apache-2.0
"""Load from within the cluster: load.py in pods' and nodes' network namespaces."""

import json
import subprocess
import sys
from pathlib import Path

from . import cgroups
from .shell import Failure

SCRIPT = Path(__file__).with_name("load.py")
START_SECONDS = 60


def process_of(node, pod):
    """The host's id of a process of the pod's first container."""
    container = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
    for pid in cgroups.members(cgroups.find(node.plan.name, node.name)):
        try:
            if container in Path(f"/proc/{pid}/cgroup").read_text():
                return pid
        except OSError:
            continue  # ended meanwhile
    raise Failure(f"pod {pod['metadata']['name']} has no process on {node.name}")


class Load:
    """One client that runs until it is stopped. where: for messages; pid: whose network it uses."""

    def __init__(self, node, where, pid, rate, stay_open, urls):
        self.where = where
        groups = cgroups.find(node.plan.name, node.name)
        self.client = subprocess.Popen(
            ["nsenter", f"--target={pid}", "--net", "--", sys.executable, "-I", str(SCRIPT), f"--rate={rate}",
             f"--open={stay_open}", *urls],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: cgroups.join(groups))

    def wait_open(self):
        """Until those that stay open are there."""
        if self.client.stdout.readline() != "open\n":
            raise Failure(f"the load from {self.where} ended with {self.client.wait()}")

    def stop(self):
        """Ends it; what it counted."""
        output, _ = self.client.communicate(timeout=START_SECONDS)
        if self.client.returncode != 0:
            raise Failure(f"the load from {self.where} ended with {self.client.returncode}")
        return json.loads(output)

    def kill(self):
        """Ends it if it still runs; what it counted is lost."""
        if self.client.poll() is None:
            self.client.kill()
            self.client.wait()


def lost(result):
    """Every end of a connection that is not a good one, as "kind: how" to count."""
    return {f"{kind}: {how}": count for kind, how, count in result["ends"] if how != "ok"}
