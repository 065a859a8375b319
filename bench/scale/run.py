#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A large cluster in a real API server, as one node's agent sees it: what it takes to be in step with it, and to stay
so while endpoints change; beside it the real kube-proxy (nftables mode) on the same objects.

There are no nodes behind the Nodes. The API server, the writers of changes, the agent and kube-proxy share this
machine's processors, so the agent's own processor time is what can be compared, not the clock.
"""
import argparse
import contextlib
import ctypes
import json
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib"), os.path.join(HERE, "../..")]
import report  # noqa: E402
from cluster import ENDPOINTS_A_SLICE, Client, Server, World  # noqa: E402
from e2e import components  # noqa: E402
from node import Node, sh, wait  # noqa: E402
from process import cpu_seconds, smaps  # noqa: E402

MB = 1e6
AIM_RSS_MB, AIM_SYNC_S, AIM_P99_S = 150, 5, 0.1
CLONE_NEWNET = 0x40000000
METRICS = "127.0.0.1:9965"


def emit(*args, **more):
    report.emit(report.row("scale", *args, **more))


def enter(netns):
    """This process, and what it starts from here on."""
    with open(netns, encoding="utf-8") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def scrape(place, address):
    done = subprocess.run(place.argv(["curl", "-s", "-m", "10", f"http://{address}/metrics"]), capture_output=True,
                          text=True, check=False)
    return done.stdout


def histogram(text, name):
    """Bucket's upper bound to count, all label sets together."""
    buckets = {}
    for bound, value in re.findall(rf'^{name}_bucket{{[^}}]*le="([^"]+)"[^}}]*}} (\S+)', text, re.M):
        at = float("inf") if bound == "+Inf" else float(bound)
        buckets[at] = buckets.get(at, 0) + float(value)
    return buckets


def quantile(before, after, q):
    """(upper bound of the bucket that holds the quantile, how many in all) of what came between."""
    counts = {bound: after[bound] - before.get(bound, 0) for bound in after}
    total = counts.get(float("inf"), 0)
    return next((bound for bound in sorted(counts) if counts[bound] >= q * total), float("inf")), total


