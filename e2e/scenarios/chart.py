# SPDX-License-Identifier: Apache-2.0
"""The chart's life: 30 pods in service, upgrade and rollback under load, uninstall with pods alive, clean nodes."""

import time
from contextlib import contextmanager

from .. import chart, leftovers, metrics, snapshot, traffic
from ..shell import Failure, progress, wait_until
from . import AGNHOST, addresses, check, container_ids, prober, probes

NODE, OTHER = "n1", "n2"
PODS = 30
SERVERS = 4
PORT = 8080
# New connections a second and open ones: of a pod on each of two nodes, and of a node itself.
POD_RATE, POD_OPEN = 450, 900
NODE_RATE, NODE_OPEN = 100, 200
SERVE = ["netexec", f"--http-port={PORT}"]


def applies(plan):
    return plan.by_chart


def versions(cluster):
    return {name: metrics.version(metrics.scrape(node)) for name, node in cluster.nodes.items()}


def added(cluster):
    """How long ADDs took in all agents so far."""
    return metrics.merged([metrics.histogram(metrics.scrape(node), "weir_cni_request_duration_seconds", command="ADD")
                           for node in cluster.nodes.values()])


def thirty_pods(lab):
    before, started = added(lab.cluster), time.monotonic()
    lab.deployment("web", PODS, image=AGNHOST, args=SERVE, port=PORT)
    lab.service("web", PORT)
    lab.rolled_out("web")
    seconds = time.monotonic() - started
    taken = metrics.since(added(lab.cluster), before)
    check(max(taken.values()) >= PODS, f"the agents counted {max(taken.values()):.0f} ADDs for {PODS} pods")
    progress(f"chart: {PODS} pods in service after {seconds:.1f} s; CNI ADD p50 at most "
             f"{metrics.quantile(taken, 0.5) * 1000:.1f} ms, p99 at most {metrics.quantile(taken, 0.99) * 1000:.1f} ms")
    lab.kubectl("delete", "deployment/web", "service/web")


def urls(lab, name):
    """The Service in every family, and each server by its own address."""
    [service] = [item for item in lab.get("services") if item["metadata"]["name"] == name]
    found = [*service["spec"]["clusterIPs"], *(a for pod in lab.pods(name) for a in addresses(pod))]
    return [f"http://[{a}]:{PORT}" if ":" in a else f"http://{a}:{PORT}" for a in found]


def start_load(lab):
    """A pod on each of two nodes and a node itself as clients, whose lasting connections are open."""
    nodes = lab.cluster.nodes
    targets = urls(lab, "server")
    places = [(nodes[name], f"a pod on {name}", traffic.process_of(nodes[name], lab.pods(f"client-{name}")[0]))
              for name in (NODE, OTHER)]
    clients = [traffic.Load(node, where, pid, POD_RATE, POD_OPEN, targets) for node, where, pid in places]
    clients.append(traffic.Load(nodes[NODE], f"node {NODE}", nodes[NODE].pid(), NODE_RATE, NODE_OPEN, targets))
    for client in clients:
        client.wait_open()
    return clients


@contextmanager
def load(lab, during):
    """New connections by the hundred a second and lasting ones, none of which may be lost."""
    clients = start_load(lab)
    try:
        time.sleep(3)
        yield
        time.sleep(3)
        results = {client.where: client.stop() for client in clients}
    finally:
        for client in clients:
            client.kill()
    lost = {}
    for where, result in results.items():
        progress(f"chart: {during}, from {where}: {result['begun']['new']} new connections in "
                 f"{result['seconds']:.1f} s ({result['rate']:.0f}/s), {result['alive']} of {result['begun']['open']} open ones alive after "
                 f"{result['questions']} questions, lost: {traffic.lost(result) or 'none'}")
        if traffic.lost(result) or result["alive"] != result["begun"]["open"]:
            lost[where] = traffic.lost(result)
    check(not lost, f"connections were lost during {during}: {lost}")


