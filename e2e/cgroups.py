# SPDX-License-Identifier: Apache-2.0
"""A cgroup subtree for each machine, in every hierarchy there is, found again by its name alone.

Hosts have cgroup2 only, or version 1 controllers with cgroup2 beside them (hybrid). Below version 1 a machine's
cgroup hangs under the caller's, so that what bounds the caller bounds the cluster; a cgroup2 that holds
processes can have no children with controllers, so there it hangs under the root.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .shell import Failure

CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "io")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy: where, and its controllers (none for cgroup2)."""

    path: Path
    options: str
    unified: bool


def hierarchies(mounts=Path("/proc/self/mounts")):
    """Every cgroup hierarchy that this process can see, each once."""
    found = {}
    for line in mounts.read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found["cgroup2"] = Hierarchy(Path(where), "", True)
        elif kind == "cgroup":
            wanted = ",".join(o for o in options.split(",") if o not in ("rw", "ro", "relatime", "nosuid", "nodev",
                                                                         "noexec", "noatime"))
            found[wanted] = Hierarchy(Path(where), wanted, False)
    if "cgroup2" not in found:
        raise Failure("no cgroup2 is mounted; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
    return list(found.values())


def group_name(cluster, machine):
    return f"weir-cluster-{cluster}-{machine}"


def own_path(hierarchy):
    """Where the calling process is in a version 1 hierarchy, relative to its mount."""
    names = set(hierarchy.options.split(","))
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if names & set(controllers.split(",")):
            return path.lstrip("/")
    return ""


def copy_cpuset(directory):
    """A new version 1 cpuset is empty and takes no process until it has CPUs and memory nodes."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = directory / name
        if file.exists() and not file.read_text().strip():
            file.write_text((directory.parent / name).read_text())


def create(cluster, machine):
    """Makes the machine's cgroups; returns their directories."""
    made = []
    all_of_them = hierarchies()
    for hierarchy in all_of_them:
        parent = hierarchy.path if hierarchy.unified else hierarchy.path / own_path(hierarchy)
        directory = parent / group_name(cluster, machine)
        directory.mkdir(exist_ok=True)
        copy_cpuset(directory)
        if len(all_of_them) == 1:
            enable_controllers(parent)
        made.append(directory)
    return made


def enable_controllers(directory):
    """cgroup2 as the only hierarchy: children get the controllers that their parent hands down."""
    there = (directory / "cgroup.controllers").read_text().split()
    for controller in CONTROLLERS:
        if controller in there:
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def find(cluster, machine="*"):
    """Directories of the cluster's cgroups, whoever made them and wherever they hang; found by name."""
    found = []
    for hierarchy in hierarchies():
        for depth in ("", "*/", "*/*/", "*/*/*/"):
            found += hierarchy.path.glob(f"{depth}{group_name(cluster, machine)}")
    return found


def members(directories):
    """Ids of every process in these cgroups and below."""
    pids = set()
    for directory in directories:
        for path, _, _ in os.walk(directory):
            try:
                pids.update(int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split())
            except OSError:
                continue  # removed meanwhile
    pids.discard(0)
    return pids


def join(directories):
    """Moves the calling process; for use between fork and exec."""
    for directory in directories:
        with open(directory / "cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")


def kill(directories, seconds=60):
    """Ends every process in these cgroups and waits until none is left."""
    deadline = time.monotonic() + seconds
    while pids := members(directories):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            raise Failure(f"processes {sorted(pids)} do not end; see /proc/PID/stack")
        time.sleep(0.02)


def remove(directories, seconds=10):
    """Removes the cgroups with everything below them; they must be empty of processes."""
    deadline = time.monotonic() + seconds
    for directory in directories:
        while directory.exists():
            for path, _, _ in os.walk(directory, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass  # a process that just ended may still count for a moment
            if not directory.exists():
                break
            if time.monotonic() > deadline:
                raise Failure(f"cgroup {directory} cannot be removed: {sorted(members([directory]))} are in it")
            time.sleep(0.02)
