# SPDX-License-Identifier: Apache-2.0
"""The peers that pods under Weir are compared with, each in network namespaces of its own.

pair    two namespaces joined by one veth pair: the limit of this machine
routed  two namespaces, each with a veth to a host namespace that routes, no rules
kube    the same host namespace with kube-proxy's own nftables rules and connection tracking
weir    pods of a node that runs the agent, with socket hooks or without
"""
import contextlib
import json
import os
import subprocess
import tempfile
import time

CLIENT4, SERVER4 = "10.244.0.2", "10.244.0.3"
CLIENT6, SERVER6 = "fd00:10:244::2", "fd00:10:244::3"
VIP4, VIP6 = "10.96.0.10", "fd00:10:96::10"
NODE4, NODE6 = "192.0.2.1", "2001:db8::1"
PORT, NODE_PORT = 8080, 30080


def sh(script, check=True):
    return subprocess.run(["bash", "-euc", script], check=check, text=True, capture_output=True)


class Place:
    """A network namespace and, for pods, a cgroup in which programs run."""

    def __init__(self, netns, cgroup=None):
        self.netns, self.cgroup = netns, cgroup

    def argv(self, argv):
        join = f'echo $$ >{self.cgroup}/cgroup.procs; ' if self.cgroup else ""
        return ["nsenter", f"--net={self.netns}", "sh", "-c", join + 'exec "$@"', "sh", *argv]


class Topology:
    """Client, server and, where there is one, an outside client, with the addresses they use."""

    def __init__(self, name):
        self.name = name
        self.client = self.server = self.outside = None
        self.stack = contextlib.ExitStack()

    def close(self):
        self.stack.close()

    def start(self, place, argv):
        process = subprocess.Popen(place.argv(argv), stdout=subprocess.DEVNULL)
        self.stack.callback(lambda: (process.kill(), process.wait()))


def add_netns(topology, name):
    full = f"wb{os.getpid()}-{topology.name}-{name}"
    sh(f"ip netns add {full}; ip -n {full} link set lo up")
    topology.stack.callback(lambda: sh(f"ip netns del {full}", check=False))
    sh(f"ip netns exec {full} sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.ip_local_port_range='10000 45000'")
    return full


def pair():
    t = Topology("pair")
    c, s = add_netns(t, "c"), add_netns(t, "s")
    sh(f"""ip link add eth0 netns {c} type veth peer name eth0 netns {s}
        ip -n {c} addr add {CLIENT4}/24 dev eth0; ip -n {c} addr add {CLIENT6}/64 dev eth0 nodad
        ip -n {s} addr add {SERVER4}/24 dev eth0; ip -n {s} addr add {SERVER6}/64 dev eth0 nodad
        ip -n {c} link set eth0 up; ip -n {s} link set eth0 up""")
    t.client, t.server = Place(f"/run/netns/{c}"), Place(f"/run/netns/{s}")
    return t


