// SPDX-License-Identifier: Apache-2.0
/// What Services cost to program: a full load of 10k Services with 100k endpoints from parsed
/// objects to the kernel's maps, and one endpoint's change at that size, against one bpf map write
/// of the same run. The maps are this process's own, unpinned.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <bpf/bpf.h>
#include <malloc.h>

#include <fmt/format.h>

#include "datapath/grace.h"
#include "datapath/lb_writer.h"
#include "lb/planner.h"
#include "lb/tables.h"

namespace {

using namespace weir;
using Clock = std::chrono::steady_clock;

constexpr unsigned kServices = 10'000;
constexpr unsigned kEndpointsEach = 10;
constexpr unsigned kLoads = 7;
constexpr unsigned kChanges = 4'000;
constexpr lb::Capacities kCapacities = {
    .vips = 131072, .services = 65536, .slots = 524288, .backends = 262144, .ranges = 65536};
constexpr double kAimLoadMs = 1000;
constexpr double kAimChangeMs = 10;

template <typename T>
T must(Result<T> result) {
    if (!result) {
        fmt::print(stderr, "bench_lb: {}\n", result.error().message());
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// A map of the shape that the table wants.
template <typename Table>
Table make(bpf_map_type type, uint32_t entries, uint32_t flags, size_t key, size_t value) {
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = flags);
    const int fd = bpf_map_create(type, "weir_bench", static_cast<uint32_t>(key),
                                  static_cast<uint32_t>(value), entries, &options);
    if (fd < 0) must<void>(fail_errno(-fd, "create a map; run as root"));
    return must(Table::from(Fd(fd)));
}

template <typename Table>
Table make_hash(uint32_t entries, bpf_map_type type = BPF_MAP_TYPE_HASH,
                uint32_t flags = BPF_F_NO_PREALLOC) {
    return make<Table>(type, entries, flags, sizeof(typename Table::key_type),
                       sizeof(typename Table::value_type));
}

template <typename Table>
Table make_array(uint32_t entries) {
    return make<Table>(BPF_MAP_TYPE_ARRAY, entries, BPF_F_MMAPABLE, sizeof(uint32_t),
                       sizeof(typename Table::value_type));
}

template <typename Value>
datapath::PercpuArray<Value> make_percpu() {
    return make<datapath::PercpuArray<Value>>(BPF_MAP_TYPE_PERCPU_ARRAY, 1, 0, sizeof(uint32_t),
                                              sizeof(Value));
}

datapath::Tables make_tables() {
    using datapath::Tables;
    return {.vips = make_hash<decltype(Tables::vips)>(kCapacities.vips),
            .services = make_array<decltype(Tables::services)>(kCapacities.services),
            .slots = make_array<decltype(Tables::slots)>(kCapacities.slots),
            .backends = make_array<decltype(Tables::backends)>(kCapacities.backends),
            .node_ports = make_array<decltype(Tables::node_ports)>(WEIR_NODE_PORT_WORDS),
            .ranges = make_hash<decltype(Tables::ranges)>(64, BPF_MAP_TYPE_LPM_TRIE),
            .socks = make_hash<decltype(Tables::socks)>(64, BPF_MAP_TYPE_LRU_HASH, 0),
            .endpoints = make_array<decltype(Tables::endpoints)>(1),
            .pods = make_hash<decltype(Tables::pods)>(1),
            .devices = make_hash<decltype(Tables::devices)>(1),
            .node_addrs = make_hash<decltype(Tables::node_addrs)>(1),
            .netns = make_hash<decltype(Tables::netns)>(1),
            .cidrs = make_hash<decltype(Tables::cidrs)>(1, BPF_MAP_TYPE_LPM_TRIE),
            .drops = make_percpu<weir_count>(),
            .counters = make_percpu<uint64_t>()};
}

struct Cluster {
    std::vector<model::Service> services;
    std::vector<model::EndpointSlice> slices;
};

Cluster make_cluster() {
    Cluster out;
    for (unsigned s = 0; s < kServices; ++s) {
        model::Service service;
        service.meta.name = {.ns = fmt::format("ns-{}", s % 100), .name = fmt::format("svc-{}", s)};
        service.meta.created = "2024-01-01T00:00:00Z";
        service.type = model::ServiceType::kNodePort;
        service.cluster_ips = {IpAddress::v4(0x0a600000U + s)};
        service.ports = {{.name = "http",
                          .port = 80,
                          .node_port = static_cast<uint16_t>(s < 2768 ? 30000 + s : 0)}};
        model::EndpointSlice slice;
        slice.meta.name = {.ns = service.meta.name.ns, .name = service.meta.name.name + "-x"};
        slice.service = service.meta.name;
        slice.ports = {{.name = "http", .port = 8080}};
        for (unsigned e = 0; e < kEndpointsEach; ++e) {
            model::Endpoint endpoint;
            endpoint.address = IpAddress::v4(0x0b000000U + s * kEndpointsEach + e);
            endpoint.node_name = fmt::format("node-{}", e);
            slice.endpoints.push_back(std::move(endpoint));
        }
        out.services.push_back(std::move(service));
        out.slices.push_back(std::move(slice));
    }
    return out;
}

double ms_since(Clock::time_point from) {
    return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

double quantile(std::vector<double> values, double q) {
    std::ranges::sort(values);
    return values[std::min(values.size() - 1, static_cast<size_t>(q * double(values.size())))];
}

/// One agent's worth of state, with its maps.
struct Agent {
    datapath::Tables kernel = make_tables();
    datapath::GraceWorker grace;
    datapath::LbWriter writer{kernel, grace};
    lb::Planner planner{{.name = "node-1"}};
    lb::Tables tables{kCapacities};
};

lb::Changes compile(const Cluster& cluster, lb::Planner& planner) {
    lb::Changes changes;
    for (size_t i = 0; i < cluster.services.size(); ++i) {
        const model::EndpointSlice* slices[] = {&cluster.slices[i]};
        planner.update(cluster.services[i], slices, changes);
    }
    return changes;
}

struct Load {
    double compile, plan, write;
    [[nodiscard]] double total() const { return compile + plan + write; }
};

Load full_load(const Cluster& cluster, Agent& agent) {
    const auto start = Clock::now();
    lb::Changes changes = compile(cluster, agent.planner);
    const double compiled = ms_since(start);
    const auto transaction = agent.tables.apply(std::move(changes));
    const double planned = ms_since(start);
    must(agent.writer.apply(transaction.writes));
    const double written = ms_since(start);
    if (!agent.tables.problems().empty()) {
        must<void>(fail(Errc::kExhausted, "{}", agent.tables.problems().front().text));
    }
    return {.compile = compiled, .plan = planned - compiled, .write = written - planned};
}

/// One endpoint of a random Service changes its address: from the objects to the kernel.
double one_change(Cluster& cluster, Agent& agent, unsigned number) {
    const size_t which = (size_t{number} * 7919) % cluster.services.size();
    model::EndpointSlice& slice = cluster.slices[which];
    slice.endpoints[number % kEndpointsEach].address = IpAddress::v4(0x0c000000U + number);
    const auto start = Clock::now();
    lb::Changes changes;
    const model::EndpointSlice* slices[] = {&slice};
    agent.planner.update(cluster.services[which], slices, changes);
    const auto transaction = agent.tables.apply(std::move(changes));
    must(agent.writer.apply(transaction.writes));
    const double took = ms_since(start);
    (void)agent.tables.grace_elapsed(transaction.grace);
    return took;
}

double one_map_write(const Agent& agent, unsigned number) {
    const weir_vip_key key =
        lb::service_key(IpAddress::v4(0x0a600000U + number % kServices), 80, model::Protocol::kTcp);
    const auto value = must(agent.kernel.vips.find(key));
    const auto start = Clock::now();
    must(agent.kernel.vips.put(key, *value));
    return ms_since(start);
}

/// Bytes that the planner and the tables hold for each endpoint; nothing else is allocated between.
double bytes_an_endpoint(const Cluster& cluster) {
    const auto used = [] {
        ::malloc_trim(0);
        const auto info = ::mallinfo2();
        return info.uordblks + info.hblkhd;
    };
    const size_t before = used();
    lb::Planner planner({.name = "node-1"});
    lb::Tables tables(kCapacities);
    {
        const auto written = tables.apply(compile(cluster, planner));
    }
    return double(used() - before) / (double(kServices) * kEndpointsEach);
}

struct Row {
    std::string_view what;
    double p50, p99;
    std::string_view aim;
};

void print_text(const std::array<Row, 6>& rows, double map_write, double bytes) {
    fmt::print("{} Services, {} endpoints; one bpf map write: {:.4f} ms\n\n", kServices,
               kServices * kEndpointsEach, map_write);
    fmt::print("{:<34} {:>10} {:>10} {:>12}  {}\n", "ms", "p50", "p99", "map writes", "aim");
    for (const Row& row : rows) {
        fmt::print("{:<34} {:>10.3f} {:>10.3f} {:>12.1f}  {}\n", row.what, row.p50, row.p99,
                   row.p50 / map_write, row.aim);
    }
    fmt::print("\nplanner and tables: {:.0f} bytes an endpoint\n", bytes);
}

void print_json(const std::array<Row, 6>& rows, double map_write, double bytes) {
    fmt::print(
        "{{\"benchmark\": \"lb\", \"services\": {}, \"endpoints\": {}, "
        "\"bytes_an_endpoint\": {:.1f}, \"rows\": [",
        kServices, kServices * kEndpointsEach, bytes);
    for (size_t i = 0; i < rows.size(); ++i) {
        fmt::print(
            "{}{{\"what\": \"{}\", \"p50_ms\": {:.5f}, \"p99_ms\": {:.5f}, "
            "\"ratio_to_map_write\": {:.2f}}}",
            i == 0 ? "" : ", ", rows[i].what, rows[i].p50, rows[i].p99, rows[i].p50 / map_write);
    }
    fmt::print("]}}\n");
}

}  // namespace

int main(int argc, char** argv) {
    const bool json = argc > 1 && std::string_view(argv[1]) == "--json";
    if (argc > 1 && !json) {
        fmt::print(stderr, "usage: bench_lb [--json]\n");
        return 2;
    }
    Cluster cluster = make_cluster();
    const double bytes = bytes_an_endpoint(cluster);
    std::vector<double> compiles;
    std::vector<double> plans;
    std::vector<double> writes;
    std::vector<double> totals;
    for (unsigned i = 0; i < kLoads; ++i) {
        Agent agent;
        const Load load = full_load(cluster, agent);
        compiles.push_back(load.compile);
        plans.push_back(load.plan);
        writes.push_back(load.write);
        totals.push_back(load.total());
    }
    Agent agent;
    full_load(cluster, agent);
    std::vector<double> changes;
    std::vector<double> map_writes;
    for (unsigned i = 0; i < kChanges; ++i) {
        changes.push_back(one_change(cluster, agent, i));
        map_writes.push_back(one_map_write(agent, i));
    }
    const double map_write = quantile(map_writes, 0.5);
    const auto row = [](std::string_view what, const std::vector<double>& values,
                        std::string_view aim) {
        return Row{what, quantile(values, 0.5), quantile(values, 0.99), aim};
    };
    const std::array rows = {row("full load, compile", compiles, ""),
                             row("full load, plan", plans, ""),
                             row("full load, write", writes, ""),
                             row("full load, in all", totals, "p50 <= 1000 ms"),
                             row("one endpoint change", changes, "p99 <= 10 ms"),
                             row("one bpf map write", map_writes, "the baseline")};
    json ? print_json(rows, map_write, bytes) : print_text(rows, map_write, bytes);
    return rows[3].p50 <= kAimLoadMs && rows[4].p99 <= kAimChangeMs ? 0 : 1;
}
