#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The demonstration, on this host: the real agent, real processes as pods, real requests. Every claim it prints is
# checked; with --once it ends after the last one and fails if any was not so. Without, it stays up to be played with.
#
#   examples/shop/demo.sh BUILD_DIR [--once] [--requests N] [--slow FACTOR]
#
# --requests: made in all while things change (10000). --slow: times of grace are multiplied by FACTOR on a machine that is
# so much slower than others, an emulated one. What is checked is always the same.
set -euo pipefail

usage="usage: demo.sh BUILD_DIR [--once] [--requests N] [--slow FACTOR]"
build=$(cd "${1:?$usage}" && pwd)
shift
once="" wanted=10000 slow=1
while [ $# -gt 0 ]; do
    case "$1" in
    --once) once=yes ;;
    --requests) wanted=${2:?$usage} && shift ;;
    --slow) slow=${2:?$usage} && shift ;;
    *) echo "$usage" >&2 && exit 2 ;;
    esac
    shift
done
here=$(cd "$(dirname "$0")" && pwd)
agent=$build/src/agent/weir-agent
next_agent=$build/src/agent/weir-agent-next
cli=$build/src/cli/weir
shop=$build/examples/shop

run_dir=/run/weir
objects=$run_dir/demo
node4=203.0.113.1 node6=2001:db8:77::1
web4=10.96.0.10 web6=fd00:10:96::10
export PATH=$PATH:/usr/sbin:/sbin
export WEIR_RUN_DIR=$run_dir WEIR_SOCKET=$run_dir/agent.sock WEIR_BPFFS=/sys/fs/bpf

failures=0
agent_pid=
declare -A pods=()
mounted_bpffs=

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
ok() { printf '  ok      %s\n' "$*"; }
bad() {
    printf '  NOT SO  %s\n' "$*"
    failures=$((failures + 1))
}
check() { # TEXT COMMAND…
    local text=$1
    shift
    if "$@"; then ok "$text"; else bad "$text"; fi
}

# Does this JSON satisfy the expression?
holds() { jq -e "$1" <<<"$2" >/dev/null; }

# What the host has that the demonstration must leave as it was.
snapshot() (
    set +e +o pipefail # an empty list is a fact, not a failure
    local cgroups
    cgroups=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts)
    echo "links:" && bpftool link show | grep -v pids | sed 's/^[0-9]*: //' | sort
    echo "maps:" && bpftool map show | grep -E '^[0-9]+:' | sed 's/^[0-9]*: //' | sort
    echo "programs:" && bpftool prog show | grep -E '^[0-9]+:' | sed 's/^[0-9]*: //' | sort
    echo "devices:" && ip -o link | awk '{print $2, $9}' | sort
    echo "routes:" && ip -4 route show table all && ip -6 route show table all | sed 's/expires [0-9]*sec//'
    echo "rules:" && ip rule && ip -6 rule
    echo "namespaces:" && ip netns
    echo "pins:" && find /sys/fs/bpf 2>/dev/null | sort
    echo "sysctls:" && sysctl net.ipv4.ip_forward net.ipv4.ip_local_reserved_ports net.ipv4.ip_local_port_range net.ipv6.conf.all.forwarding \
        net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter 2>/dev/null
    echo "cgroups:" && find "$cgroups" -type d | sort
    echo "run:" && find "$run_dir" 2>/dev/null | sort
)

start_agent() { # BINARY
    "$1" --source=file:"$objects" --node-name=demo --run-dir="$run_dir" --devices=weir-out \
        --service-cidrs=10.96.0.0/16,fd00:10:96::/112 >>"$run_dir/agent.log" 2>&1 &
    agent_pid=$!
    for _ in $(seq 150); do
        "$cli" status --wait --wait-duration 5s >/dev/null 2>&1 && return
        kill -0 "$agent_pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$run_dir/agent.log" >&2
    echo "the agent did not become ready" >&2
    exit 1
}

