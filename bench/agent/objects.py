# SPDX-License-Identifier: Apache-2.0
"""Objects of a cluster as `kubectl get -o yaml` shows them: Nodes, Services, Pods and their EndpointSlices."""
import os

NODES = 100
PODS_A_FILE = 500


def pod_ip(n):
    return f"10.{128 + (n >> 16)}.{(n >> 8) & 255}.{n & 255}"


def cluster_ip(i):
    return f"10.96.{i >> 8}.{i & 255}"


def node_name(n):
    return f"worker-{n:03}.example.com"


def node(n):
    return f"""---
apiVersion: v1
kind: Node
metadata:
  name: {node_name(n)}
  uid: 1b9d6bcd-bbfd-4b2d-9b5d-{n:012x}
  labels: {{kubernetes.io/hostname: {node_name(n)}, topology.kubernetes.io/zone: zone-{n % 3}}}
spec: {{podCIDRs: [10.244.{n}.0/24]}}
status: {{addresses: [{{type: InternalIP, address: 172.16.0.{n}}}]}}
"""


def service(i):
    return f"""---
apiVersion: v1
kind: Service
metadata:
  name: service-{i}
  namespace: team-{i // 50}
  uid: 7c9e6679-7425-40de-944b-{i:012x}
  creationTimestamp: "2026-01-01T00:00:00Z"
  resourceVersion: "{100000 + i}"
  labels:
    app.kubernetes.io/name: service-{i}
    app.kubernetes.io/part-of: shop
    app.kubernetes.io/managed-by: Helm
  annotations: {{meta.helm.sh/release-name: service-{i}, meta.helm.sh/release-namespace: team-{i // 50}}}
spec:
  type: ClusterIP
  clusterIP: {cluster_ip(i)}
  clusterIPs: [{cluster_ip(i)}]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  internalTrafficPolicy: Cluster
  sessionAffinity: None
  selector: {{app.kubernetes.io/name: service-{i}}}
  ports: [{{name: http, port: 80, protocol: TCP, targetPort: http}}]
status: {{loadBalancer: {{}}}}
"""


def pod_name(i, n):
    return f"service-{i}-6d4cf56db6-{n:05x}"


def pod(i, n):
    return f"""---
apiVersion: v1
kind: Pod
metadata:
  name: {pod_name(i, n)}
  generateName: service-{i}-6d4cf56db6-
  namespace: team-{i // 50}
  uid: 9e1a8891-9647-42f0-b66d-{n:012x}
  creationTimestamp: "2026-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z"
  resourceVersion: "{200000 + n}"
  labels:
    app.kubernetes.io/name: service-{i}
    app.kubernetes.io/part-of: shop
    pod-template-hash: 6d4cf56db6
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: service-{i}-6d4cf56db6, controller: true}}]
spec:
  nodeName: {node_name(n % NODES)}
  serviceAccountName: default
  restartPolicy: Always
  containers:
  - name: main
    image: registry.example.com/shop/service-{i}:1.0
    ports: [{{name: http, containerPort: 8080, protocol: TCP}}]
    resources: {{requests: {{cpu: 100m, memory: 128Mi}}}}
status:
  phase: Running
  hostIP: 172.16.0.{n % NODES}
  podIP: {pod_ip(n)}
  podIPs: [{{ip: {pod_ip(n)}}}]
  conditions: [{{type: Ready, status: "True"}}, {{type: PodScheduled, status: "True"}}]
"""


def endpoint_slice(i, each):
    head = f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata:
  name: service-{i}-x7k2p
  namespace: team-{i // 50}
  uid: 8d0f7780-8536-41ef-a55c-{i:012x}
  labels:
    kubernetes.io/service-name: service-{i}
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
    app.kubernetes.io/part-of: shop
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
"""
    return head + "".join(f"""- addresses: [{pod_ip(n)}]
  conditions: {{ready: true, serving: true, terminating: false}}
  nodeName: {node_name(n % NODES)}
  zone: zone-{n % NODES % 3}
  targetRef: {{kind: Pod, name: {pod_name(i, n)}, namespace: team-{i // 50}, uid: 9e1a8891-9647-42f0-b66d-{n:012x}}}
""" for n in range(i * each, (i + 1) * each))


def write(directory, services, each):
    """Writes them all; returns the bytes written."""
    size = 0

    def put(name, text):
        nonlocal size
        size += len(text)
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(text)

    put("nodes.yaml", "".join(map(node, range(NODES))))
    for first in range(0, services, 100):
        some = range(first, min(first + 100, services))
        put(f"services-{first:06}.yaml", "".join(map(service, some)))
        put(f"slices-{first:06}.yaml", "".join(endpoint_slice(i, each) for i in some))
    for first in range(0, services * each, PODS_A_FILE):
        some = range(first, min(first + PODS_A_FILE, services * each))
        put(f"pods-{first:06}.yaml", "".join(pod(n // each, n) for n in some))
    return size
