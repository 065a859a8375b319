// SPDX-License-Identifier: Apache-2.0
/// What policy costs: the decision for a flow's first packet, by the datapath's own lookup in this
/// kernel, through sets of 10, 1,000 and 10,000 rules; and the compiler's work at 30k pods and 10k
/// policies. Times of lookups have the empty loop's taken off.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <malloc.h>

#include <fmt/format.h>

#include "policy/bpf/fill.h"
#include "policy/bpf/lookup.h"
#include "policy/compiler.h"
#include "policy_lookup.skel.h"

namespace {

using namespace weir;
using policy::Compiler;
using Clock = std::chrono::steady_clock;

constexpr policy::Capacities kCapacities = {.addrs = 262144,
                                            .cidrs = 65536,
                                            .slots = 327680,
                                            .rows = 524288,
                                            .cells = 2097152,
                                            .rules = 524288,
                                            .sets = 8192,
                                            .counters = 131072,
                                            .rows_per_set = 131072,
                                            .cidrs_per_policy = 16384};
constexpr unsigned kRuns = 200;
constexpr unsigned kPods = 30'000;
constexpr unsigned kPolicies = 10'000;
constexpr unsigned kNamespaces = 1'000;
constexpr unsigned kLocal = 110;
constexpr unsigned kChanges = 2'000;

[[noreturn]] void die(const std::string& what) {
    fmt::print(stderr, "bench_policy: {}\n", what);
    std::exit(1);
}

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double quantile(std::vector<double> values, double at) {
    std::ranges::sort(values);
    return values[static_cast<size_t>(at * static_cast<double>(values.size() - 1))];
}

struct Close {
    void operator()(weir_policy_lookup_bpf* skeleton) const {
        weir_policy_lookup_bpf::destroy(skeleton);
    }
};
using Skeleton = std::unique_ptr<weir_policy_lookup_bpf, Close>;

Skeleton load() {
    Skeleton skeleton(weir_policy_lookup_bpf::open());
    if (!skeleton || weir_policy_lookup_bpf::load(skeleton.get()) != 0)
        die("load the lookup program; run as root");
    return skeleton;
}

void write(const weir_policy_lookup_bpf& skeleton, const model::PolicyTransaction& transaction) {
    policy::test::Fill fill(skeleton.maps);
    if (const auto done = fill.write(transaction); !done) die(done.error().message());
}

/// Nanoseconds a lookup, the best of some runs: the machine has other work.
double run(const bpf_program* program) {
    unsigned char packet[64] = {};
    double best = 1e18;
    for (unsigned i = 0; i < kRuns; ++i) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof packet,
                    .repeat = 1);
        if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0)
            die("run the lookup program");
        best = std::min(best, double(options.duration) / LOOKUPS_A_RUN);
    }
    return best;
}

model::Pod make_pod(unsigned number, const std::string& ns, const char* key,
                    const std::string& value) {
    model::Pod pod;
    pod.meta.name = {.ns = ns, .name = fmt::format("pod-{}", number)};
    pod.meta.labels.emplace(key, value);
    pod.phase = model::PodPhase::kRunning;
    pod.ips = {IpAddress::v4(0x0a000000U + number)};
    return pod;
}

model::NetworkPolicy make_policy(const std::string& ns, unsigned number, model::PolicyPeer peer,
                                 uint16_t port) {
    model::NetworkPolicy policy;
    policy.meta.name = {.ns = ns, .name = fmt::format("policy-{:05}", number)};
    policy.ingress = true;
    model::PolicyRule rule;
    rule.peers = {std::move(peer)};
    rule.ports = {{.protocol = model::Protocol::kTcp, .port = model::PortRef{.number = port}}};
    policy.ingress_rules = {std::move(rule)};
    return policy;
}

model::PolicyPeer peer_by_label(const std::string& value) {
    model::PolicyPeer peer;
    peer.pods.emplace().requirements = {{.key = "app", .values = {value}}};
    return peer;
}

uint32_t address_of(unsigned number, bool cidrs) {
    return cidrs ? 0xc0000000U + (number << 8) + 7 : 0x0a000000U + number;
}

