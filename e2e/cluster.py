# SPDX-License-Identifier: Apache-2.0
"""A whole cluster: up, down, and what one does with it in between."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cgroups, chart, components, fabric, imagestore, reference, weir
from .controlplane import ControlPlane
from .node import Node
from .pki import Authority
from .plan import CONTROL_PLANE, state_directory
from .shell import Failure, progress, run, wait_until

MANIFESTS = Path(__file__).with_name("manifests")


class Cluster:
    """A cluster by its plan, running or not."""

    def __init__(self, plan):
        self.plan = plan
        self.pki = Authority(plan)
        self.bin_dir = components.build("kubectl").parent
        self.control_plane = ControlPlane(plan, self.bin_dir)
        files = weir.binds(plan.binaries) if plan.network == "weir" else []
        self.nodes = {name: Node(plan, name, self.bin_dir, files) for name in plan.node_names}

    def up(self):
        """Brings everything up from nothing, or says what is in the way."""
        if is_there(self.plan.name):
            raise Failure(f"cluster \"{self.plan.name}\" is there: ./dev cluster down, or another --name")
        components.build_all(components.CLUSTER)
        store = imagestore.build()
        self.plan.save()
        self.pki.create()
        progress(f"control plane of \"{self.plan.name}\"")
        self.control_plane.up(self.pki)
        progress(f"nodes {', '.join(self.nodes)}")
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.up(self.pki, store), self.nodes.values()))
        wait_until("every node has registered", lambda: len(self.registered()) == len(self.nodes), 60, every=0.5)
        self.kubectl("apply", "-f", "-", input=coredns(self.plan))
        self.install_network()

    def install_network(self):
        """The network of the plan; without one the nodes stay NotReady until somebody brings theirs."""
        if self.plan.network == "none":
            progress("no network: nodes are not Ready until one is installed")
            return
        progress(f"network: {self.plan.network}")
        if self.plan.network == "weir":
            self.install_weir()
        wait_until("every node has its pod ranges", lambda: len(self.pod_cidrs()) == len(self.nodes), 60, every=0.5)
        cidrs = self.pod_cidrs()
        for name, ranges in cidrs.items():  # the link's router knows where pods are, as a cloud's does
            fabric.route_pods(self.plan, name, ranges, [CONTROL_PLANE])
        if self.plan.network == "reference":
            for name, ranges in cidrs.items():
                reference.install(self.plan, self.nodes[name], ranges, self.pki)
        self.wait_ready()

    def install_weir(self):
        if self.plan.by_chart:
            return chart.install(self)
        self.kubectl("apply", "-f", "-", input=weir.permissions())
        for node in self.nodes.values():
            weir.install(self.plan, node, self.pki)

    def wait_ready(self):
        """Until every node is Ready and DNS answers."""
        self.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=120s", timeout=130)
        self.kubectl("--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=180s",
                     timeout=190)
        progress("every node is Ready, DNS is there")

    def registered(self):
        return self.kubectl("get", "nodes", "-o", "name").split()

    def pod_cidrs(self):
        """Each registered node's Pod ranges, once it has all."""
        items = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        found = {item["metadata"]["name"]: item["spec"].get("podCIDRs", []) for item in items}
        return {name: cidrs for name, cidrs in found.items() if len(cidrs) == len(self.plan.families)}

    # Commands

    def kubectl_command(self, *arguments):
        return [*self.control_plane.outside(), str(self.bin_dir / "kubectl"), f"--kubeconfig={self.plan.kubeconfig}",
                *arguments]

    def kubectl(self, *arguments, **options):
        """kubectl's output."""
        return run(self.kubectl_command(*arguments), env=self.environment(), **options)

    def run_outside(self, argv, **options):
        """The output of a command of the host that reaches the cluster's link."""
        return run([*self.control_plane.outside(), *argv], **options)

    def environment(self):
        """What programs need that talk to the cluster; kubectl's cache goes with the cluster."""
        return {**os.environ, "KUBECONFIG": str(self.plan.kubeconfig), "PATH": f"{self.bin_dir}:{os.environ['PATH']}",
                "KUBECACHEDIR": str(self.plan.directory / "kubectl-cache")}

    def load_image(self, archive):
        """Imports an OCI or docker archive into every node."""
        archive = Path(archive).resolve()
        if not archive.is_file():
            raise Failure(f"there is no archive {archive}")
        for node in self.nodes.values():
            node.import_image(archive)
            progress(f"{archive.name} is on {node.name}")

    def machine(self, name):
        if name == CONTROL_PLANE:
            return self.control_plane
        if name not in self.nodes:
            raise Failure(f"no machine \"{name}\": {', '.join([CONTROL_PLANE, *self.nodes])}")
        return self.nodes[name]

    def reboot(self, name):
        """Power-cycles a node. What an administrator would have made permanent of the network is made again."""
        if name not in self.nodes:
            raise Failure(f"no node \"{name}\": {', '.join(self.nodes)}")
        self.nodes[name].reboot()
        if self.plan.network == "reference":
            for other, cidrs in self.pod_cidrs().items():
                if other != name:
                    fabric.route_pods(self.plan, other, cidrs, [name])

    def status(self):
        """What runs, as text; and whether all of it does."""
        lines, good = [], True
        for machine in (self.control_plane, *self.nodes.values()):
            running = machine.ask("status") if machine.answers() else {}
            defined = sorted(file.stem for file in (machine.root / "etc/init").glob("*.json"))
            missing = [name for name in defined if name not in running]
            good = good and bool(running) and not missing
            state = "down" if not running else f"missing {', '.join(missing)}" if missing else "runs"
            lines.append(f"{machine.name:4} {state:20} {', '.join(sorted(running))}")
        return "\n".join(lines), good


def coredns(plan):
    text = (MANIFESTS / "coredns.yaml").read_text()
    text = text.replace("RESOLVERS", " ".join(map(str, plan.addresses(CONTROL_PLANE))))
    return text.replace("clusterIP: ADDRESS", f"clusterIP: \"{plan.service_address(10)}\"")


def is_there(name):
    return bool(fabric.machines(name) or cgroups.find(name) or state_directory(name).exists())


def down(name):
    """Removes whatever there is of a cluster, by its name; nothing there is fine. Raises if something resists."""
    groups = cgroups.find(name)
    cgroups.kill(groups)
    cgroups.remove(groups)
    for machine in fabric.machines(name):
        fabric.unplug(name, machine)
    directory = state_directory(name)
    if directory.exists():
        shutil.rmtree(directory)


def exec_in(command):
    """Replaces this process by a command."""
    os.execvp(command[0], [str(word) for word in command])


def call(command, **options):
    """Runs a command with this terminal; its exit status."""
    return subprocess.run([str(word) for word in command], check=False, **options).returncode
