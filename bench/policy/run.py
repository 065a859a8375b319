#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What policies cost: decisions and their compiler by themselves (bench_policy), a packet in the programs with and without
them (bench_prog), connections between pods under many rules beside the same rules as sets of nftables, and the agent with 30,000 Pods and 10,000 policies: its start, its memory, and
a hundred changed Pods a second.

The agent reads files here, so its start and its changes include their reading.
"""
import argparse
import contextlib
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib"), os.path.join(HERE, "../net")]
import objects  # noqa: E402
import report  # noqa: E402
import topology as topo  # noqa: E402
from memory import MemoryCgroup, maps_of  # noqa: E402
from node import Node, undone_on_failure  # noqa: E402
from process import cpu_seconds, smaps  # noqa: E402

MB = 1e6
LENGTHS = {"short": (3, 3, 150, 10), "normal": (9, 9, 200, 60), "long": (25, 25, 400, 180)}
PODS, POLICIES, LOCAL = 30_000, 10_000, 30
SINGLE = 200  # pods that change
RATE = 100  # changes a second
PROBE_PERIOD = 2.0
PARTS = ("tables", "programs", "packets", "agent")
CPU = max(os.sched_getaffinity(0))


def emit(name, unit, values, **more):
    report.emit(report.row("policy", name, unit, values, **more))


# Packets ------------------------------------------------------------------------------------------------------------

def nft_rules(count):
    """So many pairs of address and port; the client's comes last, and what is open goes on unseen, as under Weir."""
    elements = ", ".join(f"192.{n >> 8}.{n & 255}.1 . {1024 + n}" for n in range(count - 1))
    elements += f"{', ' if elements else ''}{topo.CLIENT4} . {topo.PORT}"
    return f"""table inet rules {{
  set admitted {{ type ipv4_addr . inet_service; elements = {{ {elements} }} }}
  chain forward {{ type filter hook forward priority 0; policy accept;
    ct state established,related accept
    ip daddr {topo.SERVER4} ip saddr . tcp dport @admitted accept
    ip daddr {topo.SERVER4} drop
  }}
}}
"""


def weir_rules(count):
    """The same rules as policies of the server, one rule each."""
    text = ""
    for n in range(count):
        last = n == count - 1
        peer = "podSelector: {matchLabels: {app: client}}" if last else f"ipBlock: {{cidr: 192.{n >> 8}.{n & 255}.1/32}}"
        text += f"""---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: rule-{n:05}, namespace: bench}}
spec:
  podSelector: {{matchLabels: {{app: web}}}}
  ingress: [{{from: [{{{peer}}}], ports: [{{port: {topo.PORT if last else 1024 + n}}}]}}]
"""
    return text


def with_nftables(count):
    made = topo.routed(f"nft-{count}")
    with undone_on_failure(made.stack):
        subprocess.run(["ip", "netns", "exec", made.host, "nft", "-f", "-"], input=nft_rules(count), text=True,
                       check=True)
    return made


