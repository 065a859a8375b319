# SPDX-License-Identifier: Apache-2.0
"""./dev cluster and ./dev e2e."""

import argparse
import os
import sys
from pathlib import Path

from . import cluster as clusters
from . import conformance, policy_suite, scenarios, short, weir
from . import plan as plans
from .shell import Failure, progress


def cluster_parser(commands):
    parser = commands.add_parser("cluster", description="A real Kubernetes of several nodes on this machine.")
    parser.add_argument("--name", default=os.environ.get("WEIR_CLUSTER", "dev"), help="cluster (default %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="bring a cluster up")
    up.add_argument("--nodes", type=int, default=3, help="worker nodes (default %(default)s)")
    up.add_argument("--ip", choices=plans.FAMILIES, default="dual", help="address families (default %(default)s)")
    up.add_argument("--network", choices=plans.NETWORKS, default="weir",
                    help="what connects the pods: nothing yet, the CNI project's plugins with kube-proxy, or Weir "
                         "(default %(default)s)")
    up.add_argument("--proxy-mode", choices=("nftables", "iptables"), default="nftables", help="of the reference")
    up.add_argument("--agent", choices=plans.AGENTS, default="chart",
                    help="how Weir is run: an image of a build tree by the chart, or its programs as services of the "
                         "nodes (default %(default)s)")
    up.add_argument("--binaries", default=str(weir.RELEASE), metavar="DIR",
                    help="the build tree (default %(default)s, which is built if it is not there)")
    up.add_argument("--ranges", choices=plans.RANGES, default="controllers",
                    help="who gives Nodes their pod ranges: the controller manager, or Weir's elected agent "
                         "(default %(default)s)")
    up.add_argument("--agent-flag", action="append", default=[], metavar="FLAG", dest="agent_flags",
                    help="a flag for the agents, such as --agent-flag=--routing=vxlan; may be repeated")
    verbs.add_parser("down", help="remove the cluster, whatever state it is in")
    verbs.add_parser("status", help="what runs; exit status 1 unless all does")
    verbs.add_parser("kubectl", help="kubectl as the cluster's administrator", add_help=False)
    verbs.add_parser("shell", help="a shell on the cluster's link, with KUBECONFIG set", add_help=False)
    load = verbs.add_parser("load-image", help="import an image archive into every node")
    load.add_argument("archive")
    node = verbs.add_parser("node-shell", help="a shell, or a command, on a machine: NODE [COMMAND...]")
    node.add_argument("node")
    reboot = verbs.add_parser("reboot", help="a power cut and a boot of a node")
    reboot.add_argument("node")
    for verb in ("stop", "start", "restart"):
        service = verbs.add_parser(verb, help=f"{verb} a service of a machine, as systemctl would")
        service.add_argument("node")
        service.add_argument("service")


def e2e_parser(commands):
    parser = commands.add_parser("e2e", description="Runs the project's scenarios and the upstream suite. Nothing is "
                                                    "retried; reports are kept in build/e2e.")
    parser.add_argument("--name", default=os.environ.get("WEIR_CLUSTER", "dev"), help="cluster (default %(default)s)")
    parser.add_argument("--kubeconfig", help="run the upstream suite against this cluster instead")
    parser.add_argument("--scenario", nargs="*", help="only these scenarios (none named: all), no upstream suite")
    parser.add_argument("--focus", help="only the upstream suite, and of it the tests that this expression matches")
    parser.add_argument("--policy-api", action="store_true",
                        help="only the conformance suite of ClusterNetworkPolicy, whose kind is installed")
    parser.add_argument("--skip", default=conformance.DEFAULT_SKIP, help="expression of tests to leave out")
    parser.add_argument("--runs", type=int, default=1, help="of a suite (default %(default)s)")
    parser.add_argument("--procs", type=int, default=4, help="tests at a time (default %(default)s)")
    parser.add_argument("--within", type=int, metavar="SECONDS",
                        help="what continuous integration runs: a cluster of its own, a scenario and a part of the "
                             "upstream suite, as far as this time allows")
    parser.add_argument("--write-docs", metavar="HEADING", help="put the table under this heading of "
                                                                "docs/conformance.md")
    parser.set_defaults(verb="e2e")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev")
    commands = parser.add_subparsers(dest="command", required=True)
    cluster_parser(commands)
    e2e_parser(commands)
    options, rest = parser.parse_known_args(arguments)
    if rest and options.verb not in ("kubectl", "shell", "node-shell"):
        parser.error(f"unknown argument {rest[0]}")
    options.rest = rest
    return options


def up(options):
    if options.network == "weir" and Path(options.binaries) == weir.RELEASE:
        weir.build()
    plan = plans.Plan(options.name, options.nodes, options.ip, options.network, options.proxy_mode, options.binaries,
                      options.agent, ranges=options.ranges, agent_flags=tuple(options.agent_flags))
    clusters.Cluster(plan).up()
    progress(f"cluster \"{plan.name}\" is up: ./dev cluster kubectl get nodes")
    return 0


def down(options):
    clusters.down(options.name)
    return 0


def service(options, cluster):
    machine = cluster.machine(options.node)
    if options.verb in ("stop", "restart"):
        machine.stop(options.service)
    if options.verb in ("start", "restart"):
        machine.start(options.service)
    return 0


def upstream(options, kubeconfig, outside, nodes):
    suite = conformance.Suite(kubeconfig, outside, nodes, options.procs)
    return conformance.run(suite, options.focus or conformance.DEFAULT_FOCUS, options.skip, options.runs,
                           options.write_docs, bool(options.write_docs))


def e2e(options):
    """Scenarios first: they are short, and what they find would fail much of the suite."""
    if options.within is not None:
        return short.run(options.name, options.within)
    if options.kubeconfig:
        return upstream(options, options.kubeconfig, (), 2)
    cluster = clusters.Cluster(plans.load(options.name))
    if options.scenario is not None:
        return scenarios.run(cluster, options.scenario)
    if options.policy_api:
        suite = policy_suite.PolicySuite(cluster.plan.kubeconfig, cluster.control_plane.outside())
        return policy_suite.run(suite, options.runs, options.write_docs)
    status = 0 if options.focus else scenarios.run(cluster, [])
    return upstream(options, cluster.plan.kubeconfig, cluster.control_plane.outside(), cluster.plan.nodes) or status


def with_cluster(options):
    """The verbs that need a cluster that is there."""
    cluster = clusters.Cluster(plans.load(options.name))
    if options.verb == "status":
        text, good = cluster.status()
        print(text)
        return 0 if good else 1
    if options.verb == "kubectl":
        return clusters.call(cluster.kubectl_command(*options.rest), env=cluster.environment())
    if options.verb == "shell":
        return clusters.call([*cluster.control_plane.outside(), *(options.rest or ["bash"])],
                             env=cluster.environment())
    if options.verb == "load-image":
        cluster.load_image(options.archive)
        return 0
    if options.verb == "node-shell":
        machine = cluster.machine(options.node)
        return clusters.call(machine.enter(options.rest or ["bash"]), preexec_fn=machine.join_cgroups)
    if options.verb == "reboot":
        cluster.reboot(options.node)
        return 0
    return service(options, cluster)


def main():
    options = parse(sys.argv[1:])
    if os.geteuid() != 0:
        raise Failure("a cluster needs root: namespaces, cgroups and mounts")
    return {"up": up, "down": down, "e2e": e2e}.get(options.verb, with_cluster)(options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as error:
        sys.exit(f"e2e: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
