# SPDX-License-Identifier: Apache-2.0
"""Certificates and kubeconfigs of a cluster; thrown away with it."""

import secrets

from .plan import CONTROL_PLANE
from .shell import run

DAYS = "365"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

# Who talks to the API server: file name to subject.
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "weir-agent": "/CN=weir-agent",
    "front-proxy": "/CN=front-proxy",
}


class Authority:
    """The cluster's certificate authority and what it signed, as files in one directory."""

    def __init__(self, plan):
        self.plan = plan
        self.directory = plan.directory / "pki"

    def path(self, name):
        return self.directory / name

    def create(self):
        """The authority, the key that service account tokens are signed with, and the fixed members' certificates."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        run(["openssl", "req", "-x509", *CURVE, "-keyout", self.path("ca.key"), "-out", self.path("ca.crt"), "-subj",
             f"/CN=weir-{self.plan.name}", "-days", DAYS])
        run(["openssl", "genrsa", "-out", self.path("sa.key"), "2048"])
        run(["openssl", "rsa", "-in", self.path("sa.key"), "-pubout", "-out", self.path("sa.pub")])
        service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc",
                   "kubernetes.default.svc.cluster.local", "localhost"]
        addresses = [*self.plan.addresses(CONTROL_PLANE), self.plan.service_address(1), "127.0.0.1", "::1"]
        self.sign("kube-apiserver", "/CN=kube-apiserver", service, addresses)
        for name, subject in CLIENTS.items():
            self.sign(name, subject)
            self.kubeconfig(name)
        self.kubeconfig("admin", self.plan.kubeconfig)

    def add_node(self, name):
        """A kubelet's certificate, for both directions, and its kubeconfig."""
        self.sign(name, f"/O=system:nodes/CN=system:node:{name}", [name], self.plan.addresses(name))
        self.kubeconfig(name)

    def sign(self, name, subject, dns=(), addresses=()):
        names = [f"DNS:{n}" for n in dns] + [f"IP:{a}" for a in addresses]
        extensions = "extendedKeyUsage=serverAuth,clientAuth\n"
        if names:
            extensions += f"subjectAltName={','.join(names)}\n"
        self.path(f"{name}.ext").write_text(extensions)
        run(["openssl", "req", *CURVE, "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"), "-subj",
             subject])
        run(["openssl", "x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path("ca.crt"), "-CAkey",
             self.path("ca.key"), "-set_serial", f"0x{secrets.token_hex(16)}", "-days", DAYS, "-out", self.path(f"{name}.crt"), "-extfile",
             self.path(f"{name}.ext")])

    def kubeconfig(self, name, file=None):
        """A kubeconfig that names the certificate files by their place on the host."""
        text = f"""\
apiVersion: v1
kind: Config
clusters:
- name: weir
  cluster: {{server: "{self.plan.server()}", certificate-authority: {self.path("ca.crt")}}}
users:
- name: {name}
  user: {{client-certificate: {self.path(f"{name}.crt")}, client-key: {self.path(f"{name}.key")}}}
contexts:
- name: weir
  context: {{cluster: weir, user: {name}}}
current-context: weir
"""
        (file or self.path(f"{name}.conf")).write_text(text)
