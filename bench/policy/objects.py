# SPDX-License-Identifier: Apache-2.0
"""Objects of a cluster full of policies, as `kubectl get -o yaml` shows them."""
import os

NAMESPACES, APPS, TEAMS, NODES = 1000, 50, 20, 300
A_FILE = 500
PROBE = "probe"  # a pod by itself whose label decides whether a policy admits it


def namespace(n):
    return f"ns-{n % NAMESPACES}"


def pod_ip(n):
    return f"10.{128 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}"


def node_name(n):
    return f"worker-{n:03}.example.com"


def namespace_object(n):
    return f"""---
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace(n)}
  uid: 3f2504e0-4f89-41d3-9a0c-{n:012x}
  labels: {{kubernetes.io/metadata.name: {namespace(n)}, team: team-{n % TEAMS}}}
"""


def node(n):
    return f"""---
apiVersion: v1
kind: Node
metadata: {{name: {node_name(n)}, uid: 1b9d6bcd-bbfd-4b2d-9b5d-{n:012x}}}
spec: {{podCIDRs: [10.{n >> 8}.{n & 255}.0/24]}}
status: {{addresses: [{{type: InternalIP, address: 172.16.{n >> 8}.{n & 255}}}]}}
"""


def pod(n, app=None, name=None, in_namespace=None):
    app = f"app-{n % APPS}" if app is None else app
    return f"""---
apiVersion: v1
kind: Pod
metadata:
  name: {name or f"{app}-6d4cf56db6-{n:05x}"}
  generateName: {app}-6d4cf56db6-
  namespace: {in_namespace or namespace(n)}
  uid: 9e1a8891-9647-42f0-b66d-{n:012x}
  creationTimestamp: "2026-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z"
  resourceVersion: "{200000 + n}"
  labels: {{app: {app}, pod-template-hash: 6d4cf56db6, app.kubernetes.io/part-of: shop}}
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {app}-6d4cf56db6, controller: true}}]
spec:
  nodeName: {node_name(n % NODES)}
  serviceAccountName: default
  containers:
  - name: main
    image: registry.example.com/shop/{app}:1.0
    ports: [{{name: http, containerPort: 8080, protocol: TCP}}]
status:
  phase: Running
  hostIP: 172.16.0.{n % NODES % 256}
  podIP: {pod_ip(n)}
  podIPs: [{{ip: {pod_ip(n)}}}]
  conditions: [{{type: Ready, status: "True"}}]
"""


def peer(n):
    """By pods' labels, by those of namespaces, by addresses, in turn."""
    return (f"podSelector: {{matchLabels: {{app: app-{n % APPS}}}}}",
            f"namespaceSelector: {{matchLabels: {{team: team-{n % TEAMS}}}}}",
            f"ipBlock: {{cidr: 192.{n >> 8}.{n & 255}.0/24}}")[n % 3]


def policy(n, name=None, in_namespace=None, admits=None):
    return f"""---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name or f"policy-{n:05}"}
  namespace: {in_namespace or namespace(n)}
  uid: 5b1c1e2e-1f3b-4b6e-8f0a-{n:012x}
  creationTimestamp: "2026-01-01T00:00:00Z"
spec:
  podSelector: {{matchExpressions: [{{key: app, operator: Exists}}]}}
  policyTypes: [Ingress]
  ingress:
  - from: [{{{admits or peer(n)}}}]
    ports: [{{port: {8000 + n % 100}}}]
"""


def put(directory, name, text):
    """A file that is there at once or not at all; its size."""
    path = os.path.join(directory, name)
    with open(f"{path}.new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(f"{path}.new", path)
    return len(text)


def write(directory, pods, policies, single):
    """Writes them all, the last `single` pods in files of their own; the bytes written."""
    size = put(directory, "nodes.yaml", "".join(map(node, range(NODES))))
    size += put(directory, "namespaces.yaml", "".join(map(namespace_object, range(NAMESPACES))))
    for first in range(0, pods - single, A_FILE):
        some = range(first, min(first + A_FILE, pods - single))
        size += put(directory, f"pods-{first:06}.yaml", "".join(map(pod, some)))
    for n in range(pods - single, pods):
        size += put(directory, f"pod-{n}.yaml", pod(n))
    for first in range(0, policies, A_FILE):
        some = range(first, min(first + A_FILE, policies))
        size += put(directory, f"policies-{first:06}.yaml", "".join(map(policy, some)))
    return size
