// SPDX-License-Identifier: Apache-2.0
/// What policy costs: the decision for a flow's first packet, by the datapath's own lookup in this
/// kernel, through sets of 10, 1,000 and 10,000 rules, beside one lookup in a hash; and the
/// compiler's work at 30k pods and 10k policies, beside one write to a map. Times of lookups have
/// the empty loop's taken off.
#include <algorithm>
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
#include "rows.h"

namespace {

using namespace weir;
using bench::quantile;
using bench::Row;
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
constexpr unsigned kRuns = 10;  // a round; the best of them counts: the machine has other work
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

/// Nanoseconds a lookup, the best of some runs.
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

/// One set of rules: what a decision costs that the last of them makes, and one that none makes.
void lookups(unsigned rules, bool cidrs, unsigned rounds) {
    const Skeleton skeleton = load();
    Compiler compiler(kCapacities);
    fill_rules(compiler, rules, cidrs);
    write(*skeleton, compiler.flush());
    const auto set = WEIR_POLICY_WORD_SET(compiler.word_of(1));
    for (const auto& problem : compiler.problems())
        die(problem.object + ": " + problem.text);
    const double aim = cidrs ? 350 : 200;
    for (const bool match : {true, false}) {
        Row row{.kind = "policy",
                .name = fmt::format("{} rules, {}, {}", rules, cidrs ? "CIDR peers" : "pod peers",
                                    match ? "the last rules decide" : "none matches"),
                .unit = "ns",
                .samples = {},
                .against = "one hash lookup",
                .ratios = {},
                .aim = fmt::format("\u2264{:.0f} ns", aim),
                .met = {},
                .note = fmt::format("{} rows", compiler.usage()[3].used)};
        ask(*skeleton, set, rules, cidrs, match);
        for (unsigned i = 0; i < rounds; ++i) {
            const double nothing = run(skeleton->progs.measure_nothing);
            row.samples.push_back(run(skeleton->progs.measure) - nothing);
            row.ratios.push_back(row.samples.back() /
                                 (run(skeleton->progs.measure_hash) - nothing));
        }
        row.met = quantile(row.samples, 0.5) <= aim;
        print(row);
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

/// A policy of so many blocks of addresses of its own, each with an exception.
model::NetworkPolicy block_policy(unsigned number, unsigned blocks) {
    model::NetworkPolicy policy;
    policy.meta.name = {.ns = fmt::format("ns-{}", number), .name = "blocks"};
    policy.ingress = true;
    model::PolicyRule rule;
    for (unsigned i = 0; i < blocks; ++i) {
        model::PolicyPeer peer;
        const uint32_t base = 0xd0000000U + (number << 22) + (i << 12);
        peer.block = IpPrefix::make(IpAddress::v4(base), 20).value();
        peer.except = {IpPrefix::make(IpAddress::v4(base + 256), 24).value()};
        rule.peers.push_back(std::move(peer));
    }
    policy.ingress_rules = {std::move(rule)};
    return policy;
}

/// Milliseconds to compile them, the ranges of the policies being apart.
double many_cidrs(Compiler& compiler, unsigned policies, unsigned blocks) {
    std::vector<model::NetworkPolicy> made;
    for (unsigned i = 0; i < policies; ++i)
        made.push_back(block_policy(i, blocks));
    const auto start = Clock::now();
    for (const auto& policy : made)
        compiler.put(policy);
    (void)compiler.flush();
    const double took = ms_since(start);
    for (const auto& problem : compiler.problems())
        die(problem.object + ": " + problem.text);
    return took;
}

/// One write to a map of the tables, milliseconds.
double one_write(const weir_policy_lookup_bpf& skeleton) {
    constexpr unsigned kWrites = 1000;
    const lookup_answer answer{};
    const auto start = Clock::now();
    for (uint32_t i = 0; i < kWrites; ++i)
        bpf_map_update_elem(bpf_map__fd(skeleton.maps.lookup_answers), &i, &answer, BPF_ANY);
    return ms_since(start) / kWrites;
}

Row row_of(std::string name, std::vector<double> samples, double write, std::string note) {
    Row row{.kind = "policy",
            .name = std::move(name),
            .unit = "ms",
            .samples = std::move(samples),
            .against = "one map write",
            .ratios = {},
            .aim = {},
            .met = {},
            .note = std::move(note)};
    for (const double sample : row.samples)
        row.ratios.push_back(sample / write);
    return row;
}

void aim(Row& row, double at_most, double measured, std::string_view what) {
    row.aim = fmt::format("{}\u2264{:g} ms", what, at_most);
    row.met = measured <= at_most;
}

/// A cluster from nothing, rounds apart.
std::vector<double> from_nothing(unsigned rounds) {
    std::vector<double> out;
    for (unsigned i = 0; i < rounds; ++i) {
        const Skeleton skeleton = load();
        const auto start = Clock::now();
        Compiler compiler(kCapacities);
        fill_cluster(compiler);
        write(*skeleton, compiler.flush());
        out.push_back(ms_since(start));
    }
    return out;
}

void compiling(unsigned rounds) {
    auto whole = from_nothing(rounds);
    const Skeleton skeleton = load();
    const double write_ms = one_write(*skeleton);
    const size_t before = heap();
    Compiler compiler(kCapacities);
    fill_cluster(compiler);
    const auto transaction = compiler.flush();
    write(*skeleton, transaction);
    std::string tables;
    for (const auto& use : compiler.usage())
        tables += fmt::format(" {} {}", use.table, use.used);
    auto row = row_of(fmt::format("{} pods, {} policies from nothing", kPods, kPolicies),
                      std::move(whole), write_ms,
                      fmt::format("{} writes, {:.0f} MB of heap;{}", transaction.writes.size(),
                                  double(heap() - before) / 1e6, tables));
    aim(row, 3000, quantile(row.samples, 0.5), "");
    print(row);
    for (const char* key : {"app", "nobody-asks"}) {
        row = row_of(fmt::format("one pod's label {}, object to kernel", key),
                     label_changes(compiler, *skeleton, key), write_ms, "");
        const double p99 = quantile(row.samples, 0.99);
        row.note = fmt::format("p99 {:.3f} ms", p99);
        aim(row, 20, p99, "p99 ");
        print(row);
    }
    const double hundred = many_cidrs(compiler, 1, 100);
    const double thousand = many_cidrs(compiler, 1, 1000);
    const double ten = many_cidrs(compiler, 10, 1000);
    print(row_of("a policy of 1,000 CIDRs with excepts, compiled", {thousand}, write_ms,
                 fmt::format("of 100: {:.1f} ms", hundred)));
    print(row_of("10 such policies, all CIDRs distinct, compiled", {ten}, write_ms, ""));
}

}  // namespace

int main(int argc, char** argv) {
    const unsigned rounds = argc > 1 ? static_cast<unsigned>(std::max(1, std::atoi(argv[1]))) : 9;
    for (const bool cidrs : {false, true}) {
        for (const unsigned rules : {10U, 1'000U, 10'000U})
            lookups(rules, cidrs, rounds);
    }
    compiling(rounds);
    return 0;
}
