#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes kube-proxy.nft: the rules that the real kube-proxy (nftables mode) makes for the benchmark's
# Service, so that the benchmark can load them without a cluster. Builds kube-apiserver and kube-proxy
# from their Go modules into the directory given (about six minutes), runs them with Debian's etcd in
# a network namespace of their own, and dumps the rules.
#
#   bench/peer/kube-proxy-rules.sh BUILD_DIR
set -euo pipefail
version=1.34.4
here=$(cd "$(dirname "$0")" && pwd)
build=${1:?usage: kube-proxy-rules.sh BUILD_DIR}
mkdir -p "$build/bin"

build_kubernetes() {
    local staging="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider
        cluster-bootstrap code-generator component-base component-helpers controller-manager cri-api cri-client
        csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator
        kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils
        pod-security-admission sample-apiserver"
    cd "$build"
    {
        printf 'module kubetools\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
        for module in $staging; do
            printf '\tk8s.io/%s => k8s.io/%s v0.%s\n' "$module" "$module" "${version#1.}"
        done
        printf ')\n'
    } >go.mod
    printf '//go:build tools\n\npackage tools\n\nimport (\n\t_ "k8s.io/kubernetes/cmd/kube-apiserver"\n\t_ "k8s.io/kubernetes/cmd/kube-proxy"\n)\n' >tools.go
    go mod tidy -e
    for command in kube-apiserver kube-proxy; do
        CGO_ENABLED=0 go build -buildvcs=false -trimpath \
            -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" \
            -o "bin/$command" "k8s.io/kubernetes/cmd/$command"
    done
}

if [ ! -x "$build/bin/kube-proxy" ] || [ ! -x "$build/bin/kube-apiserver" ]; then build_kubernetes; fi

work=$(mktemp -d)
export build work here
trap 'rm -rf "$work"' EXIT
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/ca.key" -out "$work/ca.crt" -subj /CN=ca -days 1 2>/dev/null
openssl genrsa -out "$work/sa.key" 2048 2>/dev/null
openssl rsa -in "$work/sa.key" -pubout -out "$work/sa.pub" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout "$work/admin.key" -out "$work/admin.csr" -subj /O=system:masters/CN=admin 2>/dev/null
openssl x509 -req -in "$work/admin.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 1 -out "$work/admin.crt" 2>/dev/null
cat >"$work/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://192.0.2.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {client-certificate: $work/admin.crt, client-key: $work/admin.key}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
YAML
cat >"$work/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $work/kubeconfig}
clusterCIDR: 10.244.0.0/16,fd00:10:244::/56
hostnameOverride: node-1
oomScoreAdj: $(cat /proc/self/oom_score_adj)
conntrack: {maxPerCore: 0}
YAML

# shellcheck disable=SC2016  # expanded by the inner shell
unshare --net --mount --pid --fork --kill-child bash -euc '
    mount -t proc proc /proc
    ip link set lo up
    ip link add uplink type veth peer name uplink-peer
    ip addr add 192.0.2.1/24 dev uplink; ip addr add 2001:db8::1/64 dev uplink nodad
    ip link set uplink up; ip link set uplink-peer up
    ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2
    etcd --data-dir "$work/etcd" --unsafe-no-fsync --log-level error >"$work/etcd.log" 2>&1 &
    "$build/bin/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --advertise-address 192.0.2.1 --secure-port 6443 \
        --cert-dir "$work/pki" --client-ca-file "$work/ca.crt" --authorization-mode RBAC \
        --service-account-key-file "$work/sa.pub" --service-account-signing-key-file "$work/sa.key" \
        --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.96.0.0/16,fd00:10:96::/112 \
        >"$work/apiserver.log" 2>&1 &
    api() { curl -sSk --fail-with-body --cert "$work/admin.crt" --key "$work/admin.key" -H "Content-Type: ${type:-application/yaml}" "https://192.0.2.1:6443$@"; }
    for _ in $(seq 300); do api /readyz >/dev/null 2>&1 && break; sleep 0.2; done
    node="{apiVersion: v1, kind: Node, metadata: {name: node-1}, spec: {podCIDR: 10.244.0.0/24, podCIDRs: [10.244.0.0/24, \"fd00:10:244::/64\"]}}"
    api /api/v1/nodes --data-binary "$node" 
    type=application/merge-patch+json api /api/v1/nodes/node-1/status -X PATCH \
        --data-binary "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"192.0.2.1\"},{\"type\":\"InternalIP\",\"address\":\"2001:db8::1\"}]}}" >/dev/null
    api /api/v1/namespaces --data-binary "{apiVersion: v1, kind: Namespace, metadata: {name: bench}}" >/dev/null
    api /api/v1/namespaces/bench/services --data-binary "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: NodePort, clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10, \"fd00:10:96::10\"], ipFamilyPolicy: RequireDualStack, ports: [{name: tcp, port: 80, targetPort: 8080, nodePort: 30080}, {name: udp, port: 80, targetPort: 8080, nodePort: 30080, protocol: UDP}]}}" >/dev/null
    slice() {
        api /apis/discovery.k8s.io/v1/namespaces/bench/endpointslices --data-binary "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-${1,,}, labels: {kubernetes.io/service-name: web}}, addressType: $1, ports: [{name: tcp, port: 8080, protocol: TCP}, {name: udp, port: 8080, protocol: UDP}], endpoints: [{addresses: [\"$2\"], nodeName: node-1}]}" >/dev/null
    }
    slice IPv4 10.244.0.3
    slice IPv6 fd00:10:244::3
    "$build/bin/kube-proxy" --config "$work/proxy.yaml" >"$work/proxy.log" 2>&1 &
    for _ in $(seq 100); do
        if nft list ruleset 2>/dev/null | grep -q 10.244.0.3 && nft list ruleset | grep -q fd00:10:244::3; then break; fi
        sleep 0.2
    done
    sleep 2
    nft list ruleset >"$work/rules"
' || { tail -n 5 "$work"/*.log >&2; exit 1; }
{
    echo "# The rules of kube-proxy $version (nftables mode) for one Service, web: 10.96.0.10:80 and"
    echo "# [fd00:10:96::10]:80, NodePort 30080, to port 8080 of 10.244.0.3 and fd00:10:244::3."
    echo "# Made by bench/peer/kube-proxy-rules.sh; not written by hand."
    cat "$work/rules"
} >"$here/kube-proxy.nft"
grep -c . "$here/kube-proxy.nft"
