# SPDX-License-Identifier: Apache-2.0
"""Programs that a cluster is made of: Kubernetes and its suites, built from pinned Go modules, once a machine."""

import os
import subprocess
import time
from pathlib import Path

from .shell import Failure, progress

ROOT = Path(__file__).resolve().parents[1]
GO_TOOL = ROOT / "tests/tools/go-tool.sh"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weir/tools"

KUBERNETES = "k8s.io/kubernetes"
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
    "coredns": "github.com/coredns/coredns@v1.12.1",
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.0",
}
CLUSTER = ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
IMAGES = ("agnhost", "regression-issue-74839", "coredns")
SUITE = ("ginkgo", "e2e.test")


def build(name):
    """The path of a program, built if it is not there yet. Minutes at first, with a progress line."""
    package = PACKAGES[name]
    arguments = ["--test", package] if name.endswith(".test") else [package]
    # A child that is stopped by Ctrl-C leaves Go's own cache behind, so the next start goes on from there.
    command = ["nice", "-n", "19", GO_TOOL, CACHE, *arguments]
    environment = {"WEIR_GO_JOBS": "2", **os.environ}
    started = time.monotonic()
    built = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                           env=environment)
    if built.returncode != 0:
        raise Failure(f"{name} ({package}) cannot be built: {built.stderr.strip()[-2000:]}")
    seconds = time.monotonic() - started
    if seconds > 1:
        progress(f"built {name} in {seconds:.0f} s")
    return Path(built.stdout.strip().splitlines()[-1])


def build_all(names):
    """Builds what is missing of several programs; name to path."""
    paths = {}
    for number, name in enumerate(names, 1):
        if not is_built(name):
            progress(f"building {name} ({number} of {len(names)})")
        paths[name] = build(name)
    return paths


def is_built(name):
    """A quick look, so that what is there needs no progress line."""
    return any(CACHE.glob(f"*/{name}")) or any(CACHE.glob(f"{name}-*"))
