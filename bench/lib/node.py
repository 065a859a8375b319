# SPDX-License-Identifier: Apache-2.0
"""Network namespaces and a node of Weir's in them: the real agent with its own run directory, bpffs and cgroup."""
import contextlib
import json
import os
import subprocess
import tempfile
import time

NODE4, NODE6 = "192.0.2.1", "2001:db8::1"


def sh(script, check=True):
    done = subprocess.run(["bash", "-euc", script], check=False, text=True, capture_output=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{script.strip()}: {done.stderr.strip()}")
    return done


@contextlib.contextmanager
def undone_on_failure(stack):
    """What the stack holds is undone if the body fails; else it stays."""
    try:
        yield
    except BaseException:
        stack.close()
        raise


def wait(condition, what, seconds=20, pause=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(pause)


class Place:
    """A network namespace and, for pods, a cgroup in which programs run."""

    def __init__(self, netns, cgroup=None):
        self.netns, self.cgroup = netns, cgroup

    def argv(self, argv):
        join = f'echo $$ >{self.cgroup}/cgroup.procs; ' if self.cgroup else ""
        return ["nsenter", f"--net={self.netns}", "sh", "-c", join + 'exec "$@"', "sh", *argv]


# Of every namespace that connects, pods included: short connections by the ten thousand a second meet no port again
# that is not free, nor search long for one.
PORTS = "net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='10000 45000'"


def add_netns(stack, name):
    full = f"wb{os.getpid()}-{name}"
    sh(f"ip netns add {full}")
    stack.callback(lambda: sh(f"ip netns del {full}", check=False))
    sh(f"""ip -n {full} link set lo up
        ip netns exec {full} sysctl -qw {PORTS}""")
    return full


def add_outside(host, outside):
    """The host's external device and somebody behind it."""
    sh(f"""ip link add ext0 netns {host} type veth peer name eth0 netns {outside}
        ip -n {host} link set ext0 up; ip -n {outside} link set eth0 up
        ip -n {host} addr add {NODE4}/24 dev ext0; ip -n {host} addr add {NODE6}/64 dev ext0 nodad
        ip -n {outside} addr add 192.0.2.2/24 dev eth0; ip -n {outside} addr add 2001:db8::2/64 dev eth0 nodad
        ip -n {host} route add default via 192.0.2.2; ip -n {host} -6 route add default via 2001:db8::2""")


class Node:
    """A node with the real agent. Fill objects_dir, then start()."""

    def __init__(self, name, bin_dir):
        self.name, self.bin = name, os.path.abspath(bin_dir)
        self.stack = contextlib.ExitStack()
        self.agent = None
        with undone_on_failure(self.stack):
            self.set_up(name)

    def set_up(self, name):
        self.dir = tempfile.mkdtemp(prefix="weir-bench-")
        # The agent's state lives in a tmpfs, as below /run of a node; on a disk each ADD waits for it four times.
        sh(f"mount -t tmpfs weir-bench {self.dir}")
        self.stack.callback(lambda: sh(f"umount {self.dir}/bpf; umount {self.dir} && rmdir {self.dir}", check=False))
        self.objects_dir = f"{self.dir}/objects"
        host, outside = add_netns(self.stack, f"{name}-h"), add_netns(self.stack, f"{name}-o")
        add_outside(host, outside)
        sh(f"mkdir -p {self.objects_dir} {self.dir}/bpf; mount -t bpf bpf {self.dir}/bpf")
        root = sh("awk '$3 == \"cgroup2\" {print $2; exit}' /proc/self/mounts").stdout.strip()
        if not root:
            raise RuntimeError("no cgroup2 file system is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
        self.cgroup_mount = root
        self.cgroup = f"{root}/{os.path.basename(self.dir)}"
        os.makedirs(self.cgroup + "/host")
        self.stack.callback(lambda: sh(f"find {self.cgroup} -depth -type d -exec rmdir {{}} +", check=False))
        self.outside = Place(f"/run/netns/{outside}")
        self.host = Place(f"/run/netns/{host}", self.cgroup + "/host")

    def close(self):
        self.stack.close()

    def launch(self, *flags, node_name="node-1", prefix=()):
        """Starts the agent and returns at once."""
        self.stack.callback(lambda: subprocess.run(self.command("cleanup", "--yes"), capture_output=True, check=False))
        self.agent = subprocess.Popen([*prefix, *self.host.argv([
            f"{self.bin}/src/agent/weir-agent", f"--source=file:{self.objects_dir}", f"--node-name={node_name}",
            f"--run-dir={self.dir}/run", f"--bpffs={self.dir}/bpf", f"--cgroup-root={self.cgroup}", "--devices=ext0",
            "--metrics-address=", "--log-level=warn", *flags])])
        self.stack.callback(self.stop)

    def stop(self):
        if self.agent.poll() is None:
            self.agent.terminate()
        self.agent.wait()

    def start(self, *flags, **more):
        self.launch(*flags, **more)
        self.wait_ready()

    def ready(self):
        if self.agent.poll() is not None:
            raise RuntimeError(f"the agent ended with {self.agent.returncode}")
        return self.weir("status", "--wait").returncode == 0

    def wait_ready(self, seconds=60):
        wait(self.ready, "the agent to be ready", seconds)

    def command(self, *argv):
        where = [f"WEIR_RUN_DIR={self.dir}/run", f"WEIR_SOCKET={self.dir}/run/agent.sock", f"WEIR_BPFFS={self.dir}/bpf"]
        return self.host.argv(["env", *where, f"{self.bin}/src/cli/weir", *argv])

    def weir(self, *args):
        return subprocess.run(self.command(*args), capture_output=True, text=True, check=False)

    def pod(self, name, app, namespace="bench"):
        """A pod made by `weir run` that sleeps; returns its place and its addresses."""
        pid_file = f"{self.dir}/{name}.pid"
        run = subprocess.Popen(self.command(
            "run", f"--name={name}", "-n", namespace, "-l", f"app={app}", "--", "sh", "-c",
            f"echo $$ >{pid_file}; exec sleep infinity"))
        self.stack.callback(lambda: (run.terminate(), run.wait()))
        wait(lambda: os.path.exists(pid_file) and os.path.getsize(pid_file), f"pod {name}")
        with open(pid_file, encoding="utf-8") as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
            path = next(line[3:].strip() for line in f if line.startswith("0::"))
        addresses = []

        def known():
            pods = json.loads(self.weir("pod", "list", "-n", namespace, "-o", "json").stdout or "[]")
            addresses.extend(next((p["ips"] for p in pods if p["name"] == name), []))
            return bool(addresses)
        wait(known, f"the agent to know pod {name}")
        sh(f"nsenter --net=/proc/{pid}/ns/net sysctl -qw {PORTS}")
        return Place(f"/proc/{pid}/ns/net", self.cgroup_mount + path), addresses
