// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names the conformance suite of ClusterNetworkPolicy, so that go.mod and go.sum pin it and everything that
// it is made of. Apart from kubernetes/, because it needs newer parts of the same modules. To move to another version:
// change it in go.mod, run `go mod tidy -e`, commit all three.
package tools

import _ "sigs.k8s.io/network-policy-api/conformance"