start_pod() { # NAME APP COMMAND…
    local name=$1 app=$2
    shift 2
    "$cli" run --name "$name" -n shop -l app="$app" --port http=8080/TCP --ready-when tcp:8080 -- "$@" \
        >"$run_dir/pod-$name.log" 2>&1 &
    pods[$name]=$!
}
start_web() {
    start_pod "$1" web "$shop" serve --name "$1" --upstream "http://10.96.0.20:80" --timeout-ms $((3000 * slow)) \
        --drain-ms $((1000 * slow))
}
start_api() { start_pod "$1" api "$shop" serve --name "$1" --drain-ms $((1000 * slow)); }
stop_pod() {
    kill -TERM "${pods[$1]}" 2>/dev/null || true
    wait "${pods[$1]}" 2>/dev/null || true
    unset "pods[$1]"
}
# Waits until the list of pods satisfies the expression; gives up when it has not changed for a while.
wait_pods() { # EXPRESSION
    local state before='' since=$SECONDS
    until state=$("$cli" pod list -n shop -o json | jq -c 'map({name, ready})') && holds "$1" "$state"; do
        [ "$state" = "$before" ] || { before=$state && since=$SECONDS; }
        if [ $((SECONDS - since)) -gt $((15 * slow)) ]; then
            echo "pods did not become ready: $state" >&2
            exit 1
        fi
        sleep 0.1
    done
}
wait_ready() { wait_pods "map(select(.ready)) | length >= $1"; } # COUNT
# The client is a pod too: it runs its command to the end and prints one JSON line.
client() { "$cli" run --name "client-$RANDOM" -n shop -l app=client --quiet -- "$shop" load --timeout-ms $((3000 * slow)) "$@"; }
outside() { ip netns exec weir-outside "$shop" load --timeout-ms $((3000 * slow)) "$@"; }
host() { "$shop" load --timeout-ms $((3000 * slow)) "$@"; }

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    set +e
    if [ "$status" != 0 ] || [ "$failures" != 0 ]; then
        say "The agent's last words" && tail -n 30 "$run_dir/agent.log"
    fi
    say "Cleaning up"
    for name in "${!pods[@]}"; do kill -TERM "${pods[$name]}" 2>/dev/null; done
    for name in "${!pods[@]}"; do wait "${pods[$name]}" 2>/dev/null; done
    [ -n "$agent_pid" ] && kill "$agent_pid" 2>/dev/null && wait "$agent_pid" 2>/dev/null
    "$cli" cleanup --yes >/dev/null || failures=$((failures + 1))
    ip link del weir-out 2>/dev/null
    ip netns del weir-outside 2>/dev/null
    rm -rf "$run_dir"
    [ -n "$mounted_bpffs" ] && umount /sys/fs/bpf
    rmdir /run/netns 2>/dev/null
    # The kernel frees programs and maps some time after the last reference to them is gone.
    local now="" same=""
    for _ in $(seq 50); do
        now=$(snapshot)
        [ "$now" = "$before" ] && same=yes && break
        sleep 0.1
    done
    if [ -n "$same" ]; then
        ok "links, maps, programs, devices, routes, rules, pins, sysctls and cgroups are as before"
    else
        bad "the host is not as before:"
        echo "$before" >"/tmp/weir-demo-before.$$"
        echo "$now" | diff "/tmp/weir-demo-before.$$" -
        rm -f "/tmp/weir-demo-before.$$"
    fi
    [ "$failures" = 0 ] || { echo "$failures thing(s) shown were not so" >&2; exit 1; }
    exit "$status"
}

[ "$(id -u)" = 0 ] || { echo "the demonstration needs root" >&2; exit 1; }
[ ! -e "$run_dir/agent.sock" ] || { echo "an agent runs on this host already ($run_dir); weir cleanup removes it" >&2; exit 1; }
ip netns list | grep -qw weir-outside && { echo "a namespace weir-outside exists already: ip netns del weir-outside" >&2; exit 1; }

before=$(snapshot)
trap cleanup EXIT
trap 'exit 130' INT TERM
if [ "$(stat -f -c %T /sys/fs/bpf)" != bpf_fs ]; then
    mount -t bpf bpf /sys/fs/bpf
    mounted_bpffs=yes
