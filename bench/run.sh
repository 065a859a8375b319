#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks. Each prints its figures beside a named baseline from the same run and the aim.
set -euo pipefail
build=${1:?usage: run.sh BUILD_DIR [KIND...]}
shift
here=$(cd "$(dirname "$0")" && pwd)

usage() {
    cat <<'TEXT'
usage: ./dev bench [KIND...]        all kinds by default

  net      requests, connections and streams: pods against a veth pair, routing, kube-proxy's rules
  lb       Services: a full load and one endpoint's change, against one map write
TEXT
}

kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(net lb)
for kind in "${kinds[@]}"; do
    case "$kind" in
    net) "$here/net/run.py" --build "$build" ;;
    lb) "$build/bench/bench_lb" ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
done
