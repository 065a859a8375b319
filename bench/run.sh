#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks. Each prints its figures beside a named baseline from the same run and the aim.
set -euo pipefail
build=${1:?usage: run.sh BUILD_DIR [OPTION...] [KIND...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
kinds=()
length=normal
json=

usage() {
    cat <<'TEXT'
usage: ./dev bench [--short | --long] [--json FILE] [KIND...]        all kinds but scale by default

  net      requests, connections and streams: pods against a veth pair, routing, kube-proxy's rules
  lb       Services: a full load and one endpoint's change, against one map write
  prog     a packet in the BPF programs: against an empty program, beside one lookup in a hash
  policy   decisions of policy sets of three sizes, the compiler, packets of pods under policies
  kube     files to objects: decoding, memory, from a file's rename to the change
  cni      ADD through the plugin, 30 at once, against bare veth pairs
  agent    memory, start and idle processor time at 5,000 Services and 50,000 endpoints

  scale    a real API server with 5,000 Nodes, 30,000 Pods, 10,000 Services and 100,000 endpoints: the agent's
           start, memory and 1,000 changes a second, beside kube-proxy; builds Kubernetes (minutes, once)

  --json FILE   also write every row to FILE, one JSON object a line
  --short, --long
                fewer rounds, or more: all kinds take about 5, 17 or 80 minutes (normal: 17)
TEXT
}

die() {
    echo "bench: $*; see ./dev bench --help" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help)
        usage
        exit 0
        ;;
    --short) length=short ;;
    --long) length=long ;;
    --json)
        [ $# -gt 1 ] || die "--json needs a file"
        json=$2
        shift
        ;;
    net | lb | prog | policy | kube | cni | agent | scale) kinds+=("$1") ;;
    -*) die "no option \"$1\"" ;;
    *) die "no kind \"$1\"" ;;
    esac
    shift
done
[ ${#kinds[@]} -gt 0 ] || kinds=(lb prog policy kube agent cni net)
[ "$(id -u)" = 0 ] || die "namespaces and programs need root"
if [ -n "$json" ]; then : >"$json"; fi

# show TITLE COMMAND...: rows from the command's output, as a table
show() {
    local title=$1
    shift
    "$@" | "$here/lib/report.py" --title "$title" ${json:+--json "$json"}
}

declare -A prog_rounds=([short]=3 [normal]=9 [long]=25)
declare -A cni_rounds=([short]=8 [normal]=20 [long]=60)
declare -A idle=([short]=20 [normal]=30 [long]=120)
echo "bench: $(uname -r), $(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg), length: $length"
for kind in "${kinds[@]}"; do
    case "$kind" in
    net) show "Packets" "$here/net/run.py" --build "$build" --length "$length" ;;
    lb) show "Services to kernel tables" "$build/bench/bench_lb" ;;
    kube) show "Files to objects" "$build/bench/bench_kube" ;;
    cni) show "CNI ADD" "$here/cni/run.py" --build "$build" --rounds "${cni_rounds[$length]}" ;;
    prog) show "Packets in the programs" "$build/bench/bench_prog" --rounds "${prog_rounds[$length]}" ;;
    policy)
        "$build/bench/bench_policy"
        show "Packets of pods under policies" "$build/bench/bench_prog" --policies --rounds "${prog_rounds[$length]}"
        ;;
    agent) show "The agent at 5,000 Services" "$here/agent/run.py" --build "$build" --idle "${idle[$length]}" ;;
    scale) show "A large cluster" "$here/scale/run.py" --build "$build" --seconds "${idle[$length]}" ;;
    esac
done
