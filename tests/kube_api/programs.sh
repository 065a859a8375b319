#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the programs of Kubernetes that tests run, unless they are there: minutes, and a gigabyte of
# modules, the first time. Exit status 77 (skipped) where they cannot be had; the tests that need them
# are skipped, too.
#   programs.sh NAME...
set -euo pipefail

tools=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir/tools
deadline=$((SECONDS + ${WEIR_GO_SECONDS:-780}))
for name in "$@"; do
    case "$name" in
    etcd) package=go.etcd.io/etcd/server/v3 ;;
    *) package=k8s.io/kubernetes/cmd/$name ;;
    esac
    left=$((deadline - SECONDS))
    if [ "$left" -le 0 ] ||
        ! timeout "$left" "$(dirname "$0")/../tools/go-tool.sh" "$tools" "$package"; then
        echo "programs.sh: $name cannot be built here: tests against a real API server are skipped" >&2
        exit 77
    fi
done
