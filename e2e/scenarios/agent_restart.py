# SPDX-License-Identifier: Apache-2.0
"""A node's network agent goes away, politely and by kill -9: no request fails, and changes are caught up with."""

from .. import agents
from ..shell import wait_until
from . import AGNHOST, check, prober, probes

NODE, OTHER = "n1", "n2"


def run(lab):
    agent = agents.agent(lab.cluster, lab.cluster.nodes[NODE])
    lab.deployment("server", 2, node=OTHER, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.service("server", 8080)
    lab.rolled_out("server")
    prober(lab, "probe", "http://server:8080/hostname", node=NODE)

    agent.stop()
    lab.probed("probe", 50)
    lab.kubectl("scale", "deployment/server", "--replicas=4")
    lab.rolled_out("server")
    agent.start()
    wanted = {pod["metadata"]["name"] for pod in lab.pods("server")}
    wait_until("the agent has caught up: every new server is asked",
               lambda: wanted <= set(probes(lab, "probe").answers[-100:]), 60, every=1)

    for _ in range(3):
        before = agent.process()
        agent.kill()
        lab.probed("probe", 20)
        wait_until(f"{agent.name} is started again", lambda b=before: agent.process() not in (0, b), agent.RESTARTED)
    lab.probed("probe", 50)
    seen = probes(lab, "probe")
    check(not seen.failures, f"{len(seen.failures)} of {len(seen.answers)} requests failed: {seen.failures[:3]}")