def measure(netbench, mode, made, ms):
    address = made.server_addresses[0] if made.server_addresses else topo.SERVER4
    made.pin_server({CPU})
    done = subprocess.run(made.client.argv([netbench, mode, address, str(topo.PORT), str(ms), str(CPU), "1"]),
                          capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{made.name}: {mode}: {done.stderr.strip()}")
    return float(done.stdout)


def packets(build, rounds, ms):
    netbench = f"{build}/bench/netbench"
    with contextlib.ExitStack() as stack:
        def hold(made):
            stack.callback(made.close)
            made.serve([netbench, "server", str(topo.PORT), "-1"])
            return made
        report.progress("policy: nodes with 0, 1,000 and 10,000 rules")
        places = {"no policy": hold(topo.weir("open", build, "all", "")), "routing, no rules": hold(topo.routed("plain"))}
        for count in (1_000, 10_000):
            places[f"{count:,} rules"] = hold(topo.weir(f"rules-{count}", build, "all", weir_rules(count)))
            places[f"nftables, {count:,} rules"] = hold(with_nftables(count))
        time.sleep(0.5)
        for label, mode in (("connect/request/close", "crr"), ("request/response", "rr")):
            report.progress(f"policy: TCP {label}, {rounds} rounds of {ms} ms")
            samples = {name: [] for name in places}
            names = list(places)
            for r in range(rounds):
                turn = r * 5 % len(names)
                for name in names[turn:] + names[:turn]:
                    samples[name].append(measure(netbench, mode, places[name], ms))
            for name in names:
                emit(f"TCP {label}: {name}", "/s", samples[name])
            for count in ("1,000", "10,000"):
                ours = f"{count} rules"
                for peer in ("no policy", f"nftables, {ours}"):
                    emit(f"TCP {label}: {ours}", "/s", samples[ours], against=peer,
                         ratios=[a / b for a, b in zip(samples[ours], samples[peer])])


# The agent ----------------------------------------------------------------------------------------------------------

def probe(node, admitted):
    """The pod that a policy of the local pods admits, or not."""
    objects.put(node.objects_dir, "probe.yaml",
                objects.pod(PODS, "admitted" if admitted else "denied", objects.PROBE, "bench"))


def admitted(node):
    done = node.weir("policy", "explain", f"--from=bench/{objects.PROBE}", "--to=bench/local-0", "--port=8000")
    if done.returncode not in (0, 1):
        raise RuntimeError(f"weir policy explain: {done.stderr.strip()}")
    return done.returncode == 0


class Lag:
    """How long after a file's change a decision is another."""

    def __init__(self, node):
        self.node, self.state, self.samples = node, False, []
        self.begun = None

    def step(self):
        """Changes the label, or looks whether the change has arrived."""
        if self.begun is None:
            self.state = not self.state
            self.begun = time.monotonic()
            probe(self.node, self.state)
        elif admitted(self.node) == self.state:
            self.samples.append(1000 * (time.monotonic() - self.begun))
            self.begun = None
            return True
        return False


def churn(node, seconds):
    """Pods change their labels; the agent's cores and the lags, in milliseconds."""
    lag, changed = Lag(node), 0
    used, start = cpu_seconds(node.agent.pid), time.monotonic()
    next_probe = start
    while (now := time.monotonic()) - start < seconds:
        while changed < (now - start) * RATE:
            n = PODS - SINGLE + changed % SINGLE
            name = f"app-{n % objects.APPS}-6d4cf56db6-{n:05x}"
            objects.put(node.objects_dir, f"pod-{n}.yaml", objects.pod(n, f"app-{(n + changed) % objects.APPS}", name))
            changed += 1
        if now >= next_probe and lag.step():
            next_probe = now + PROBE_PERIOD
        time.sleep(0.002)
    took = time.monotonic() - start
    return (cpu_seconds(node.agent.pid) - used) / took, lag.samples, changed / took


def agent(build, seconds):
    node = Node("policy", build)
    with contextlib.closing(node):
        size = objects.write(node.objects_dir, PODS, POLICIES, SINGLE)
        size += objects.put(node.objects_dir, "local.yaml", objects.policy(
            0, "local", "bench", "podSelector: {matchLabels: {app: admitted}}"))
        probe(node, False)
        report.progress(f"policy: {PODS:,} Pods, {POLICIES:,} policies, {size / MB:.0f} MB of YAML")
        memory = MemoryCgroup(node)
        begin = time.monotonic()
        node.launch(node_name="node-1", prefix=memory.prefix())
        node.wait_ready(120)
        emit("agent: start to ready", "s", [time.monotonic() - begin],
             note=f"{cpu_seconds(node.agent.pid):.1f} s of processor time, {size / MB:.0f} MB of YAML")
        for n in range(LOCAL):
            node.pod(f"local-{n}", "local")
        time.sleep(5)  # what comes after the start: names saved, memory given back
        rss = smaps(node.agent.pid)["Rss"] / MB
        emit("agent: resident", "MB", [rss], aim="<= 150 MB", met=rss <= 150)
        maps = {name: 0 for name, _ in maps_of(node.agent.pid).values()}
        for name, held in maps_of(node.agent.pid).values():
            maps[name] += held
        whole = sum(maps.values()) / MB
        policy_maps = sum(held for name, held in maps.items() if "policy" in name) / MB
        emit("agent: kernel maps, as they report themselves", "MB", [whole], aim="<= 200 MB", met=whole <= 200,
             note=f"{policy_maps:.0f} MB of them for policies")
        report.progress(f"policy: {RATE} changed Pods a second for {seconds} s")
        cores, lags, rate = churn(node, seconds)
        emit("agent: 100 changed Pods a second", "cores", [cores], aim="<= 0.2 cores", met=cores <= 0.2,
             note=f"{rate:.0f} a second, files and probes included")
        third = max(len(lags) // 3, 1)
        emit("agent: from a file to another decision, meanwhile", "ms", lags,
             note=f"medians of the first and last third: {report.statistics.median(lags[:third]):.0f} and "
                  f"{report.statistics.median(lags[-third:]):.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--length", choices=LENGTHS, default="normal")
    parser.add_argument("--part", choices=PARTS, action="append")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    table_rounds, rounds, ms, seconds = LENGTHS[args.length]
    parts = args.part or PARTS
    if "tables" in parts:
        report.progress("policy: decisions, and their compiler")
        subprocess.run([f"{build}/bench/bench_policy", str(table_rounds)], check=True, timeout=900)
    if "programs" in parts:
        report.progress("policy: packets in the programs")
        subprocess.run([f"{build}/bench/bench_prog", "--policies", "--rounds", str(rounds)], check=True, timeout=1800)
    if "packets" in parts:
        packets(build, rounds, ms)
    if "agent" in parts:
        agent(build, seconds)


if __name__ == "__main__":
    main()
