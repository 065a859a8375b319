# SPDX-License-Identifier: Apache-2.0
"""The reference network: the CNI project's plugins, static routes between nodes, and the real kube-proxy.

It is what Weir is compared with, and how the cluster itself is proved without Weir.
"""

import json
import shutil
from pathlib import Path

from . import fabric

PLUGINS = Path("/usr/lib/cni")
NEEDED = ("bridge", "host-local", "portmap")


def conflist(cidrs):
    """A bridge with one range for each family."""
    defaults = [{"dst": "::/0" if ":" in cidr else "0.0.0.0/0"} for cidr in cidrs]
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True,
              "ipam": {"type": "host-local", "ranges": [[{"subnet": cidr}] for cidr in cidrs], "routes": defaults}}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "reference", "plugins": [bridge, portmap]}


def proxy_configuration(plan, node, kubeconfig):
    """maxPerCore 0: a container may not change the host's conntrack limits."""
    return f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: {plan.proxy_mode}
hostnameOverride: {node}
clusterCIDR: "{plan.pod_cidrs()}"
clientConnection: {{kubeconfig: {kubeconfig}}}
oomScoreAdj: {Path("/proc/self/oom_score_adj").read_text().strip()}
conntrack: {{maxPerCore: 0}}
"""


def install(plan, node, cidrs, pki):
    """Plugins, their configuration (last, and whole) and kube-proxy on one node that runs."""
    for name in NEEDED:
        shutil.copy2(PLUGINS / name, node.root / "opt/cni/bin" / name)
    file = node.root / "etc/cni/net.d/10-reference.conflist"
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(conflist(cidrs), indent=1) + "\n")
    temporary.rename(file)
    fabric.route_pods(plan, node.name, cidrs, [name for name in plan.node_names if name != node.name])
    (node.root / "etc/kube-proxy.yaml").write_text(
        proxy_configuration(plan, node.name, pki.path("kube-proxy.conf")))
    node.define("kube-proxy", [f"{node.bin_dir}/kube-proxy", "--config=/etc/kube-proxy.yaml"])
    node.start("kube-proxy")