/// A pod under as many policies as rules, each with a peer and a port of its own.
void fill_rules(Compiler& compiler, unsigned rules, bool cidrs) {
    compiler.put(make_pod(16'000'000, "shop", "app", "subject"));
    compiler.put(policy::LocalEndpoint{.id = 1,
                                       .pod = {.ns = "shop", .name = "pod-16000000"},
                                       .uid = "",
                                       .addresses = {IpAddress::v4(0x0afffff0U)}});
    for (unsigned i = 0; i < rules; ++i) {
        const auto port = static_cast<uint16_t>(1000 + i);
        model::PolicyPeer peer;
        if (cidrs) {
            peer.block = IpPrefix::make(IpAddress::v4(address_of(i, true)), 24).value();
            peer.except = {IpPrefix::make(IpAddress::v4(address_of(i, true) + 128), 25).value()};
        } else {
            compiler.put(make_pod(i, "shop", "app", fmt::format("peer-{}", i)));
            peer = peer_by_label(fmt::format("peer-{}", i));
        }
        compiler.put(make_policy("shop", i, std::move(peer), port));
    }
}

void ask(const weir_policy_lookup_bpf& skeleton, uint16_t set, unsigned rules, bool cidrs,
         bool match) {
    const uint32_t count = std::min<uint32_t>(rules, LOOKUP_QUESTIONS);
    for (uint32_t i = 0; i < count; ++i) {
        // From the last rule on down.
        const unsigned which = rules - 1 - i;
        const lookup_question question = {
            .peer = IpAddress::v4(address_of(which, cidrs)).abi(),
            .set = set,
            .direction = WEIR_POLICY_INGRESS,
            .proto = 6,
            .port = static_cast<uint16_t>(match ? 1000 + which : 999)};
        bpf_map_update_elem(bpf_map__fd(skeleton.maps.lookup_questions), &i, &question, BPF_ANY);
    }
    skeleton.data->question_count = count;
}

void lookups() {
    fmt::print("{:<34} {:>9} {:>9} {:>9} {:>9}  {}\n", "one decision, ns", "match", "no match",
               "one hash", "rows", "aim");
    for (const bool cidrs : {false, true}) {
        for (const unsigned rules : {10U, 1'000U, 10'000U}) {
            const Skeleton skeleton = load();
            Compiler compiler(kCapacities);
            fill_rules(compiler, rules, cidrs);
            write(*skeleton, compiler.flush());
            const auto set = WEIR_POLICY_WORD_SET(compiler.word_of(1));
            for (const auto& problem : compiler.problems())
                die(problem.object + ": " + problem.text);
            std::array<double, 2> took{};
            double hash = 0;
            for (const bool match : {true, false}) {
                ask(*skeleton, set, rules, cidrs, match);
                const double nothing = run(skeleton->progs.measure_nothing);
                took[match ? 0 : 1] = run(skeleton->progs.measure) - nothing;
                hash = run(skeleton->progs.measure_hash) - nothing;
            }
            fmt::print("{:<34} {:>9.1f} {:>9.1f} {:>9.1f} {:>9}  {}\n",
                       fmt::format("{} rules, {}", rules, cidrs ? "CIDR peers" : "pod peers"),
                       took[0], took[1], hash, compiler.usage()[3].used,
                       cidrs ? "<= 350" : "<= 200");
        }
    }
}

std::string namespace_of(unsigned pod) {
    return fmt::format("ns-{}", pod % kNamespaces);
}

/// Ten policies a namespace: by label, by namespace, by block, in turn.
model::NetworkPolicy cluster_policy(unsigned number) {
    model::PolicyPeer peer;
    if (number % 3 == 0) {
        peer = peer_by_label(fmt::format("app-{}", number % 50));
    } else if (number % 3 == 1) {
        peer.namespaces.emplace().requirements = {
            {.key = "team", .values = {fmt::format("team-{}", number % 20)}}};
    } else {
        peer.block = IpPrefix::make(IpAddress::v4(0xc0000000U + (number << 8)), 24).value();
    }
    auto policy = make_policy(fmt::format("ns-{}", number % kNamespaces), number, std::move(peer),
                              static_cast<uint16_t>(8000 + number % 100));
    policy.subjects.requirements = {
        {.key = "app", .op = model::LabelRequirement::Op::kExists, .values = {}}};
    return policy;
}

