# SPDX-License-Identifier: Apache-2.0
"""A cluster with kube-proxy and the CNI project's plugins moves to Weir and back, node by node."""

from .. import agents, chart, places, reference
from ..shell import progress, wait_until
from . import AGNHOST, addresses, check, prober, probes

PORT = 8080
LABEL = "network"
CNI_FILES = ("etc/cni/net.d/10-reference.conflist", "var/lib/cni/networks")
WEIR_FILES = ("etc/cni/net.d/05-weir.conflist", "opt/cni/bin/weir-cni")
SERVE = ["netexec", f"--http-port={PORT}"]


def applies(plan):
    return plan.network == "reference"


def reached(lab):
    """Tries every way from each node's pod, and from outside; those that do not lead where they should."""
    names = {pod["metadata"]["name"]: pod for name in lab.cluster.nodes for pod in lab.pods(f"web-{name}")}
    [service] = [item for item in lab.get("services") if item["metadata"]["name"] == "web"]
    node_port = service["spec"]["ports"][0]["nodePort"]
    outside, wrong = places.of_machine(lab.cluster.control_plane), []
    for client in names:
        targets = [(address, {name}) for name, pod in names.items() for address in addresses(pod) if name != client]
        targets += [(address, names.keys()) for address in service["spec"]["clusterIPs"]]
        wrong += [f"{client} to {address}" for address, wanted in targets
                  if lab.http(client, address, port=PORT) not in wanted]
    for node in lab.cluster.nodes:
        for address in lab.cluster.plan.addresses(node):
            host = f"[{address}]" if address.version == 6 else address
            answer = outside.run(["curl", "-s", "-m", "2", f"http://{host}:{node_port}/hostname"], check=False)
            wrong += [f"outside to {node} {address}"] if answer not in names else []
    return wrong


def check_reached(lab, when):
    """Kubelets and proxies learn of new pods a moment after these are ready."""
    for name in lab.cluster.nodes:
        lab.rolled_out(f"web-{name}")
    try:
        wait_until("everything is reached", lambda: not reached(lab), 30, every=1)
    finally:
        wrong = reached(lab)
        check(not wrong, f"{when}: {', '.join(wrong)}")
    progress(f"migration: {when}, pods, Services and NodePorts of both nodes are reached from everywhere")


def expose(lab):
    for name in lab.cluster.nodes:
        lab.deployment(f"web-{name}", 1, node=name, image=AGNHOST, args=SERVE, port=PORT)
        lab.kubectl("patch", "deployment", f"web-{name}", "--patch",
                    '{"spec":{"template":{"metadata":{"labels":{"web":"yes"}}}}}')
    lab.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "type": "NodePort", "selector": {"web": "yes"}, "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"port": PORT}]}})


def empty(cluster, name):
    cluster.kubectl("cordon", name)
    cluster.kubectl("drain", name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s", timeout=130)
    cluster.kubectl("label", "node", name, f"{LABEL}-")


def remove(node, files):
    """Removes files and directories of a node, by its own means."""
    node.run(["rm", "-rf", *(f"/{file}" for file in files)])


def fill(cluster, name):
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=120s", timeout=130)
    cluster.kubectl("uncordon", name)
    cluster.wait_ready()


def preflight(cluster, name):
    """What the node's agent said before it began."""
    namespace = f"--namespace={chart.NAMESPACE}"
    pod = cluster.kubectl(namespace, "get", "pods", "--selector=app.kubernetes.io/name=weir", "-o", "name",
                          f"--field-selector=spec.nodeName={name}").strip()
    return cluster.kubectl(namespace, "logs", pod, "--container=preflight")


def to_weir(cluster, name):
    """Steps 3 to 7 of a node."""
    node = cluster.nodes[name]
    empty(cluster, name)
    node.stop("kube-proxy")
    (node.root / "etc/init/kube-proxy.json").unlink()
    remove(node, CNI_FILES)
    node.reboot()
    cluster.kubectl("label", "node", name, f"{LABEL}=weir")
    wait_until(f"{name} has an agent", agents.PodAgent(cluster, node).process, 120, every=0.5)
    chart.wait_rolled_out(cluster)
    fill(cluster, name)
    said = preflight(cluster, name)
    check("nothing found of any" in said, f"the preflight of {name} found something: {said}")


def to_reference(cluster, name):
    """The way back of a node."""
    node, ranges = cluster.nodes[name], cluster.pod_cidrs()[name]
    empty(cluster, name)
    agent = agents.PodAgent(cluster, node)
    wait_until(f"the agent of {name} has ended", lambda: not agent.process(), 60)
    remove(node, WEIR_FILES)
    cluster.reboot(name)
    reference.install(cluster.plan, node, ranges, cluster.pki)
    cluster.kubectl("label", "node", name, f"{LABEL}=old")
    fill(cluster, name)


def move(lab, name, way, when):
    """Moves a node while a client of another one asks a server there, which must notice nothing."""
    other = next(one for one in lab.cluster.nodes if one != name)
    witness = f"probe-{other}"
    # By its address: the pods that answer for names move as well.
    address = lab.kubectl("get", "service", f"still-{other}", "-o", "jsonpath={.spec.clusterIP}")
    host = f"[{address}]" if ":" in address else address
    prober(lab, witness, f"http://{host}:{PORT}/hostname", node=other)
    way(lab.cluster, name)
    check_reached(lab, when)
    seen = probes(lab, witness)
    check(not seen.failures, f"on {other}, {len(seen.failures)} of {seen.count} requests failed meanwhile: "
                             f"{seen.failures[:3]}")
    lab.kubectl("delete", "deployment", witness)


def run(lab):
    cluster = lab.cluster
    expose(lab)
    for name in cluster.nodes:
        lab.deployment(f"still-{name}", 1, node=name, image=AGNHOST, args=SERVE, port=PORT)
        lab.service(f"still-{name}", PORT)
        lab.rolled_out(f"still-{name}")
    check_reached(lab, "before")
    cluster.kubectl("label", "nodes", "--all", "--overwrite", f"{LABEL}=old")
    chart.load_image(cluster)
    chart.deploy(cluster, f"--set=nodeSelector.{LABEL}=weir")
    first, *rest = cluster.nodes
    move(lab, first, to_weir, f"with {first} moved")
    for name in rest:
        move(lab, name, to_weir, f"with {name} moved, too")
    move(lab, first, to_reference, f"with {first} moved back")
    for name in rest:
        move(lab, name, to_reference, f"with {name} moved back, too")
    chart.helm(cluster, "uninstall", chart.RELEASE, "--no-hooks")
