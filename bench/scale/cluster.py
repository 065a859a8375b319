# SPDX-License-Identifier: Apache-2.0
"""A real API server with etcd and no nodes behind it, and the objects of a large cluster in it."""
import concurrent.futures
import http.client
import json
import os
import ssl
import subprocess
import threading

from node import sh, wait

TOKEN = "bench-scale"
ADDRESS, PORT = "192.0.2.1", 6443
ENDPOINTS_A_SLICE = 10
WRITERS = 6


def pod_ip(n):
    return f"10.{128 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}"


class Server:
    """etcd and the API server, in a network namespace that has ADDRESS."""

    def __init__(self, node, programs):
        self.node, self.dir = node, f"{node.dir}/api"
        os.makedirs(self.dir)
        sh(f"openssl genrsa -out {self.dir}/sa.key 2048")
        with open(f"{self.dir}/tokens", "w", encoding="utf-8") as f:
            f.write(f'{TOKEN},admin,1,"system:masters"\n')
        self.start("etcd", ["etcd", "--data-dir", f"{self.dir}/etcd", "--unsafe-no-fsync", "--log-level", "error",
                            "--quota-backend-bytes", str(4 << 30)])
        self.start("kube-apiserver", [
            programs["kube-apiserver"], "--etcd-servers=http://127.0.0.1:2379", f"--advertise-address={ADDRESS}",
            f"--secure-port={PORT}", f"--cert-dir={self.dir}/certs", f"--token-auth-file={self.dir}/tokens",
            "--authorization-mode=AlwaysAllow", f"--service-account-key-file={self.dir}/sa.key",
            f"--service-account-signing-key-file={self.dir}/sa.key", "--service-account-issuer=https://bench",
            "--service-cluster-ip-range=10.96.0.0/12", "--disable-admission-plugins=ServiceAccount",
            "--enable-priority-and-fairness=false", "--max-requests-inflight=0", "--max-mutating-requests-inflight=0"])
        self.certificate = f"{self.dir}/certs/apiserver.crt"
        wait(self.ready, "the API server to be ready", 120, pause=0.5)

    def start(self, name, command):
        with open(f"{self.dir}/{name}.log", "w", encoding="utf-8") as log:
            process = subprocess.Popen(self.node.host.argv(command), stdout=log, stderr=log)
        self.node.stack.callback(lambda: (process.terminate(), process.wait()))

    def ready(self):
        ask = f"nsenter --net={self.node.host.netns} curl -sk -m 2 -H 'Authorization: Bearer {TOKEN}' "
        return sh(f"{ask} https://{ADDRESS}:{PORT}/readyz", check=False).stdout == "ok"

    def kubeconfig(self):
        path = f"{self.dir}/kubeconfig"
        cluster = {"server": f"https://{ADDRESS}:{PORT}", "certificate-authority": self.certificate}
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {"token": TOKEN}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, f)
        return path


class Client:
    """Writes objects; one connection a thread. The calling process is in the server's network namespace."""

    def __init__(self, certificate):
        self.context = ssl.create_default_context(cafile=certificate)
        self.context.check_hostname = False
        self.local = threading.local()

    def call(self, method, path, body, content="application/json"):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPSConnection(ADDRESS, PORT, context=self.context, timeout=60)
        self.local.connection.request(method, path, json.dumps(body), {
            "Authorization": f"Bearer {TOKEN}", "Content-Type": content, "Accept": "application/json"})
        answer = self.local.connection.getresponse()
        text = answer.read()
        if answer.status >= 300 and answer.status != 409:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return text

    def each(self, work, items):
        """`work(item)` for all, some at a time; the first failure ends it."""
        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            for done in pool.map(work, items, chunksize=16):
                del done


class World:
    """Names and contents of the objects."""

    def __init__(self, nodes, pods, services, endpoints):
        self.nodes, self.pods, self.services, self.endpoints = nodes, pods, services, endpoints
        self.namespaces = max(1, services // 50)

    def namespace_of(self, i):
        return f"team-{i % self.namespaces}"

    def node(self, n):
        return "/api/v1/nodes", {
            "metadata": {"name": f"worker-{n}", "labels": {"kubernetes.io/os": "linux",
                                                           "topology.kubernetes.io/zone": f"zone-{n % 3}"}},
            "spec": {"podCIDRs": [f"10.{(n >> 8) + 16}.{n & 255}.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": f"172.{16 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}"},
                                     {"type": "Hostname", "address": f"worker-{n}"}]}}

    def pod(self, n):
        service = n % self.services
        return f"/api/v1/namespaces/{self.namespace_of(service)}/pods", {
            "metadata": {"name": f"service-{service}-{n}", "labels": {
                "app.kubernetes.io/name": f"service-{service}", "app.kubernetes.io/part-of": "shop",
                "pod-template-hash": f"{service:010x}"}},
            "spec": {"nodeName": f"worker-{n % self.nodes}", "automountServiceAccountToken": False,
                     "containers": [{"name": "main", "image": "registry.example/shop:1",
                                     "ports": [{"name": "http", "containerPort": 8080}]}]}}

    def pod_status(self, n):
        path, pod = self.pod(n)
        return f"{path}/{pod['metadata']['name']}/status", {"status": {
            "phase": "Running", "podIP": pod_ip(n), "podIPs": [{"ip": pod_ip(n)}], "hostIP": "172.16.0.1",
            "conditions": [{"type": "Ready", "status": "True"}]}}

    def service(self, i):
        return f"/api/v1/namespaces/{self.namespace_of(i)}/services", {
            "metadata": {"name": f"service-{i}", "labels": {"app.kubernetes.io/name": f"service-{i}"}},
            "spec": {"selector": {"app.kubernetes.io/name": f"service-{i}"},
                     "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}

    def slices(self):
        """(Service, number of the slice) of all."""
        each = self.endpoints // self.services
        return [(i, part) for i in range(self.services) for part in range((each + ENDPOINTS_A_SLICE - 1) // ENDPOINTS_A_SLICE)]

    def slice(self, i, part, ready=True):
        """`ready` False: half of its endpoints are not."""
        first = (i * (self.endpoints // self.services) + part * ENDPOINTS_A_SLICE)
        endpoints = [{"addresses": [pod_ip(first + k)], "nodeName": f"worker-{(first + k) % self.nodes}",
                      "conditions": {"ready": ready or k % 2 == 0, "serving": ready or k % 2 == 0, "terminating": False},
                      "targetRef": {"kind": "Pod", "namespace": self.namespace_of(i), "name": f"service-{i}-{first + k}"}}
                     for k in range(ENDPOINTS_A_SLICE)]
        return f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace_of(i)}/endpointslices", {
            "metadata": {"name": f"service-{i}-{part}", "labels": {"kubernetes.io/service-name": f"service-{i}"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints}

    def create(self, client, progress):
        def post(pair):
            client.call("POST", *pair)
        spaces = [("/api/v1/namespaces", {"metadata": {"name": f"team-{n}"}}) for n in range(self.namespaces)]
        for what, items in (
                ("Namespaces", spaces), ("Nodes", map(self.node, range(self.nodes))),
                ("Services", map(self.service, range(self.services))),
                ("EndpointSlices", (self.slice(*one) for one in self.slices())), ("Pods", map(self.pod, range(self.pods)))):
            progress(f"creating {what}")
            client.each(post, items)
        progress("giving Pods their addresses")
        client.each(lambda pair: client.call("PATCH", *pair, "application/merge-patch+json"), map(self.pod_status, range(self.pods)))