def routed(name="routed"):
    t = Topology(name)
    h, c, s, o = (add_netns(t, n) for n in ("h", "c", "s", "o"))
    sh(f"ip netns exec {h} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for ns, v4, v6, dev in ((c, CLIENT4, CLIENT6, "vc"), (s, SERVER4, SERVER6, "vs")):
        sh(f"""ip link add {dev} netns {h} type veth peer name eth0 netns {ns}
            ip -n {h} link set {dev} up; ip -n {ns} link set eth0 up
            ip -n {h} addr add 169.254.1.1/32 dev {dev}; ip -n {h} addr add fe80::1/64 dev {dev} nodad
            ip -n {ns} addr add {v4}/32 dev eth0; ip -n {ns} addr add {v6}/128 dev eth0 nodad
            ip -n {ns} route add 169.254.1.1 dev eth0; ip -n {ns} route add default via 169.254.1.1
            ip -n {ns} -6 route add default via fe80::1 dev eth0
            ip -n {h} route add {v4} dev {dev}; ip -n {h} -6 route add {v6} dev {dev}""")
    sh(f"""ip link add ext0 netns {h} type veth peer name eth0 netns {o}
        ip -n {h} link set ext0 up; ip -n {o} link set eth0 up
        ip -n {h} addr add {NODE4}/24 dev ext0; ip -n {h} addr add {NODE6}/64 dev ext0 nodad
        ip -n {o} addr add 192.0.2.2/24 dev eth0; ip -n {o} addr add 2001:db8::2/64 dev eth0 nodad
        ip -n {h} route add default via 192.0.2.2; ip -n {h} -6 route add default via 2001:db8::2""")
    t.client, t.server = Place(f"/run/netns/{c}"), Place(f"/run/netns/{s}")
    t.outside, t.host = Place(f"/run/netns/{o}"), h
    return t


def kube(rules):
    t = routed("kube")
    sh(f"ip netns exec {t.host} nft -f {rules}")
    return t


class Weir:
    """A node with the real agent; pods are made by `weir run`."""

    def __init__(self, name, bin_dir, socket_hooks):
        self.name, self.bin = name, bin_dir
        self.t = t = Topology(name)
        self.dir = tempfile.mkdtemp(prefix="weir-bench-")
        t.stack.callback(lambda: sh(f"umount {self.dir}/bpf; rm -rf {self.dir}", check=False))
        h, o = add_netns(t, "h"), add_netns(t, "o")
        sh(f"""ip link add ext0 netns {h} type veth peer name eth0 netns {o}
            ip -n {h} link set ext0 up; ip -n {o} link set eth0 up
            ip -n {h} addr add {NODE4}/24 dev ext0; ip -n {h} addr add {NODE6}/64 dev ext0 nodad
            ip -n {o} addr add 192.0.2.2/24 dev eth0; ip -n {o} addr add 2001:db8::2/64 dev eth0 nodad
            ip -n {h} route add default via 192.0.2.2; ip -n {h} -6 route add default via 2001:db8::2
            mkdir -p {self.dir}/objects {self.dir}/bpf; mount -t bpf bpf {self.dir}/bpf""")
        root = sh("awk '$3 == \"cgroup2\" {print $2; exit}' /proc/self/mounts").stdout.strip()
        self.cgroup = f"{root}/{os.path.basename(self.dir)}"
        os.mkdir(self.cgroup)
        os.mkdir(self.cgroup + "/host")
        t.stack.callback(lambda: sh(f"find {self.cgroup} -depth -type d -exec rmdir {{}} +", check=False))
        t.outside, t.host = Place(f"/run/netns/{o}"), h
        self.host = Place(f"/run/netns/{h}", self.cgroup + "/host")
        t.stack.callback(lambda: subprocess.run(
            self.command("cleanup", "--yes"), capture_output=True))
        self.objects()
        agent = subprocess.Popen(self.host.argv([
            f"{self.bin}/src/agent/weir-agent", f"--source=file:{self.dir}/objects", "--node-name=node-1",
            f"--run-dir={self.dir}/run", f"--bpffs={self.dir}/bpf", f"--cgroup-root={self.cgroup}", "--devices=ext0",
            f"--socket-hooks={socket_hooks}", "--service-cidrs=10.96.0.0/16,fd00:10:96::/112",
            "--metrics-address=", "--log-level=warn"]))
        t.stack.callback(lambda: (agent.terminate(), agent.wait()))
        self.agent_pid = agent.pid
        self.wait(lambda: self.weir("status", "--wait").returncode == 0, "the agent to be ready")
        t.client = self.pod("client", "10", [])
        t.server = self.pod("server", "web", [])
        addresses = json.loads(self.weir("pod", "list", "-n", "bench", "-o", "json").stdout)
        self.addresses = {p["name"]: p["ips"] for p in addresses}

    def command(self, *argv):
        where = [f"WEIR_RUN_DIR={self.dir}/run", f"WEIR_SOCKET={self.dir}/run/agent.sock", f"WEIR_BPFFS={self.dir}/bpf"]
        return self.host.argv(["env", *where, f"{self.bin}/src/cli/weir", *argv])

    def weir(self, *args):
        return subprocess.run(self.command(*args), capture_output=True, text=True)

    @staticmethod
    def wait(condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise RuntimeError(f"waited {seconds} s for {what}")
            time.sleep(0.1)

    def objects(self):
        with open(f"{self.dir}/objects/web.yaml", "w", encoding="utf-8") as f:
            f.write(f"""apiVersion: v1
kind: Service
metadata: {{name: web, namespace: bench}}
spec:
  type: NodePort
  clusterIPs: ["{VIP4}", "{VIP6}"]
  ipFamilies: [IPv4, IPv6]
  selector: {{app: web}}
  ports:
  - {{name: tcp, port: 80, targetPort: {PORT}, nodePort: {NODE_PORT}}}
  - {{name: udp, port: 80, targetPort: {PORT}, nodePort: {NODE_PORT}, protocol: UDP}}
""")

    def pod(self, name, app, argv):
        pid_file = f"{self.dir}/{name}.pid"
        run = subprocess.Popen(self.command(
            "run", f"--name={name}", "-n", "bench", "-l", f"app={app}", "--", "sh", "-c",
            f"echo $$ >{pid_file}; exec sleep infinity"))
        self.t.stack.callback(lambda: (run.terminate(), run.wait()))
        self.wait(lambda: os.path.exists(pid_file) and os.path.getsize(pid_file), f"pod {name}")
        with open(pid_file, encoding="utf-8") as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
            path = next(line[3:].strip() for line in f if line.startswith("0::"))
        root = self.cgroup[:self.cgroup.rindex("/")]
        return Place(f"/proc/{pid}/ns/net", root + path)
