# SPDX-License-Identifier: Apache-2.0
"""The peers that pods under Weir are compared with, each in network namespaces of its own.

pair    two namespaces joined by one veth pair: the limit of this machine
routed  two namespaces, each with a veth to a host namespace that routes, no rules
kube    the same host namespace with kube-proxy's own nftables rules and connection tracking
weir    pods of a node that runs the agent, with socket hooks or without
"""
import contextlib
import functools
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from node import NODE4, NODE6, Node, Place, add_netns, add_outside, sh, undone_on_failure  # noqa: E402,F401

CLIENT4, SERVER4 = "10.244.0.2", "10.244.0.3"
CLIENT6, SERVER6 = "fd00:10:244::2", "fd00:10:244::3"
VIP4, VIP6 = "10.96.0.10", "fd00:10:96::10"
PORT, NODE_PORT = 8080, 30080
OFFLOADS = ("rx-checksumming", "tx-checksumming", "scatter-gather", "tcp-segmentation-offload",
            "generic-segmentation-offload", "generic-receive-offload")


class Topology:
    """Client, server and, where there is one, an outside client; `serving` is the server's process."""

    def __init__(self, name):
        self.name = name
        self.client = self.server = self.outside = self.serving = None
        self.server_addresses = []
        self.stack = contextlib.ExitStack()

    def close(self):
        self.stack.close()

    def serve(self, argv):
        self.serving = subprocess.Popen(self.server.argv(argv), stdout=subprocess.DEVNULL)
        self.stack.callback(lambda: (self.serving.kill(), self.serving.wait()))

    def pin_server(self, cpus):
        os.sched_setaffinity(self.serving.pid, cpus)

    def offloads(self):
        """What the ends' devices do by themselves; must be alike everywhere for figures to compare."""
        found = []
        for place in (self.client, self.server):
            text = sh(f"nsenter --net={place.netns} ethtool -k eth0").stdout
            found += [line.split("[")[0].strip() for line in text.splitlines() if line.startswith(OFFLOADS)]
            mtu = sh(f"nsenter --net={place.netns} ip -o link show eth0").stdout.split(" mtu ")[1].split()[0]
            found.append(f"mtu {mtu}")
        return found


def topology(build):
    """Gives `build` a Topology of that name; what it made goes if it fails."""
    @functools.wraps(build)
    def made(name, *args):
        t = Topology(name)
        with undone_on_failure(t.stack):
            build(t, *args)
        return t
    return made


@topology
def pair(t):
    c, s = add_netns(t.stack, "pair-c"), add_netns(t.stack, "pair-s")
    sh(f"""ip link add eth0 netns {c} type veth peer name eth0 netns {s}
        ip -n {c} addr add {CLIENT4}/24 dev eth0; ip -n {c} addr add {CLIENT6}/64 dev eth0 nodad
        ip -n {s} addr add {SERVER4}/24 dev eth0; ip -n {s} addr add {SERVER6}/64 dev eth0 nodad
        ip -n {c} link set eth0 up; ip -n {s} link set eth0 up""")
    t.client, t.server = Place(f"/run/netns/{c}"), Place(f"/run/netns/{s}")


def add_routed(t):
    h, c, s, o = (add_netns(t.stack, f"{t.name}-{n}") for n in ("h", "c", "s", "o"))
    sh(f"ip netns exec {h} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for ns, v4, v6, dev in ((c, CLIENT4, CLIENT6, "vc"), (s, SERVER4, SERVER6, "vs")):
        sh(f"""ip link add {dev} netns {h} type veth peer name eth0 netns {ns}
            ip -n {h} link set {dev} up; ip -n {ns} link set eth0 up
            ip -n {h} addr add 169.254.1.1/32 dev {dev}; ip -n {h} addr add fe80::1/64 dev {dev} nodad
            ip -n {ns} addr add {v4}/32 dev eth0; ip -n {ns} addr add {v6}/128 dev eth0 nodad
            ip -n {ns} route add 169.254.1.1 dev eth0; ip -n {ns} route add default via 169.254.1.1
            ip -n {ns} -6 route add default via fe80::1 dev eth0
            ip -n {h} route add {v4} dev {dev}; ip -n {h} -6 route add {v6} dev {dev}""")
    add_outside(h, o)
    sh(f"ip -n {o} route add {SERVER4}/32 via {NODE4}; ip -n {o} -6 route add {SERVER6}/128 via {NODE6}")
    t.client, t.server = Place(f"/run/netns/{c}"), Place(f"/run/netns/{s}")
    t.outside, t.host = Place(f"/run/netns/{o}"), h


routed = topology(add_routed)


@topology
def kube(t, rules):
    add_routed(t)
    sh(f"ip netns exec {t.host} nft -f {rules}")


@topology
def weir(t, build, socket_hooks, policies=""):
    """A node with the real agent; pods are made by `weir run`."""
    node = Node(t.name, build)
    t.stack.callback(node.close)
    with open(f"{node.objects_dir}/policies.yaml", "w", encoding="utf-8") as f:
        f.write(policies)
    with open(f"{node.objects_dir}/web.yaml", "w", encoding="utf-8") as f:
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
    node.start(f"--socket-hooks={socket_hooks}", "--service-cidrs=10.96.0.0/16,fd00:10:96::/112")
    t.client, _ = node.pod("client", "client")
    t.server, t.server_addresses = node.pod("server", "web")
    t.outside = node.outside
