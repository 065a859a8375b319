# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a machine: makes its file systems, then keeps its services running.

    python3 init.py SPEC     SPEC is JSON: root, hostname, binds, boot_id (see machine.py, which writes it)

Stands alone: it runs inside the new namespaces, before and after the root is changed. Services are files
/etc/init/NAME.json with argv and env; one that ends is started again after a second, as systemd would.
Control is a line of text on /run/init.sock: "start NAME", "stop NAME", "kill NAME", "status".
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SOCKET = "/run/init.sock"
SERVICES = Path("/etc/init")
RESTART_DELAY = 1.0
LOGS = Path("/var/log")


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def bind(root, source, target, readonly):
    """A file or directory of the host at a path of the machine."""
    place = root / str(target).lstrip("/")
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount("--bind", source, place)
    if readonly:
        mount("-o", "remount,bind,ro", place)


def mount_cgroups(root):
    """The cgroup namespace makes this machine's cgroups look like the roots of fresh mounts."""
    found = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    version1 = [fields for fields in found if fields[2] == "cgroup" and fields[1].startswith("/sys/")]
    top = root / "sys/fs/cgroup"
    if not version1:
        mount("-t", "cgroup2", "cgroup2", top)
        return
    mount("-t", "tmpfs", "-o", "mode=755", "cgroups", top)
    for _, where, _, options, *_ in version1:
        names = [o for o in options.split(",") if o not in ("rw", "relatime", "nosuid", "nodev", "noexec")]
        directory = top / Path(where).name
        directory.mkdir()
        mount("-t", "cgroup", "-o", ",".join(names), "cgroup", directory)
    (top / "unified").mkdir()
    mount("-t", "cgroup2", "cgroup2", top / "unified")


def settle_in_cgroup2():
    """Where cgroup2 is all there is, processes and controllers cannot share a cgroup: move out of the root."""
    top = Path("/sys/fs/cgroup")
    if not (top / "cgroup.controllers").exists():
        return
    (top / "init").mkdir(exist_ok=True)
    for pid in (top / "cgroup.procs").read_text().split():
        (top / "init/cgroup.procs").write_text(pid)
    wanted = " ".join(f"+{c}" for c in (top / "cgroup.controllers").read_text().split())
    (top / "cgroup.subtree_control").write_text(wanted)


def make_root(spec):
    """The machine's own file system: its directory on disk, the host's /usr, and kernel file systems of its own."""
    root = Path(spec["root"])
    mount("--bind", root, root)
    for directory in ("dev", "proc", "sys", "run", "tmp", "usr", ".old", "root"):
        (root / directory).mkdir(exist_ok=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        if not (root / link).is_symlink():
            (root / link).symlink_to(f"usr/{link}")
    for source, target, readonly in [["/usr", "/usr", True], *spec["binds"]]:
        bind(root, source, target, readonly)
    mount("--rbind", "/dev", root / "dev")
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "sysfs", "sysfs", root / "sys")
    mount_cgroups(root)
    mount("-t", "bpf", "bpf", root / "sys/fs/bpf")
    mount("-t", "tmpfs", "-o", "mode=755", "run", root / "run")
    mount("-t", "tmpfs", "tmp", root / "tmp")
    (root / "run/boot_id").write_text(spec["boot_id"] + "\n")
    mount("--bind", root / "run/boot_id", root / "proc/sys/kernel/random/boot_id")


def change_root(root):
    os.chdir(root)
    subprocess.run(["pivot_root", ".", ".old"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "-l", "/.old"], check=True)
    mount("--make-rshared", "/")


class Init:
    """The services and who runs them."""

    def __init__(self):
        self.pids = {}  # service name -> process id
        self.wanted = set()
        self.due = {}  # service name -> when to start it again
        self.wake_in, wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(SOCKET)
        self.listener.listen()

    def spawn(self, name):
        """Starts a service's process with its log; a broken definition is told in the log."""
        self.due.pop(name, None)
        log = os.open(LOGS / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            service = json.loads((SERVICES / f"{name}.json").read_text())
            actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
            self.pids[name] = os.posix_spawnp(service["argv"][0], service["argv"], {**os.environ, **service["env"]},
                                              file_actions=actions, setsid=True, setsigdef=[signal.SIGCHLD])
        except (OSError, ValueError, KeyError) as error:
            os.write(log, f"init: {name} cannot be started: {error}\n".encode())
            self.due[name] = time.monotonic() + RESTART_DELAY
        finally:
            os.close(log)

    def reap(self):
        """Collects every ended process: services, and orphans of containers."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, running in list(self.pids.items()):
                if running == pid:
                    del self.pids[name]
                    if name in self.wanted:
                        self.due[name] = time.monotonic() + RESTART_DELAY

    def signal_service(self, name, number):
        if name in self.pids:
            os.kill(self.pids[name], number)

    def command(self, line):
        """Does one request; the answer is one line."""
        verb, _, name = line.strip().partition(" ")
        if verb == "start":
            self.wanted.add(name)
            if name not in self.pids:
                self.spawn(name)
        elif verb == "stop":
            self.wanted.discard(name)
            self.due.pop(name, None)
            self.signal_service(name, signal.SIGTERM)
        elif verb == "kill":
            self.signal_service(name, signal.SIGKILL)
        elif verb != "status":
            return f"no command {verb}"
        return json.dumps(self.pids)

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(2)
            try:
                connection.sendall((self.command(connection.recv(4096).decode()) + "\n").encode())
            except OSError:
                pass  # the caller went away

    def run(self):
        for file in sorted(SERVICES.glob("*.json")):
            self.command(f"start {file.stem}")
        while True:
            ready, _, _ = select.select([self.listener, self.wake_in], [], [], 0.5 if self.due else 30)
            if self.wake_in in ready:
                os.read(self.wake_in, 512)
            self.reap()
            for name, when in list(self.due.items()):
                if when <= time.monotonic():
                    self.spawn(name)
            if self.listener in ready:
                self.serve()


def main():
    spec = json.loads(Path(sys.argv[1]).read_text())
    make_root(spec)
    change_root(spec["root"])
    settle_in_cgroup2()
    subprocess.run(["hostname", spec["hostname"]], check=True)
    Init().run()


if __name__ == "__main__":
    main()
