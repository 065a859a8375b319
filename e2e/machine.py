# SPDX-License-Identifier: Apache-2.0
"""A machine: namespaces, cgroups and a root directory of its own, with init.py as process 1.

Everything is found again by the names of the cluster and the machine; nothing is remembered in process ids, so a
machine can be ended whoever made it and however far that got.
"""

import json
import os
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

from . import cgroups, fabric
from .shell import Failure, run, wait_until

INIT = Path(__file__).with_name("init.py")
PYTHON = "/usr/bin/python3"  # one that is inside the machine too

# What programs expect of the host's /etc; nothing secret.
ETC = ("alternatives", "group", "iproute2", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "nsswitch.conf",
       "passwd", "protocols", "services", "ssl/certs", "ssl/openssl.cnf")

NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--cgroup")


class Machine:
    """One machine of a cluster, running or not."""

    def __init__(self, plan, name):
        self.plan = plan
        self.name = name
        self.directory = plan.directory / name
        self.root = self.directory / "root"
        self.pid_ = 0

    # Life

    def create(self, binds):
        """Lays down the root directory. binds: (source, target, readonly) of the host's files wanted inside."""
        etc = self.root / "etc"
        (etc / "init").mkdir(parents=True, exist_ok=True)
        for name in ETC:
            copy_tree(Path("/etc") / name, etc / name)
        for directory in ("var/log", "var/lib", "var/tmp", "opt"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(self.root / "var/run"):
            (self.root / "var/run").symlink_to("../run")  # as everywhere: runtimes name namespaces by it
        (etc / "hosts").write_text(f"127.0.0.1 localhost {self.name}\n::1 localhost\n")
        (etc / "hostname").write_text(f"{self.name}\n")
        (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")
        self.binds_file.write_text(json.dumps([[str(s), str(t), r] for s, t, r in binds]))

    @property
    def binds_file(self):
        return self.directory / "binds.json"

    def boot(self):
        """Starts process 1 in the machine's network namespace, which must be there; services follow by themselves."""
        spec = {"root": str(self.root), "hostname": self.name, "boot_id": str(uuid.uuid4()),
                "binds": json.loads(self.binds_file.read_text())}
        file = self.directory / "init.json"
        file.write_text(json.dumps(spec))
        groups = cgroups.create(self.plan.name, self.name)
        log = open(self.directory / "init.log", "wb")
        with log:
            subprocess.Popen(
                ["nsenter", f"--net={fabric.path(self.plan.name, self.name)}", "unshare", *NAMESPACES, "--fork",
                 "--kill-child", PYTHON, "-I", str(INIT), str(file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root"},
                preexec_fn=lambda: cgroups.join(groups))
        wait_until(f"machine {self.name} boots (see {self.directory}/init.log)", self.answers, 60, every=0.05)

    def power_off(self):
        """Ends every process of the machine at once, as a power cut would."""
        groups = cgroups.find(self.plan.name, self.name)
        cgroups.kill(groups)
        cgroups.remove(groups)
        self.pid_ = 0

    # Inside

    def pid(self):
        """The host's id of the machine's process 1; 0 when it does not run."""
        if self.pid_ and is_init(self.pid_):
            return self.pid_
        self.pid_ = 0
        for pid in cgroups.members(cgroups.find(self.plan.name, self.name)):
            if is_init(pid):
                self.pid_ = pid
        return self.pid_

    def enter(self, argv):
        """The command that runs argv inside; its process must also join_cgroups()."""
        pid = self.pid()
        if not pid:
            raise Failure(f"machine {self.name} of cluster {self.plan.name} does not run: ./dev cluster status")
        return ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                *map(str, argv)]

    def join_cgroups(self):
        cgroups.join(cgroups.find(self.plan.name, self.name))

    def run(self, argv, **options):
        """Runs a command inside and returns its output."""
        groups = cgroups.find(self.plan.name, self.name)
        return run(self.enter(argv), preexec_fn=lambda: cgroups.join(groups), **options)

    # Services

    def answers(self):
        """Whether process 1 is there and has made its file systems."""
        try:
            return self.ask("status") is not None
        except Failure:
            return False

    def ask(self, line):
        """One request to process 1: what runs, by service name."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(30)
                connection.connect(f"/proc/{self.pid()}/root/run/init.sock")
                connection.sendall(f"{line}\n".encode())
                return json.loads(connection.makefile().readline())
        except (OSError, ValueError) as error:
            raise Failure(f"machine {self.name} does not answer ({error}); see {self.directory}/init.log") from None

    def define(self, name, argv, env=None):
        """Writes down a service; it starts with start(), and at every boot."""
        directory = self.root / "etc/init"
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"argv": [str(word) for word in argv], "env": env or {}}, indent=1)
        (directory / f"{name}.json").write_text(text + "\n")

    def start(self, name):
        self.ask(f"start {name}")

    def stop(self, name, seconds=20):
        """Asks a service to end, and ends it the hard way when it does not."""
        self.ask(f"stop {name}")
        try:
            wait_until(f"{name} on {self.name} ends", lambda: name not in self.ask("status"), seconds)
        except Failure:
            self.ask(f"kill {name}")
            wait_until(f"{name} on {self.name} ends", lambda: name not in self.ask("status"), 5)

    def log_tail(self, name, lines=5):
        """The end of a service's log, for messages."""
        try:
            text = (self.root / f"var/log/{name}.log").read_text(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])


def is_init(pid):
    """Whether a process is process 1 of a namespace directly below this one."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                ids = line.split()[1:]
                return len(ids) == own_depth() + 1 and ids[-1] == "1"
    except OSError:
        pass
    return False


def own_depth():
    """How many pid namespaces this process can see itself in."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return len(line.split()) - 1
    return 1


def copy_tree(source, target):
    """Copies a file, a symlink or a directory if it exists and is not yet copied."""
    if not source.exists() or os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
