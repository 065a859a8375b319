# SPDX-License-Identifier: Apache-2.0
"""Every kernel table of a node is filled under the chart's memory limit: none lacks memory, and the agent lives on."""

import errno
import time
from pathlib import Path

from .. import agents, bpf, chart
from ..shell import progress
from . import AGNHOST, check, prober, probes

NODE, OTHER = "n1", "n2"
MIB = 1 << 20
FULL = (0, errno.E2BIG, errno.ENOSPC)


def applies(plan):
    return plan.by_chart


class Memory:
    """The memory that a container may have, and has, by its cgroup of either version."""

    def __init__(self, pid):
        groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
        if "memory" in groups:
            self.directory = Path("/sys/fs/cgroup/memory")
            self.files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            self.directory = Path("/sys/fs/cgroup")
            self.files = ("memory.max", "memory.current")
        self.directory /= groups.get("memory", groups.get("", "")).lstrip("/")

    def read(self, which):
        return int((self.directory / self.files[which]).read_text())

    @property
    def limit(self):
        return self.read(0)

    @property
    def used(self):
        return self.read(1)


def fresh_tables(lab):
    """Tables are charged to the agent that made them, so those of an agent before must go."""
    cluster = lab.cluster
    chart.deploy(cluster, "--set=uninstall=all")
    chart.helm(cluster, "uninstall", chart.RELEASE, timeout=330)
    chart.deploy(cluster)
    cluster.kubectl("--namespace=kube-system", "delete", "pods", "--selector=k8s-app=kube-dns", timeout=130)
    cluster.wait_ready()


def tables(node):
    """Every hash and every longest-prefix table, those within an array of maps each for itself."""
    found = []
    for pin in sorted(Path(f"/proc/{node.pid()}/root/sys/fs/bpf/weir").glob("v*/maps/*")):
        descriptor = bpf.open_pin(pin)
        facts = bpf.info(descriptor)
        if facts.kind == bpf.ARRAY_OF_MAPS:
            found += [bpf.Filled(pin.name, bpf.open_id(number)) for number in bpf.inner_maps(descriptor, facts)]
        elif facts.kind in (bpf.HASH, bpf.LRU_HASH, bpf.LPM_TRIE):
            found.append(bpf.Filled(pin.name, descriptor))
    return found


def run(lab):
    node = lab.cluster.nodes[NODE]
    fresh_tables(lab)
    lab.deployment("server", 2, node=OTHER, image=AGNHOST, args=["netexec", "--http-port=8080"], port=8080)
    lab.service("server", 8080)
    lab.rolled_out("server")
    agent = agents.agent(lab.cluster, node)
    pid = agent.process()
    memory = Memory(pid)
    before, started = memory.used, time.monotonic()
    everything = tables(node)
    check(len(everything) > 100, f"only {len(everything)} tables were found")
    try:
        for table in everything:
            table.fill()
        full = memory.used
        failed = {table.name: errno.errorcode.get(table.ended_by) for table in everything
                  if table.ended_by not in FULL}
        progress(f"capacity: {len(everything)} tables filled in {time.monotonic() - started:.1f} s; the agent's "
                 f"container had {before / MIB:.0f} MiB, has {full / MIB:.0f} MiB of {memory.limit / MIB:.0f} MiB")
        check(not failed, f"tables did not take what they have room for: {failed}")
        check(full > before + 20 * MIB, "the tables are not charged to the agent: nothing was shown")
        check(agent.process() == pid, "the agent was killed")
    finally:
        for table in everything:
            table.empty()
    prober(lab, "probe", "http://server:8080/hostname", node=NODE)
    lab.probed("probe", 30)
    seen = probes(lab, "probe")
    check(not seen.failures, f"{len(seen.failures)} of {seen.count} requests failed after it: {seen.failures[:3]}")
