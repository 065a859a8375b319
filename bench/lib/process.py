# SPDX-License-Identifier: Apache-2.0
"""What a process takes, as the kernel counts it."""
import contextlib
import os
import re


def smaps(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        return {m.group(1): int(m.group(2)) * 1024 for m in re.finditer(r"^(\w+):\s+(\d+) kB", f.read(), re.M)}


def cpu_seconds(pid):
    """Of all threads, to the nanosecond; /proc/PID/stat counts in ticks, which short wakes slip through."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as f:
            total += int(f.read().split()[0])
    return total / 1e9