class Churn:
    """Endpoints that change: each write changes half of a slice's endpoints, there and back."""

    def __init__(self, client, world, rate):
        self.client, self.world = client, world
        self.writes = rate / (ENDPOINTS_A_SLICE / 2)  # a second

    def one(self, n, all_slices):
        i, part = all_slices[n % len(all_slices)]
        path, body = self.world.slice(i, part, ready=(n // len(all_slices)) % 2 == 1)
        self.client.call("PUT", f"{path}/{body['metadata']['name']}", body)

    def run(self, seconds):
        """Writes at the rate for so long; returns the endpoints really changed a second."""
        some = self.world.slices()[::7][:1000]
        begin, lock, state = time.monotonic(), threading.Lock(), {"n": 0}

        def writer():
            while True:
                with lock:
                    n = state["n"]
                    state["n"] += 1
                due = begin + n / self.writes
                if due > begin + seconds:
                    return
                time.sleep(max(0, due - time.monotonic()))
                self.one(n, some)
        writers = [threading.Thread(target=writer) for _ in range(8)]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        took = time.monotonic() - begin
        return (state["n"] - len(writers)) * ENDPOINTS_A_SLICE / 2 / took, took


def churn_row(name, churn, seconds, place, address, metric, pid, aim=None):
    before, cpu = histogram(scrape(place, address), metric), cpu_seconds(pid)
    rate, took = churn.run(seconds)
    time.sleep(1)
    after = histogram(scrape(place, address), metric)
    p99, count = quantile(before, after, 0.99)
    median, _ = quantile(before, after, 0.5)
    met = None if aim is None else p99 <= aim
    emit(f"{name}, change received to kernel, p99 at most", "ms", [p99 * 1e3],
         aim="" if aim is None else f"<= {aim * 1e3:.0f} ms", met=met,
         note=f"{rate:.0f} endpoints changed a second for {took:.0f} s, {count:.0f} observations, half below "
              f"{median * 1e3:.3g} ms, {(cpu_seconds(pid) - cpu) / took:.3f} cores")


def agent_rows(node, server, churn, args):
    begin = time.monotonic()
    node.launch("--source=kubernetes", f"--kubeconfig={server.kubeconfig()}", f"--metrics-address={METRICS}",
                node_name="worker-0")
    node.wait_ready(300)
    took, cpu = time.monotonic() - begin, cpu_seconds(node.agent.pid)
    emit("agent, start to synced: its own time", "s", [cpu], aim=f"<= {AIM_SYNC_S} s", met=cpu <= AIM_SYNC_S,
         note=f"{took:.1f} s by the clock")
    time.sleep(8)  # memory given back after the load
    rss = smaps(node.agent.pid)["Rss"] / MB
    emit("agent, resident", "MB", [rss], aim=f"<= {AIM_RSS_MB} MB", met=rss <= AIM_RSS_MB)
    churn_row("agent", churn, args.seconds, node.host, METRICS, "weir_programming_duration_seconds", node.agent.pid,
              AIM_P99_S)
    rss = smaps(node.agent.pid)["Rss"] / MB
    emit("agent, resident after the changes", "MB", [rss], aim=f"<= {AIM_RSS_MB} MB", met=rss <= AIM_RSS_MB)


def kube_proxy_rows(node, server, program, churn, args):
    """In the namespace outside, whose rules are none of the agent's business."""
    with open(f"{server.dir}/proxy.json", "w", encoding="utf-8") as f:
        json.dump({"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
                   "clientConnection": {"kubeconfig": server.kubeconfig()}, "hostnameOverride": "worker-0",
                   "conntrack": {"maxPerCore": 0}, "metricsBindAddress": "127.0.0.1:10249",
                   "healthzBindAddress": "127.0.0.1:10256"}, f)
    begin = time.monotonic()
    with open(f"{server.dir}/proxy.log", "w", encoding="utf-8") as log:
        proxy = subprocess.Popen(node.outside.argv([program, f"--config={server.dir}/proxy.json"]), stdout=log, stderr=log)
    try:
        def synced():
            if proxy.poll() is not None:
                raise RuntimeError(f"kube-proxy ended: {open(log.name, encoding='utf-8').read()[-1500:]}")
            return re.search(r"^kubeproxy_sync_proxy_rules_last_timestamp_seconds\S* [1-9]",
                             scrape(node.outside, "127.0.0.1:10249"), re.M)
        wait(synced, "kube-proxy to sync", 600, pause=0.5)
        emit("kube-proxy, start to synced: its own time", "s", [cpu_seconds(proxy.pid)],
             note=f"{time.monotonic() - begin:.1f} s by the clock")
        time.sleep(8)
        emit("kube-proxy, resident", "MB", [smaps(proxy.pid)["Rss"] / MB])
        churn_row("kube-proxy", churn, args.seconds, node.outside, "127.0.0.1:10249",
                  "kubeproxy_sync_proxy_rules_duration_seconds", proxy.pid)
        emit("kube-proxy, resident after the changes", "MB", [smaps(proxy.pid)["Rss"] / MB])
    finally:
        proxy.terminate()
        proxy.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30000)
    parser.add_argument("--services", type=int, default=10000)
    parser.add_argument("--endpoints", type=int, default=100000)
    parser.add_argument("--rate", type=int, default=1000, help="endpoints changed a second")
    parser.add_argument("--seconds", type=float, default=20, help="of changes")
    args = parser.parse_args()
    programs = {name: str(path) for name, path in components.build_all(["kube-apiserver", "kube-proxy"]).items()}
    node = Node("scale", args.build)
    with contextlib.closing(node):
        # Node's tmpfs holds etcd's file besides.
        sh(f"mount -o remount,size=6g {node.dir}")
        server = Server(node, programs)
        enter(node.host.netns)
        client, world = Client(server.certificate), World(args.nodes, args.pods, args.services, args.endpoints)
        begin = time.monotonic()
        world.create(client, lambda what: report.progress(f"scale: {what}, {time.monotonic() - begin:.0f} s"))
        report.progress(f"scale: {args.nodes} Nodes, {args.pods} Pods, {args.services} Services, {args.endpoints} endpoints")
        churn = Churn(client, world, args.rate)
        agent_rows(node, server, churn, args)
        node.stop()
        kube_proxy_rows(node, server, programs["kube-proxy"], churn, args)


if __name__ == "__main__":
    main()
