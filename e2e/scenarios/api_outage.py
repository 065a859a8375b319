# SPDX-License-Identifier: Apache-2.0
"""The API server is away for a while: pods and Services go on without a failed request, and changes arrive after."""

import time

from ..shell import progress
from . import AGNHOST, check, prober, probes

NODE, OTHER = "n1", "n2"
SECONDS = 20


def run(lab):
    control_plane = lab.cluster.control_plane
    lab.deployment("server", 2, node=OTHER, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.service("server", 8080)
    lab.rolled_out("server")
    prober(lab, "probe", "http://server:8080/hostname", node=NODE)
    before = len(probes(lab, "probe").answers)

    control_plane.stop("kube-apiserver")
    try:
        time.sleep(SECONDS)
    finally:
        control_plane.start("kube-apiserver")
        control_plane.wait_ready()
    progress("api_outage: the API server is back")
    seen = probes(lab, "probe")
    during = len(seen.answers) - before
    check(during >= SECONDS, f"only {during} requests were answered during {SECONDS} s without the API server")
    check(not seen.failures, f"{len(seen.failures)} requests failed: {seen.failures[:3]}")

    lab.kubectl("rollout", "restart", "deployment/server")
    lab.rolled_out("server")
    lab.probed("probe", 50)
    last = set(probes(lab, "probe").answers[-10:])
    gone = last - {pod["metadata"]["name"] for pod in lab.pods("server")}
    check(not gone, f"servers that are gone were asked after the outage: {sorted(gone)}")
