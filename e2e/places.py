# SPDX-License-Identifier: Apache-2.0
"""Network namespaces that programs of this host are run in: pods', machines', and others on the cluster's link."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, fabric, traffic
from .machine import Machine
from .shell import Failure, run

BULK = Path(__file__).with_name("bulk.py")
SECONDS = 120


@dataclass(frozen=True)
class Place:
    """A network namespace with a name for messages. What runs there counts to a machine, and ends with it."""

    name: str
    machine: Machine
    network: str

    def enter(self, argv):
        return ["nsenter", f"--net={self.network}", "--", *map(str, argv)]

    def options(self):
        groups = cgroups.find(self.machine.plan.name, self.machine.name)
        return {"preexec_fn": lambda: cgroups.join(groups)}

    def run(self, argv, **options):
        """A command's output."""
        return run(self.enter(argv), **self.options(), **options)

    def bulk(self, *arguments):
        """What a client of bulk.py says."""
        return json.loads(self.run([sys.executable, "-I", BULK, *arguments], timeout=SECONDS))


def of_pod(node, pod):
    return Place(f"pod {pod['metadata']['name']}", node, f"/proc/{traffic.process_of(node, pod)}/ns/net")


def of_machine(machine):
    return Place(machine.name, machine, str(fabric.path(machine.plan.name, machine.name)))


class BulkServer:
    """bulk.py's server at a place until it is stopped."""

    def __init__(self, place, port):
        families = "".join(map(str, place.machine.plan.families))
        self.process = subprocess.Popen(place.enter([sys.executable, "-I", BULK, "serve", families, port]),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **place.options())
        if self.process.stdout.readline() != "ready\n":
            raise Failure(f"the server in {place.name} ended with {self.process.wait()}")

    def stop(self):
        self.process.kill()
        self.process.communicate()
