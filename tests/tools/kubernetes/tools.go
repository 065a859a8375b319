// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names the programs of Kubernetes that tests and the cluster run, and etcd, so that go.mod and
// go.sum pin them and everything that they are made of. To move to another version: change it in
// go.mod (k8s.io/kubernetes, and the replacements below it), run `go mod tidy -e`, commit all three.
package tools

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
	_ "k8s.io/kubernetes/test/images/regression-issue-74839"
)
