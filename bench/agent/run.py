#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the agent takes at 5,000 Services with 50,000 endpoints: time to come up, memory of its own and of the kernel's
tables, and processor time while nothing happens.

The agent is the release build on a node of its own (namespace, cgroup, bpffs, run directory) that reads generated files.
Kernel memory is what the kernel charges to the agent's memory cgroup; without that controller, the sum of its maps.
"""
import argparse
import contextlib
import ctypes
import json
import os
import platform
import re
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]
import objects  # noqa: E402
import report  # noqa: E402
from memory import MemoryCgroup, maps_of  # noqa: E402
from node import Node, sh  # noqa: E402
from process import cpu_seconds, smaps  # noqa: E402

MB = 1e6
AIM_RSS_MB, AIM_CORES = 60, 0.01
BPF_ENABLE_STATS = 32
SYS_BPF = {"x86_64": 321, "aarch64": 280}


@contextlib.contextmanager
def bpf_statistics():
    """Run times of BPF programs are counted while this holds."""
    number = SYS_BPF.get(platform.machine())
    if number is None:
        yield False
        return
    attr = (ctypes.c_char * 128)()
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(number, BPF_ENABLE_STATS, ctypes.byref(attr), 128)
    try:
        yield fd >= 0
    finally:
        if fd >= 0:
            os.close(fd)


def program_seconds(directory):
    """Run time of the programs pinned below the directory; None if there is none."""
    times = []
    for root, _dirs, names in os.walk(directory):
        for name in names:
            done = sh(f"bpftool prog show pinned {root}/{name} -j", check=False)
            with contextlib.suppress(ValueError):
                if done.returncode == 0:
                    times.append(json.loads(done.stdout).get("run_time_ns", 0))
    return sum(times) / 1e9 if times else None


class TimerTrace:
    """What BPF timers take, seen by the kernel's own trace events in an instance of our own. Of all on this machine:
    the share of one is the whole by the number of timers."""

    def __init__(self, stack):
        # A mount of its own: the usual place is often empty in containers.
        mount = tempfile.mkdtemp(prefix="weir-bench-tracing-")
        stack.callback(lambda: sh(f"umount {mount}; rmdir {mount}", check=False))
        self.dir = f"{mount}/instances/weir-bench-{os.getpid()}"
        self.works = False
        if sh(f"mount -t tracefs tracefs {mount}", check=False).returncode != 0:
            return
        with contextlib.suppress(OSError):
            os.mkdir(self.dir)
            stack.callback(lambda: sh(f"rmdir {self.dir}", check=False))
            self.put("trace_clock", "mono")
            self.works = True

    def put(self, name, text):
        with open(f"{self.dir}/{name}", "w", encoding="utf-8") as f:
            f.write(text)

    def switch(self, on):
        if self.works:
            for event in ("entry", "exit"):
                self.put(f"events/timer/hrtimer_expire_{event}/enable", "1" if on else "0")

    def seconds_each_tick(self):
        """(mean length of a tick, ticks, timers)"""
        begun, lengths, timers = {}, [], set()
        with open(f"{self.dir}/trace", encoding="utf-8") as f:
            for line in f:
                match = re.search(r" (\d+\.\d+): hrtimer_expire_(entry|exit): hrtimer=(\S+)(.*)", line)
                if not match:
                    continue
                at, what, timer = float(match.group(1)), match.group(2), match.group(3)
                if what == "entry" and "bpf_timer_cb" in match.group(4):
                    begun[timer] = at
                    timers.add(timer)
                elif what == "exit" and timer in begun:
                    lengths.append(at - begun.pop(timer))
        if not lengths:
            return None
        return sum(lengths) / len(lengths), len(lengths), len(timers)


def idle(node, seconds):
    """Cores taken: by the agent's threads, by its programs, by the sweep; each None if unseen."""
    pid = node.agent.pid
    with contextlib.ExitStack() as stack:
        trace = TimerTrace(stack)
        counted = stack.enter_context(bpf_statistics())
        trace.switch(True)
        before, programs_before, start = cpu_seconds(pid), program_seconds(node.dir + "/bpf"), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - start
        agent = (cpu_seconds(pid) - before) / took
        programs_after = program_seconds(node.dir + "/bpf")
        seen = counted and None not in (programs_before, programs_after)
        programs = (programs_after - programs_before) / took if seen else None
        trace.switch(False)
        tick = trace.seconds_each_tick() if trace.works else None
    return agent, programs, tick


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--services", type=int, default=5000)
    parser.add_argument("--endpoints", type=int, default=10, help="of each Service")
    parser.add_argument("--idle", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--maps", action="store_true", help="list the maps by size on stderr")
    parser.add_argument("--hold", action="store_true", help="print the agent's pid and wait for a line, to look closer")
    parser.add_argument("--flag", action="append", default=[], help="a further flag of the agent")
    args = parser.parse_args()
    node = Node("agent", args.build)
    with contextlib.closing(node):
        size = objects.write(node.objects_dir, args.services, args.endpoints)
        report.progress(f"agent: {args.services} Services, {args.services * args.endpoints} Pods and endpoints, "
                        f"{size / MB:.0f} MB of YAML")
        memory = MemoryCgroup(node)
        begin = time.monotonic()
        node.launch("--service-cidrs=10.96.0.0/12", *args.flag, node_name=objects.node_name(0),
                    prefix=memory.prefix())
        node.wait_ready(120)
        synced, loading = time.monotonic() - begin, cpu_seconds(node.agent.pid)
        time.sleep(5)  # what comes after the start: names saved, memory given back
        if args.hold:
            report.progress(f"the agent is process {node.agent.pid}; return goes on")
            sys.stdin.readline()
        rss = smaps(node.agent.pid)
        emit = lambda *a, **k: report.emit(report.row("agent", *a, **k))  # noqa: E731
        emit("start to ready", "s", [synced], note=f"{loading:.1f} s of processor time, {size / MB:.0f} MB of YAML")
        emit("resident", "MB", [rss["Rss"] / MB], aim=f"<= {AIM_RSS_MB} MB", met=rss["Rss"] / MB <= AIM_RSS_MB)
        emit("resident, its share of shared pages", "MB", [rss["Pss"] / MB])
        emit("resident, anonymous", "MB", [rss["Anonymous"] / MB])
        maps = maps_of(node.agent.pid)
        emit("kernel maps, as they report themselves", "MB", [sum(m for _, m in maps.values()) / MB],
             aim="stated", note=f"{len(maps)} maps held by the agent")
        if memory.path:
            everything, kernel = memory.read()
            emit("kernel memory of its cgroup", "MB", [kernel / MB], aim="stated",
                 note=f"cgroup v{memory.version}; {everything / MB:.0f} MB with its own and the page cache")
        if args.maps:
            for name, size in sorted(maps.values(), key=lambda m: -m[1])[:20]:
                print(f"  {name:20} {size / MB:10.2f} MB", file=sys.stderr)
        report.progress(f"agent: idle for {args.idle:.0f} s")
        agent, programs, tick = idle(node, args.idle)
        parts = [f"agent {agent:.5f}"]
        parts.append("programs unseen" if programs is None else f"programs {programs:.6f}")
        total = agent + (programs or 0)
        if tick:
            sweep = tick[0] * 10
            total += sweep
            parts.append(f"sweep {sweep:.6f} ({tick[0] * 1e6:.0f} us a tick, mean of {tick[2]} timers)")
        else:
            parts.append("sweep unseen")
        emit("idle", "cores", [total], aim=f"<= {AIM_CORES} core", met=total <= AIM_CORES, note=", ".join(parts))


if __name__ == "__main__":
    main()
