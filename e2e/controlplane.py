# SPDX-License-Identifier: Apache-2.0
"""The control plane: a machine with etcd, the API server, the controllers and the scheduler.

It also is the world outside of the cluster, and so has the resolver that the cluster's DNS forwards to.
"""

from . import components, fabric
from .machine import Machine
from .plan import CONTROL_PLANE, NODE_MASK
from .shell import Failure, succeeds, wait_until

ETCD = "http://127.0.0.1:2379"


def etcd_command():
    """Without fsync: what a power cut would lose, the whole cluster loses anyway."""
    return ["etcd", "--data-dir", "/var/lib/etcd", "--unsafe-no-fsync", "--listen-client-urls", ETCD,
            "--advertise-client-urls", ETCD, "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"]


def apiserver_command(plan, pki, bin_dir):
    primary = plan.addresses(CONTROL_PLANE)[0]
    return [
        f"{bin_dir}/kube-apiserver", "--etcd-servers", ETCD, "--secure-port=6443", f"--advertise-address={primary}",
        "--allow-privileged", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/kube-apiserver.crt",
        f"--tls-private-key-file={pki}/kube-apiserver.key", f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={plan.service_cidrs()}", f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key", "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/ca.crt", "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User", f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key", "--enable-aggregator-routing"]


def controllers_command(plan, pki, bin_dir):
    conf = f"{pki}/kube-controller-manager.conf"
    if len(plan.families) == 2:
        masks = [f"--node-cidr-mask-size-ipv{family}={NODE_MASK[family]}" for family in plan.families]
    else:
        masks = [f"--node-cidr-mask-size={NODE_MASK[plan.families[0]]}"]
    return [
        f"{bin_dir}/kube-controller-manager", f"--kubeconfig={conf}", f"--authentication-kubeconfig={conf}",
        f"--authorization-kubeconfig={conf}", "--use-service-account-credentials", "--leader-elect=false",
        f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        f"--cluster-cidr={plan.pod_cidrs()}",
        f"--allocate-node-cidrs={'true' if plan.ranges == 'controllers' else 'false'}",
        f"--service-cluster-ip-range={plan.service_cidrs()}", "--controllers=*,bootstrapsigner,tokencleaner", *masks]


def scheduler_command(pki, bin_dir):
    conf = f"{pki}/kube-scheduler.conf"
    return [f"{bin_dir}/kube-scheduler", f"--kubeconfig={conf}", f"--authentication-kubeconfig={conf}",
            f"--authorization-kubeconfig={conf}", "--leader-elect=false"]


def resolver_configuration(plan):
    """The names of the world as far as this cluster knows it: what tests ask of public resolvers."""
    where = " ".join(map(str, plan.addresses(CONTROL_PLANE)))
    return f"""\
. {{
    bind {where}
    hosts {{
        8.8.8.8 dns.google
        2001:4860:4860::8888 dns.google
    }}
}}
"""


class ControlPlane(Machine):
    """Its network namespace holds the bridge, so it comes before the nodes and goes after them."""

    def __init__(self, plan, bin_dir):
        super().__init__(plan, CONTROL_PLANE)
        self.bin_dir = bin_dir

    def up(self, pki):
        """Boots and waits until the API server is ready; controllers and scheduler start on their own time."""
        fabric.make_hub(self.plan)
        resolver = components.build("coredns")
        self.create([(pki.directory, pki.directory, True), (self.bin_dir, self.bin_dir, True),
                     (resolver, resolver, True)])
        (self.root / "etc/resolver.conf").write_text(resolver_configuration(self.plan))
        self.define("resolver", [resolver, "-conf", "/etc/resolver.conf"])
        self.define("etcd", etcd_command())
        self.define("kube-apiserver", apiserver_command(self.plan, pki.directory, self.bin_dir))
        self.define("kube-controller-manager", controllers_command(self.plan, pki.directory, self.bin_dir))
        self.define("kube-scheduler", scheduler_command(pki.directory, self.bin_dir))
        self.boot()
        self.wait_ready()

    def wait_ready(self, seconds=180):
        kubectl = [*self.outside(), f"{self.bin_dir}/kubectl", f"--kubeconfig={self.plan.kubeconfig}"]
        try:
            wait_until("the API server is ready",
                       lambda: succeeds([*kubectl, "get", "--raw", "/readyz"], timeout=5), seconds, every=0.3)
        except Failure as error:
            raise Failure(f"{error}; the end of its log:\n{self.log_tail('kube-apiserver')}") from None

    def outside(self):
        """The words before a command that make it run on the cluster's link, but otherwise on the host."""
        return ["nsenter", f"--net={fabric.path(self.plan.name, CONTROL_PLANE)}", "--"]
