#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CNI ADD through the real plugin and the real agent, 30 at once, beside bare veth pairs with addresses made at once."""
import argparse
import contextlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import report  # noqa: E402
from node import Node, add_netns  # noqa: E402


def plugin_configuration(node):
    """What a runtime hands to the plugin: the one of the agent's list, with the list's name and version."""
    with open(f"{node.dir}/run/cni/05-weir.conflist", encoding="utf-8") as f:
        listed = json.load(f)
    path = f"{node.dir}/plugin.json"
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"cniVersion": listed["cniVersion"], "name": listed["name"], **listed["plugins"][0]}, f)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pods", type=int, default=30, help="at once")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    report.progress(f"cni: {args.rounds} rounds of 1 and of {args.pods} at once")
    node = Node("cni", build)
    with contextlib.closing(node):
        # An address rests after its pod: a range that the rounds do not use up.
        node.start("--pod-cidrs=10.244.0.0/18,fd00:10:244::/64")
        spaces = ["/run/netns/" + add_netns(node.stack, f"cni-{n}") for n in range(args.pods)]
        done = subprocess.run([f"{build}/bench/bench_cni_add", str(args.rounds), f"{build}/src/cni/weir-cni",
                               plugin_configuration(node), *spaces], check=False, timeout=args.rounds * 20)
        if done.returncode != 0:
            return done.returncode
    return subprocess.run([f"{build}/bench/bench_cni_link"], check=False, timeout=300).returncode


if __name__ == "__main__":
    sys.exit(main())
