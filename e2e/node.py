# SPDX-License-Identifier: Apache-2.0
"""A node: a machine with containerd and kubelet, as unmodified as they come from Debian and Kubernetes."""

import shutil
from pathlib import Path

from . import fabric, imagestore
from .machine import Machine
from .shell import wait_until

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE = "registry.k8s.io/pause:3.10.1"

# restrict_oom_score_adj: a container that holds no CAP_SYS_RESOURCE itself cannot lower it.
CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def kubelet_configuration(plan, pki):
    """Version 1 cgroups are accepted; nothing is pulled, collected or evicted behind a test's back."""
    return f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: false}}
  x509: {{clientCAFile: {pki}/ca.crt}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
oomScoreAdj: {Path("/proc/self/oom_score_adj").read_text().strip()}
enforceNodeAllocatable: []
clusterDNS: ["{plan.service_address(10)}"]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{CONTAINERD_SOCKET}
maxPods: 250
registryPullQPS: 0
serializeImagePulls: false
imageGCHighThresholdPercent: 100
evictionHard: {{nodefs.available: "1%", imagefs.available: "1%", memory.available: "100Mi"}}
resolvConf: /etc/resolv.conf
nodeStatusUpdateFrequency: 4s
"""


class Node(Machine):
    """A worker. bin_dir: Kubernetes' programs; files: more of the host's files wanted inside, as binds."""

    def __init__(self, plan, name, bin_dir, files=()):
        super().__init__(plan, name)
        self.bin_dir = bin_dir
        self.files = list(files)

    def up(self, pki, store):
        """Lays the node down with the images of a store (imagestore.py), and boots it."""
        pki.add_node(self.name)
        self.create([(self.bin_dir, self.bin_dir, True), (pki.directory, pki.directory, True), *self.files])
        imagestore.copy(store, self.root / "var/lib/containerd")
        self.configure(pki)
        self.plug_in_and_boot()

    def configure(self, pki):
        etc = self.root / "etc"
        (etc / "containerd.toml").write_text(CONTAINERD)
        (etc / "kubelet.yaml").write_text(kubelet_configuration(self.plan, pki.directory))
        # Nobody answers there: the cluster has no way out, and its DNS forwards nothing.
        (etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        for directory in ("etc/cni/net.d", "opt/cni/bin"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        # The runtime sets up every pod's loopback device with it, whatever the network.
        shutil.copy2("/usr/lib/cni/loopback", self.root / "opt/cni/bin/loopback")
        self.define("containerd", ["containerd", "--config", "/etc/containerd.toml"])
        addresses = ",".join(map(str, self.plan.addresses(self.name)))
        kubelet = [f"{self.bin_dir}/kubelet", "--config=/etc/kubelet.yaml",
                   f"--kubeconfig={pki.path(f'{self.name}.conf')}", f"--hostname-override={self.name}",
                   f"--node-ip={addresses}", "--root-dir=/var/lib/kubelet", "--v=2",
                   f"--node-labels=topology.kubernetes.io/region=r,topology.kubernetes.io/zone=z-{self.name}"]
        # Not before the runtime's socket is there.
        self.define("kubelet", ["/bin/sh", "-c", 'until [ -S "$0" ]; do sleep 0.1; done; exec "$@"',
                                CONTAINERD_SOCKET, *kubelet])

    def plug_in_and_boot(self):
        fabric.plug_in(self.plan, self.name)
        self.boot()
        wait_until(f"containerd on {self.name} listens (see {self.root}/var/log/containerd.log)",
                   lambda: (Path(f"/proc/{self.pid()}/root") / CONTAINERD_SOCKET.lstrip("/")).exists(), 60)

    def import_image(self, archive):
        """Puts an archive's image into the node's runtime."""
        target = self.root / "var/tmp" / archive.name
        shutil.copyfile(archive, target)
        try:
            self.run(["ctr", "--namespace=k8s.io", "images", "import", f"/var/tmp/{archive.name}"], timeout=300)
        finally:
            target.unlink()

    def reboot(self):
        """A power cut and a boot: processes, namespaces, /run and bpffs are gone, the disk stays."""
        self.power_off()
        fabric.unplug(self.plan.name, self.name)
        self.plug_in_and_boot()