void fill_cluster(Compiler& compiler) {
    for (unsigned i = 0; i < kNamespaces; ++i) {
        model::Namespace ns;
        ns.meta.name = {.ns = "", .name = fmt::format("ns-{}", i)};
        ns.meta.labels.emplace("team", fmt::format("team-{}", i % 20));
        compiler.put(ns);
    }
    for (unsigned i = 0; i < kPods; ++i)
        compiler.put(make_pod(i, namespace_of(i), "app", fmt::format("app-{}", i % 50)));
    for (unsigned i = 0; i < kPolicies; ++i)
        compiler.put(cluster_policy(i));
    for (unsigned i = 0; i < kLocal; ++i)
        compiler.put(
            policy::LocalEndpoint{.id = i + 1,
                                  .pod = {.ns = namespace_of(i), .name = fmt::format("pod-{}", i)},
                                  .uid = "",
                                  .addresses = {IpAddress::v4(0x0a000000U + i)}});
}

size_t heap() {
    ::malloc_trim(0);
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

/// One pod's labels, back and forth; the kernel's part is in it.
std::vector<double> label_changes(Compiler& compiler, const weir_policy_lookup_bpf& skeleton,
                                  const char* key) {
    std::vector<double> out;
    for (unsigned i = 0; i < kChanges; ++i) {
        const unsigned number = kLocal + i * 7 % (kPods - kLocal);
        model::Pod pod =
            make_pod(number, namespace_of(number), "app", fmt::format("app-{}", number % 50));
        pod.meta.labels.insert_or_assign(key, fmt::format("app-{}", (number + i) % 50));
        const auto start = Clock::now();
        compiler.put(pod);
        const auto transaction = compiler.flush();
        write(skeleton, transaction);
        out.push_back(ms_since(start));
        if (transaction.grace != 0) write(skeleton, compiler.grace_elapsed(transaction.grace));
    }
    return out;
}

void many_cidrs(Compiler& compiler) {
    model::NetworkPolicy policy;
    policy.meta.name = {.ns = "ns-1", .name = "blocks"};
    policy.ingress = true;
    model::PolicyRule rule;
    for (unsigned i = 0; i < 1000; ++i) {
        model::PolicyPeer peer;
        const uint32_t base = 0xd0000000U + (i << 12);
        peer.block = IpPrefix::make(IpAddress::v4(base), 20).value();
        peer.except = {IpPrefix::make(IpAddress::v4(base + 256), 24).value()};
        rule.peers.push_back(std::move(peer));
    }
    policy.ingress_rules = {std::move(rule)};
    const auto start = Clock::now();
    compiler.put(policy);
    const size_t writes = compiler.flush().writes.size();
    fmt::print("{:<34} {:>9.2f} ms, {} writes\n", "a policy of 1000 CIDRs with excepts",
               ms_since(start), writes);
}

void compiling() {
    const Skeleton skeleton = load();
    const size_t before = heap();
    const auto start = Clock::now();
    Compiler compiler(kCapacities);
    fill_cluster(compiler);
    const auto transaction = compiler.flush();
    const double compiled = ms_since(start);
    write(*skeleton, transaction);
    fmt::print(
        "\n{} pods, {} policies, {} local: {:.0f} ms compiled, {:.0f} ms with the kernel "
        "(aim 3000), {} writes, {:.1f} MB of heap\n",
        kPods, kPolicies, kLocal, compiled, ms_since(start), transaction.writes.size(),
        double(heap() - before) / 1e6);
    for (const auto& use : compiler.usage())
        fmt::print("  {:<10} {:>8} of {}\n", use.table, use.used, use.capacity);
    for (const char* key : {"app", "nobody-asks"}) {
        const auto took = label_changes(compiler, *skeleton, key);
        fmt::print("{:<34} p50 {:>7.3f} ms, p99 {:>7.3f} ms (aim p99 20)\n",
                   fmt::format("one pod's label \"{}\"", key), quantile(took, 0.5),
                   quantile(took, 0.99));
    }
    many_cidrs(compiler);
}

}  // namespace

int main() {
    lookups();
    compiling();
    return 0;
}
