#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Network benchmarks: Weir's pods beside a bare veth pair, plain routing, and kube-proxy's rules.

Every round measures each topology once, in turn, so that drift of the machine hits all alike; ratios are formed
within a round. Printed: median of the ratios, their 10th and 90th percentile, and the aim.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import topology as topo  # noqa: E402

# label, netbench mode, streams, aims against pair, routed, kube (None: no aim)
CASES = [
    ("TCP request/response", "rr", 1, (0.97, 1.0, 1.3)),
    ("UDP request/response", "udp", 1, (0.97, 1.0, 1.3)),
    ("TCP connect/request/close", "crr", 1, (0.96, 1.0, 1.25)),
    ("stream, 1", "stream", 1, (1.0, None, None)),
    ("stream, 8", "stream", 8, (1.0, None, None)),
]


def measure(netbench, place, mode, address, port, ms, streams):
    # Request/response: both ends on one CPU, so that what is measured is the path and not the idle states.
    cpu = "-1" if mode == "stream" else "1"
    done = subprocess.run(place.argv([netbench, mode, address, str(port), str(ms), cpu, str(streams)]),
                          capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{mode} to {address}:{port}: {done.stderr.strip()}")
    return float(done.stdout)


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))]


def rows(family, weirs):
    """What is measured in each round: (name, place, address, port), Weir's rows and the peers they are held against."""
    v = 0 if family == 4 else 1
    for w in weirs:
        direct = next(a for a in w.addresses["server"] if (":" in a) == (family == 6))
        yield (f"{w.name} pod to pod", w.t.client, direct, topo.PORT, ("pair", "routed", "kube pod"))
        yield (f"{w.name} pod to Service", w.t.client, (topo.VIP4, topo.VIP6)[v], 80, ("pair", "routed", "kube vip"))
        yield (f"{w.name} outside to NodePort", w.t.outside, (topo.NODE4, topo.NODE6)[v], topo.NODE_PORT,
               (None, "routed outside", "kube outside"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ms", type=int, default=250, help="length of one measurement")
    parser.add_argument("--family", type=int, choices=(4, 6), action="append")
    parser.add_argument("--case", action="append", help="netbench mode: rr, udp, crr, stream")
    parser.add_argument("--json", help="write all figures here")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    netbench = f"{build}/bench/netbench"
    rules = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../peer/kube-proxy.nft")

    with topo.contextlib.ExitStack() as stack:
        peers = [topo.pair(), topo.routed(), topo.kube(rules)]
        weirs = [topo.Weir("weir", build, "all"), topo.Weir("weir-tc", build, "off")]
        for t in peers + [w.t for w in weirs]:
            stack.callback(t.close)
            t.start(t.server, [netbench, "server", str(topo.PORT), "-1"])
        pair, routed, kube = peers
        topo.time.sleep(1)
        report = []
        for family in args.family or (4, 6):
            v = 0 if family == 4 else 1
            server = (topo.SERVER4, topo.SERVER6)[v]
            baseline = {
                "pair": (pair.client, server, topo.PORT), "routed": (routed.client, server, topo.PORT),
                "kube pod": (kube.client, server, topo.PORT),
                "kube vip": (kube.client, (topo.VIP4, topo.VIP6)[v], 80),
                "routed outside": (routed.outside, server, topo.PORT),
                "kube outside": (kube.outside, (topo.NODE4, topo.NODE6)[v], topo.NODE_PORT),
            }
            topo.sh(f"ip -n {routed.outside.netns.split('/')[-1]} route replace {topo.SERVER4}/32 via {topo.NODE4}; "
                    f"ip -n {routed.outside.netns.split('/')[-1]} -6 route replace {topo.SERVER6}/128 via {topo.NODE6}")
            ours = list(rows(family, weirs))
            for label, mode, streams, aims in CASES:
                if args.case and mode not in args.case:
                    continue
                samples = {}
                for _ in range(args.rounds):
                    for name, (place, address, port) in baseline.items():
                        samples.setdefault(name, []).append(
                            measure(netbench, place, mode, address, port, args.ms, streams))
                    for name, place, address, port, _peers in ours:
                        samples.setdefault(name, []).append(
                            measure(netbench, place, mode, address, port, args.ms, streams))
                print(f"\nIPv{family}, {label}: pair median "
                      f"{statistics.median(samples['pair']):,.0f}/s, {args.rounds} rounds of {args.ms} ms")
                print(f"  {'':34}{'per second':>15}  {'against':16}{'ratio':>7} {'p10':>6} {'p90':>6}  aim")
                for name, _place, _address, _port, against in ours:
                    for peer, aim in zip(against, aims):
                        if peer is None:
                            continue
                        ratios = [a / b for a, b in zip(samples[name], samples[peer])]
                        median = statistics.median(ratios)
                        verdict = "" if aim is None else f"{aim:.2f} {'met' if median >= aim else 'MISSED'}"
                        print(f"  {name:34}{statistics.median(samples[name]):>15,.0f}  {peer:16}{median:>7.3f} "
                              f"{percentile(ratios, .1):>6.3f} {percentile(ratios, .9):>6.3f}  {verdict}")
                        report.append({"family": family, "case": label, "row": name, "against": peer, "ratio": median,
                                       "p10": percentile(ratios, .1), "p90": percentile(ratios, .9), "aim": aim,
                                       "samples": samples[name], "peer_samples": samples[peer]})
        if args.json:
            with open(args.json, "w", encoding="utf-8") as f:
                json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