fi
mkdir -p "$objects"
cp "$here"/objects/*.yaml "$objects"/

say "A namespace as the outside world, joined by a veth; the agent takes it for an external device"
ip netns add weir-outside
ip link add weir-out type veth peer name eth0 netns weir-outside
ip addr add $node4/24 dev weir-out && ip addr add $node6/64 dev weir-out nodad && ip link set weir-out up
ip -n weir-outside addr add 203.0.113.2/24 dev eth0 && ip -n weir-outside addr add 2001:db8:77::2/64 dev eth0 nodad
ip -n weir-outside link set eth0 up && ip -n weir-outside link set lo up
start_agent "$agent"
ok "agent ready"

say "Three web servers and two API servers as pods"
for i in 1 2; do start_api "api-$i"; done
for i in 1 2 3; do start_web "web-$i"; done
wait_ready 5
"$cli" pod list -n shop
"$cli" service list -n shop

say "Balancing, both families, from a pod, from the host and from outside"
spread() { # TEXT URL COMMAND…: all three servers answer and nothing fails
    local text=$1 url=$2 result
    shift 2
    result=$("$@" "$url" --requests $((50 + wanted / 40)) || true)
    check "$text: $(jq -c .pods <<<"$result")" holds '.failed == 0 and (.pods | length) == 3' "$result"
}
spread "pod to IPv4 Service" "http://$web4:80" client
spread "pod to IPv6 Service" "http://[$web6]:80" client
spread "host to IPv4 Service" "http://$web4:80" host
spread "host to IPv6 Service" "http://[$web6]:80" host
spread "outside to IPv4 NodePort" "http://$node4:30080" outside
spread "outside to IPv6 NodePort" "http://[$node6]:30080" outside

# Load that never retries runs while things change; every failure of any kind is counted. There are two times three of
# these, and each makes its share of the requests before it ends.
load=("$shop" load --timeout-ms $((3000 * slow)) --at-least $((wanted / 6 + 1)))
begin_load() { # OPTION… of the host's
    "$cli" run --name client-load -n shop -l app=client --quiet -- \
        "${load[@]}" "http://$web4:80" "http://[$web6]:80" --workers 2 >"$run_dir/load-pod" &
    load_pod=$!
    ip netns exec weir-outside "${load[@]}" "http://$node4:30080" "http://[$node6]:30080" --workers 2 >"$run_dir/load-outside" &
    load_outside=$!
    "${load[@]}" "http://$web4:80" --workers 1 "$@" >"$run_dir/load-host" &
    load_host=$!
    wait_pods 'any(.[]; .name == "client-load" and .ready)'
    sleep 0.5
}
requests=0
end_load() { # TEXT
    local part result
    kill -TERM "$load_pod" "$load_outside" "$load_host" 2>/dev/null || true
    wait "$load_pod" "$load_outside" "$load_host" 2>/dev/null || true
    for part in pod outside host; do
        result=$(grep -E '^\{' "$run_dir/load-$part" || echo '{"ok":0,"failed":-1}')
        requests=$((requests + $(jq .ok <<<"$result")))
        check "$1, $part: $(jq -c '{ok, failed, errors}' <<<"$result")" holds '.failed == 0 and .ok > 100' "$result"
    done
}

say "A rolling replacement of all web servers under load"
begin_load # a client that keeps its connection would see its server's orderly end, as with any server
for i in 1 2 3; do
    start_web "web-$((i + 3))"
    wait_ready 6
    stop_pod "web-$i"
done
end_load "replacement"

say "kill -9 of the agent under load; backends change while it is dead; another build takes over"
begin_load --keep-alive --pause-ms 1
kill -9 "$agent_pid"
wait "$agent_pid" 2>/dev/null || true
sleep 1
spread "outside to NodePort with the agent dead" "http://$node4:30080" outside
cp "$here"/objects/shop.yaml "$objects/shop.yaml"
"$cli" conntrack list | head -4
start_agent "$next_agent"
ok "$("$next_agent" --version) took over from $("$agent" --version)"
sleep 1
end_load "kill and takeover"

say "A backend that went away while the agent was dead is noticed by the next one"
kill -9 "$agent_pid"
wait "$agent_pid" 2>/dev/null || true
stop_pod web-4
start_agent "$agent"
result=$(outside "http://$node4:30080" --requests 200 || true)
check "the other two serve: $(jq -c '{failed, pods}' <<<"$result")" holds '.failed == 0 and (.pods | length) == 2' "$result"
check "$requests requests under load in all, at least $wanted" [ "$requests" -ge "$wanted" ]

say "The flow log of it all"
"$cli" flows --last 8
"$cli" drops
check "nothing was dropped" [ "$("$cli" drops -o json | jq '[.[].packets] | add // 0')" = 0 ]

say "A policy, in audit mode first: nobody but the API servers may ask the web servers"
policy() { # ANNOTATIONS
    cat >"$run_dir/policy.yaml" <<YAML
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop, annotations: {$1}}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: api}}}]}]
YAML
    mv "$run_dir/policy.yaml" "$objects/policy.yaml"
}
soon() { # COMMAND…
    local end=$((SECONDS + 10 * slow))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
asks() { client "http://$web4:80" --requests 1 >/dev/null; }
denied() { ! "$cli" run --name "client-$RANDOM" -n shop -l app=client --quiet -- \
    "$shop" load "http://$web4:80" --requests 1 --timeout-ms $((500 * slow)) >/dev/null; }
would_deny() { holds '[.would_deny[] | select(.rule == "isolated (ingress)") | .hits] | add > 0' "$("$cli" policy effective shop/web-5 -o json)"; }
in_audit() { asks && would_deny; }
policy 'policy.weir.io/audit: "true"'
check "in audit mode requests pass, and are counted as what it would deny" soon in_audit
"$cli" policy effective shop/web-5

say "The policy in force: it is for connections that are open, too"
"$cli" run --name client-open -n shop -l app=client --quiet -- "$shop" load "http://$web4:80" --keep-alive --pause-ms 20 \
    --timeout-ms $((1000 * slow)) --at-least 1000000 >"$run_dir/load-open" &
open=$!
wait_pods 'any(.[]; .name == "client-open" and .ready)'
sleep 1
policy ''
check "a new request is denied" soon denied
sleep $((2 * slow)) # so long it waits for an answer
kill -TERM "$open" 2>/dev/null || true
wait "$open" 2>/dev/null || true
result=$(grep -E '^\{' "$run_dir/load-open" || echo '{"ok":0,"failed":0}')
check "an open connection is cut: $(jq -c '{ok, failed, errors}' <<<"$result")" holds '.ok > 10 and .failed > 0' "$result"
"$cli" flows --verdict DROPPED --last 2
check "the flow log names the rule" grep -q 'policy_denied_ingress: isolated (ingress)' <<<"$("$cli" flows --verdict DROPPED --last 2)"
explained=$("$cli" policy explain --from 203.0.113.2 --to shop/web-5 --port 8080 || true)
echo "$explained"
check "so does an explanation, without a packet" grep -q 'DENIED, isolated by NetworkPolicy shop/web' <<<"$explained"
check "its own node still reaches it" holds '.failed == 0' "$(host "http://$web4:80" --requests 20 || true)"
rm "$objects/policy.yaml"
check "without the policy requests pass again" soon asks

if [ -n "$once" ]; then exit; fi
say "It stays up. Try, as root, in another terminal:"
cat <<TEXT
  $cli status
  $cli flows --follow
  $cli service list -A -o wide
  curl http://$web4/
  ip netns exec weir-outside curl http://$node4:30080/
  $cli run --name me -n shop -l app=client -- bash
  edit $objects/shop.yaml and watch
  $cli policy explain --from shop/api-1 --to shop/web-5 --port 8080
Ctrl-C removes every trace.
TEXT
while sleep 3600; do :; done
