# SPDX-License-Identifier: Apache-2.0
"""Programs that a cluster is made of: Kubernetes and its suites, built from pinned Go modules, once a machine."""

import os
import re
import subprocess
import time
from pathlib import Path

from .shell import Failure, progress

ROOT = Path(__file__).resolve().parents[1]
GO_TOOL = ROOT / "tests/tools/go-tool.sh"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weir/tools"

KUBERNETES = "k8s.io/kubernetes"
POLICY_API = "sigs.k8s.io/network-policy-api"
PACKAGES = {
    "kubectl": f"{KUBERNETES}/cmd/kubectl",
    "kube-apiserver": f"{KUBERNETES}/cmd/kube-apiserver",
    "kube-controller-manager": f"{KUBERNETES}/cmd/kube-controller-manager",
    "kube-scheduler": f"{KUBERNETES}/cmd/kube-scheduler",
    "kubelet": f"{KUBERNETES}/cmd/kubelet",
    "kube-proxy": f"{KUBERNETES}/cmd/kube-proxy",
    "agnhost": f"{KUBERNETES}/test/images/agnhost",
    "regression-issue-74839": f"{KUBERNETES}/test/images/regression-issue-74839",
    "ginkgo": "github.com/onsi/ginkgo/v2/ginkgo",
    "e2e.test": f"{KUBERNETES}/test/e2e",
    "conformance.test": f"{POLICY_API}/conformance",
    "coredns": "github.com/coredns/coredns@v1.12.1",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.0",
}
CLUSTER = ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
IMAGES = ("agnhost", "regression-issue-74839", "coredns")
SUITE = ("ginkgo", "e2e.test")


def pinned_version(module):
    """The version that the folder beside go-tool.sh asks for of the module it is named after."""
    text = (GO_TOOL.parent / module.rpartition("/")[2] / "go.mod").read_text()
    return re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)$", text, re.M).group(1)


def kubernetes_version():
    return pinned_version(KUBERNETES)


def place(name):
    """Where go-tool.sh puts a program; it may not be there yet."""
    if "@" in PACKAGES[name]:
        return CACHE / f"{name}-{PACKAGES[name].partition('@')[2]}"
    module = POLICY_API if PACKAGES[name].startswith(POLICY_API) else KUBERNETES
    return CACHE / f"{module.rpartition('/')[2]}-{pinned_version(module)}" / name


def build(name, seconds=None):
    """The path of a program, built if it is not there yet. Minutes at first, at most `seconds` if given."""
    path = place(name)
    if path.exists():
        return path
    arguments = ["--test", PACKAGES[name]] if name.endswith(".test") else [PACKAGES[name]]
    # A child that is stopped by Ctrl-C leaves Go's own cache behind, so the next start goes on from there.
    bound = ["timeout", str(seconds)] if seconds else []
    built = subprocess.run([*bound, "nice", "-n", "19", GO_TOOL, CACHE, *arguments], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, check=False,
                           env={"WEIR_GO_JOBS": "2", **os.environ})
    if seconds and built.returncode == 124:
        raise Failure(f"{name} ({PACKAGES[name]}) was not built within {seconds} s; what is done is kept for the next try")
    if built.returncode != 0:
        raise Failure(f"{name} ({PACKAGES[name]}) cannot be built: {built.stderr.strip()[-2000:]}")
    if not path.exists():
        raise Failure(f"{GO_TOOL} put {name} elsewhere: {built.stdout.strip()}")
    return path


def build_all(names):
    """Builds what is missing of several programs, with a line for each; name to path."""
    paths = {}
    for number, name in enumerate(names, 1):
        started = time.monotonic()
        if missing := not place(name).exists():
            progress(f"building {name} ({number} of {len(names)})")
        paths[name] = build(name)
        if missing:
            progress(f"built {name} in {time.monotonic() - started:.0f} s")
    return paths
