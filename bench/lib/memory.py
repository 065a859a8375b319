# SPDX-License-Identifier: Apache-2.0
"""What a process holds of kernel memory: by its memory cgroup, and by the maps that it has open."""
import contextlib
import json
import os
import re

from node import sh


class MemoryCgroup:
    """The agent's own memory cgroup, of either version; path is None without the controller."""

    def __init__(self, node):
        self.path, self.version = None, 0
        with open(f"{node.cgroup_mount}/cgroup.controllers", encoding="utf-8") as f:
            unified = "memory" in f.read().split()
        if unified:
            with contextlib.suppress(OSError):
                for directory in (node.cgroup_mount, node.cgroup):
                    with open(f"{directory}/cgroup.subtree_control", "w", encoding="utf-8") as f:
                        f.write("+memory")
                self.path, self.version = node.cgroup + "/host", 2
            return
        mounts = [line.split() for line in open("/proc/self/mounts", encoding="utf-8")]
        mount = next((m[1] for m in mounts if m[2] == "cgroup" and "memory" in m[3].split(",")), None)
        if mount is None:
            return
        self.path, self.version = f"{mount}/{os.path.basename(node.dir)}", 1
        os.mkdir(self.path)
        node.stack.callback(lambda: sh(f"rmdir {self.path}", check=False))

    def prefix(self):
        """What to start a program with so that it lives there."""
        if self.version != 1:
            return ()
        return ("sh", "-c", f'echo $$ >{self.path}/cgroup.procs; exec "$@"', "sh")

    def read(self):
        """Bytes: (all, kernel)."""
        def value(name):
            with open(f"{self.path}/{name}", encoding="utf-8") as f:
                return int(f.read())
        if self.version == 1:
            return value("memory.usage_in_bytes"), value("memory.kmem.usage_in_bytes")
        with open(f"{self.path}/memory.stat", encoding="utf-8") as f:
            stat = dict(line.split() for line in f)
        return value("memory.current"), int(stat["kernel"])


def maps_of(pid):
    """memlock of the maps that the process holds, by name."""
    owned = {}
    for entry in json.loads(sh("bpftool map show -j").stdout):
        owned[entry["id"]] = entry
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as f:
                text = f.read()
            match = re.search(r"^map_id:\s*(\d+)", text, re.M)
            if match:
                memlock = int(re.search(r"^memlock:\s*(\d+)", text, re.M).group(1))
                found[int(match.group(1))] = (owned.get(int(match.group(1)), {}).get("name", "?"), memlock)
    return found
