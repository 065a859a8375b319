# SPDX-License-Identifier: Apache-2.0
"""The project's own scenarios: what a node and a cluster go through, and what must hold meanwhile and after.

A scenario is a module here: the first line of its docstring says what it shows, run(lab) does it and raises Failure
where something does not hold; applies(plan), if it is there, says which clusters it is for. Each gets a namespace of its
own, deleted afterwards, and begins with a good cluster.
"""

import importlib
import json
import pkgutil
import time
import traceback
from dataclasses import dataclass

from ..shell import Failure, progress, wait_until

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.56"
PAUSE = "registry.k8s.io/pause:3.10.1"


class Lab:
    """What a scenario works with: the cluster, a namespace, and shorthands that wait and check."""

    def __init__(self, cluster, namespace):
        self.cluster = cluster
        self.namespace = namespace

    def kubectl(self, *arguments, **options):
        return self.cluster.kubectl(f"--namespace={self.namespace}", *arguments, **options)

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", input="\n---\n".join(json.dumps(item) for item in objects))

    def get(self, kind, selector=""):
        chosen = [f"--selector={selector}"] if selector else []
        return json.loads(self.kubectl("get", kind, "-o", "json", *chosen))["items"]

    def deployment(self, name, replicas, node="", image=PAUSE, args=(), command=(), port=0):
        """A Deployment whose pods are labelled app=name, ended at once when deleted."""
        container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "args": list(args),
                     "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}}}
        if command:
            container["command"] = list(command)
        if port:
            container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
        if node:
            spec["nodeSelector"] = {"kubernetes.io/hostname": node}
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": "50%"}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec}}})

    def service(self, name, port):
        """A ClusterIP Service of the pods app=name, in every family of the cluster."""
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
            "selector": {"app": name}, "ipFamilyPolicy": "PreferDualStack", "ports": [{"port": port}]}})

    def rolled_out(self, name, seconds=180):
        self.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={seconds}s", timeout=seconds + 10)

    def pods(self, app):
        """Running pods of a Deployment that are not being deleted."""
        return [pod for pod in self.get("pods", f"app={app}")
                if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]

    def pods_gone(self, seconds=120):
        wait_until(f"all pods of {self.namespace} are gone", lambda: not self.get("pods"), seconds, every=1)

    def probed(self, name, requests, seconds=120):
        """Waits until a prober has made so many more requests."""
        before = probes(self, name).count
        wait_until(f"{name} makes {requests} more requests", lambda: probes(self, name).count >= before + requests,
                   seconds, every=0.5)

    def http(self, pod, address, path="/hostname", port=8080):
        """What a server says to a pod over HTTP; empty when it does not answer within 2 s."""
        host = f"[{address}]" if ":" in address else address
        return self.kubectl("exec", pod, "--", "curl", "-s", "-m", "2", f"http://{host}:{port}{path}", check=False,
                            timeout=30)


# One line a request: the answer, or FAILED with curl's status.
PROBE = """
while :; do
    answer=$(curl -s -m 3 "$0") && echo "$answer" || echo "FAILED $? $(date -u +%T.%N)"
    sleep 0.1
done
"""


@dataclass(frozen=True)
class Probes:
    """What a prober has seen since it started."""

    answers: list
    failures: list

    @property
    def count(self):
        return len(self.answers) + len(self.failures)


def prober(lab, name, url, node=""):
    """A pod that asks for url ten times a second, each time over a new connection; its first answer is waited for."""
    lab.deployment(name, 1, node=node, image=AGNHOST, command=["sh", "-c", PROBE, url])
    lab.rolled_out(name)
    wait_until(f"{name} gets its first answer", lambda: probes(lab, name).answers, 60, every=0.5)


def probes(lab, name):
    return parse_probes(lab.kubectl("logs", f"deployment/{name}", "--tail=-1"))


def parse_probes(text):
    lines = [line for line in text.splitlines() if line]
    return Probes([line for line in lines if not line.startswith("FAILED")],
                  [line for line in lines if line.startswith("FAILED")])


def addresses(pod):
    return [entry["ip"] for entry in pod["status"].get("podIPs", [])]


def container_ids(pods):
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in pods}


def check(condition, text):
    if not condition:
        raise Failure(text)


def names():
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def applicable(plan):
    """The scenarios that a cluster of this plan can go through: those that do not say otherwise."""
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names()}
    return [name for name, module in modules.items() if getattr(module, "applies", lambda _: True)(plan)]


def title(name):
    return (importlib.import_module(f"{__name__}.{name}").__doc__ or "").strip().splitlines()[0]


def run_one(cluster, name):
    """Runs a scenario; None if all held, else why not."""
    module = importlib.import_module(f"{__name__}.{name}")
    namespace = f"scenario-{name.replace('_', '-')}"
    lab = Lab(cluster, namespace)
    try:
        cluster.wait_ready()
        cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=130)
        cluster.kubectl("create", "namespace", namespace)
        module.run(lab)
        return None
    except Failure as error:
        return str(error)
    except Exception:  # a scenario's own mistake must not hide the others
        return traceback.format_exc()
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--timeout=120s", timeout=130,
                        check=False)


def run(cluster, wanted):
    """Runs scenarios one after the other with a line for each; exit status."""
    unknown = set(wanted) - set(names())
    if unknown:
        raise Failure(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    failed = 0
    for name in wanted or applicable(cluster.plan):
        progress(f"scenario {name}: {title(name)}")
        started = time.monotonic()
        reason = run_one(cluster, name)
        failed += reason is not None
        print(f"{'FAILED' if reason else 'passed'}  {name}  {time.monotonic() - started:.1f} s"
              f"{': ' + reason if reason else ''}", flush=True)
    return 1 if failed else 0
