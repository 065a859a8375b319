#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Network benchmarks: Weir's pods beside a bare veth pair, plain routing, and kube-proxy's rules.

Every round measures each topology once, in an order that turns, so that drift of the machine hits all alike; ratios are
formed within a round. Client and server share one processor in the request rows, of every topology; streams run free.
"""
import argparse
import contextlib
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import topology as topo  # noqa: E402
import report  # noqa: E402

# label, netbench mode, streams, aims against pair, routed, kube (None: no aim)
CASES = [
    ("TCP request/response", "rr", 1, (0.97, 1.0, 1.3)),
    ("UDP request/response", "udp", 1, (0.97, 1.0, 1.3)),
    ("TCP connect/request/close", "crr", 1, (0.96, 1.0, 1.25)),
    ("1 stream", "stream", 1, (1.0, None, None)),
    ("8 streams", "stream", 8, (1.0, None, None)),
]
LENGTHS = {"short": (5, 120), "normal": (11, 200), "long": (41, 400)}  # rounds, milliseconds each
CPU = max(os.sched_getaffinity(0))


def measure(netbench, case, way, ms):
    topology, place, address, port = way
    _label, mode, streams, _aims = case
    free = mode == "stream"
    topology.pin_server(os.sched_getaffinity(0) if free else {CPU})
    done = subprocess.run(
        place.argv([netbench, mode, address, str(port), str(ms), "-1" if free else str(CPU), str(streams)]),
        capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{topology.name}: {mode} to {address} port {port}: {done.stderr.strip()}")
    return float(done.stdout)


def ways(family, peers, weirs):
    """name -> (topology, place, address, port), and Weir's rows: (name, peers they are held against)."""
    v = 0 if family == 4 else 1
    server, vip, node = (topo.SERVER4, topo.SERVER6)[v], (topo.VIP4, topo.VIP6)[v], (topo.NODE4, topo.NODE6)[v]
    pair, routed, kube = peers
    found = {
        "veth pair": (pair, pair.client, server, topo.PORT), "routing": (routed, routed.client, server, topo.PORT),
        "kube-proxy, pod": (kube, kube.client, server, topo.PORT),
        "kube-proxy, Service": (kube, kube.client, vip, 80),
        "routing, outside": (routed, routed.outside, server, topo.PORT),
        "kube-proxy, NodePort": (kube, kube.outside, node, topo.NODE_PORT),
    }
    ours = []
    for w, how in weirs:
        direct = next(a for a in w.server_addresses if (":" in a) == (family == 6))
        for name, place, address, port, against in (
                (f"pod to pod, {how}", w.client, direct, topo.PORT, ("veth pair", "routing", "kube-proxy, pod")),
                (f"pod to Service, {how}", w.client, vip, 80, ("veth pair", "routing", "kube-proxy, Service")),
                (f"outside to NodePort, {how}", w.outside, node, topo.NODE_PORT,
                 (None, "routing, outside", "kube-proxy, NodePort"))):
            found[name] = (w, place, address, port)
            ours.append((name, against))
    return found, ours


def run_case(netbench, family, case, found, ours, rounds, ms):
    label, mode, _streams, aims = case
    report.progress(f"net: IPv{family}, {label}, {rounds} rounds of {ms} ms")
    samples = {name: [] for name in found}
    names = list(found)
    for r in range(rounds):
        turn = r * 5 % len(names)
        for name in names[turn:] + names[:turn]:
            samples[name].append(measure(netbench, case, found[name], ms))
    scale, unit = (1e9 / 8, "Gbit/s") if mode == "stream" else (1, "/s")
    title = f"IPv{family} {label}"
    for name in list(found)[:6]:
        report.emit(report.row("net", f"{title}: {name}", unit, [s / scale for s in samples[name]]))
    for name, against in ours:
        for peer, aim in zip(against, aims):
            if peer is None:
                continue
            ratios = [a / b for a, b in zip(samples[name], samples[peer])]
            met = None if aim is None else report.statistics.median(ratios) >= aim
            report.emit(report.row("net", f"{title}: {name}", unit, [s / scale for s in samples[name]], peer, ratios,
                                   "" if aim is None else f">= {aim}", met))


def check_alike(topologies):
    """Figures of devices that offload differently say nothing."""
    reference = topologies[0].offloads()
    for t in topologies[1:]:
        for ours, theirs in zip(t.offloads(), reference):
            if ours != theirs:
                report.progress(f"net: WARNING: {t.name} has \"{ours}\", {topologies[0].name} \"{theirs}\"")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--length", choices=LENGTHS, default="normal")
    parser.add_argument("--rounds", type=int, help="instead of the length's")
    parser.add_argument("--ms", type=int, help="of one measurement, instead of the length's")
    parser.add_argument("--family", type=int, choices=(4, 6), action="append")
    parser.add_argument("--case", choices=sorted({c[1] for c in CASES}), action="append")
    args = parser.parse_args()
    rounds, ms = LENGTHS[args.length]
    rounds, ms = args.rounds or rounds, args.ms or ms
    build = os.path.abspath(args.build)
    netbench = f"{build}/bench/netbench"
    rules = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../peer/kube-proxy.nft")
    with contextlib.ExitStack() as stack:
        def hold(made):
            stack.callback(made.close)
            made.serve([netbench, "server", str(topo.PORT), "-1"])
            return made
        peers = [hold(topo.pair("pair")), hold(topo.routed("routed")), hold(topo.kube("kube", rules))]
        weirs = [(hold(topo.weir("sock", build, "all")), "socket hooks"), (hold(topo.weir("tc", build, "off")), "tc")]
        check_alike([*peers, *(w for w, _ in weirs)])
        time.sleep(0.5)
        for family in args.family or (4, 6):
            found, ours = ways(family, peers, weirs)
            for case in CASES:
                if not args.case or case[1] in args.case:
                    run_case(netbench, family, case, found, ours, rounds, ms)


if __name__ == "__main__":
    main()