def upgrade_and_rollback(lab):
    cluster = lab.cluster
    lab.deployment("server", SERVERS, image=AGNHOST, args=SERVE, port=PORT)
    lab.service("server", PORT)
    for name in (NODE, OTHER):
        lab.deployment(f"client-{name}", 1, node=name, image=AGNHOST)
        lab.rolled_out(f"client-{name}")
    lab.rolled_out("server")
    before = versions(cluster)
    with load(lab, "the upgrade"):
        chart.deploy(cluster, "--set=image.tag=next")
        between = versions(cluster)
        check(all("-next" in version for version in between.values()), f"not every agent is the next one: {between}")
    with load(lab, "the rollback"):
        chart.helm(cluster, "rollback", chart.RELEASE)
        chart.wait_rolled_out(cluster)
        check(versions(cluster) == before, f"not every agent is the one before: {versions(cluster)}")


def uninstall(lab):
    """Helm waits for its hooks, and so for every node."""
    started = time.monotonic()
    chart.helm(lab.cluster, "uninstall", chart.RELEASE, timeout=330)
    progress(f"chart: uninstalled after {time.monotonic() - started:.1f} s")


def uninstall_with_pods(lab):
    """Pods keep their network and can be deleted, none can start; another installation takes them over."""
    node = lab.cluster.nodes[NODE]
    lab.deployment("doomed", 1, node=NODE)
    lab.rolled_out("doomed")
    [address, *_] = addresses(lab.pods("doomed")[0])
    prober(lab, "probe", f"http://server:{PORT}/hostname", node=NODE)
    same = container_ids(lab.pods("server"))
    uninstall(lab)
    lab.probed("probe", 50)
    lab.deployment("late", 1, node=NODE)
    lab.kubectl("delete", "deployment/doomed", "--timeout=60s", timeout=70)
    wait_until("a pod is deleted without an agent", lambda: not lab.get("pods", "app=doomed"), 60, every=1)
    lab.probed("probe", 50)
    check(not lab.pods("late"), "a pod started without an agent")

    chart.deploy(lab.cluster)
    lab.rolled_out("late")
    lab.probed("probe", 50)
    check(container_ids(lab.pods("server")) == same, "the servers' containers were replaced")
    check(address not in leftovers.addresses(node), f"the deleted pod's address {address} is not free again")
    seen = probes(lab, "probe")
    check(not seen.failures, f"{len(seen.failures)} of {seen.count} requests failed: {seen.failures[:3]}")
    progress("chart: pods kept their network without agents, and new ones took them over")


def uninstall_where_no_node_is_chosen(lab):
    """The hook has nothing to wait for: it says so, by Helm, and the node's pods keep their network."""
    chart.deploy(lab.cluster, "--set-string=nodeSelector.nosuch=node")
    started = time.monotonic()
    said = chart.helm(lab.cluster, "uninstall", chart.RELEASE, all_said=True, timeout=120)
    took = time.monotonic() - started
    check("no node was to be cleaned" in said, f"helm uninstall does not say that no node was cleaned: {said}")
    check(took < 60, f"helm uninstall took {took:.1f} s for no node")
    progress(f"chart: uninstalled from no node after {took:.1f} s")
    chart.deploy(lab.cluster)


def clean_nodes(lab):
    """Without pods nothing is left of it: the nodes are as before the first installation."""
    cluster = lab.cluster
    lab.kubectl("delete", "deployment", "--all")
    lab.kubectl("delete", "service", "--all")
    cluster.kubectl("--namespace=kube-system", "scale", "deployment/coredns", "--replicas=0")
    lab.pods_gone()
    wait_until("DNS is gone", lambda: "coredns" not in cluster.kubectl("--namespace=kube-system", "get", "pods"), 60, 1)
    try:
        uninstall(lab)
        before = chart.before(cluster)
        for name, node in cluster.nodes.items():
            left = snapshot.differences(before[name], snapshot.take(node))
            if left:
                raise Failure(f"{name} is not as it was:\n" + "\n".join(left[:40]))
        progress("chart: links, routes, rules, programs, pins, settings and files are as before on every node")
    finally:
        chart.deploy(cluster)
        cluster.kubectl("--namespace=kube-system", "scale", "deployment/coredns", "--replicas=2")


def run(lab):
    chart.load_image(lab.cluster, "next")
    thirty_pods(lab)
    upgrade_and_rollback(lab)
    uninstall_with_pods(lab)
    uninstall_where_no_node_is_chosen(lab)
    clean_nodes(lab)
