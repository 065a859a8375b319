// SPDX-License-Identifier: Apache-2.0
/// What Services cost to program: a full load of 10k Services with 100k endpoints from parsed
/// objects to the kernel's maps, and one endpoint's change at that size, against one bpf map write
/// of the same run. Objects go the agent's way: store, endpoint controller, planner, tables,
/// writer. The maps are this process's own, unpinned.
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include <bpf/bpf.h>

#include <fmt/format.h>

#include "datapath/grace.h"
#include "datapath/lb_writer.h"
#include "kube/endpoint_controller.h"
#include "kube/store.h"
#include "lb/planner.h"
#include "lb/tables.h"
#include "must.h"
#include "rows.h"
#include "weir/limits.h"

namespace {

using namespace weir;
using bench::must;
using bench::print;
using bench::quantile;
using bench::Row;
using Clock = std::chrono::steady_clock;

constexpr unsigned kServices = 10'000;
constexpr unsigned kEndpointsEach = 10;
constexpr unsigned kLoads = 7;
constexpr unsigned kChanges = 4'000;
constexpr lb::Capacities kCapacities = {
    .vips = 131072, .services = 65536, .slots = 524288, .backends = 262144, .ranges = 65536};
constexpr double kAimLoadMs = 1000;
constexpr double kAimChangeMs = 10;

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
            .peers = make_hash<decltype(Tables::peers)>(1, BPF_MAP_TYPE_LPM_TRIE),
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

/// Milliseconds of a batch of changes, by stage.
struct Took {
    double store = 0;  ///< objects into the store, endpoints of Services, who is told
    double compile = 0, plan = 0, write = 0;
    [[nodiscard]] double total() const { return store + compile + plan + write; }
};

/// One agent's worth of state, with its maps; wired as the agent does it.
class Agent {
  public:
    Agent() {
        store_.subscribe([this](const kube::Delta& delta) { take(delta); });
    }

    /// What the objects' arrival takes until it is in the kernel.
    Took load(std::vector<kube::Object> objects) {
        took_ = {};
        begin_ = Clock::now();
        for (auto& object : objects)
            store_.put(source_, std::move(object));
        controller_.update();
        store_.publish();
        (void)tables_.grace_elapsed(grace_token_);
        if (!tables_.problems().empty()) {
            must<void>(fail(Errc::kExhausted, "{}", tables_.problems().front().text));
        }
        return took_;
    }
    [[nodiscard]] const datapath::Tables& kernel() const { return kernel_; }

  private:
    void take(const kube::Delta& delta) {
        took_.store = ms_since(begin_);
        lb::Changes changes;
        for (const auto& name : delta.endpoints) {
            const auto* service = store_.find<model::Service>(name);
            planner_.update(*service, store_.slices_of(name), changes);
        }
        took_.compile = ms_since(begin_) - took_.store;
        const auto transaction = tables_.apply(std::move(changes));
        took_.plan = ms_since(begin_) - took_.store - took_.compile;
        must(writer_.apply(transaction.writes));
        took_.write = ms_since(begin_) - took_.store - took_.compile - took_.plan;
        grace_token_ = transaction.grace;
    }

    datapath::Tables kernel_ = make_tables();
    datapath::GraceWorker grace_;
    datapath::LbWriter writer_{kernel_, grace_};
    kube::Store store_;
    kube::EndpointController controller_{store_};
    kube::SourceId source_ = store_.add_source(0, "bench");
    lb::Planner planner_{{.name = "node-1"}};
    lb::Tables tables_{kCapacities};
    model::GraceToken grace_token_ = 0;
    Clock::time_point begin_;
    Took took_;
};

std::vector<kube::Object> objects_of(const Cluster& cluster) {
    std::vector<kube::Object> objects(cluster.services.begin(), cluster.services.end());
    objects.insert(objects.end(), cluster.slices.begin(), cluster.slices.end());
    return objects;
}

/// One endpoint of a random Service changes its address: from the object to the kernel.
double one_change(Cluster& cluster, Agent& agent, unsigned number) {
    model::EndpointSlice& slice = cluster.slices[(size_t{number} * 7919) % cluster.slices.size()];
    slice.endpoints[number % kEndpointsEach].address = IpAddress::v4(0x0c000000U + number);
    return agent.load({slice}).total();
}

double one_map_write(const Agent& agent, unsigned number) {
    const weir_vip_key key =
        lb::service_key(IpAddress::v4(0x0a600000U + number % kServices), 80, model::Protocol::kTcp);
    const auto value = must(agent.kernel().vips.find(key));
    const auto start = Clock::now();
    must(agent.kernel().vips.put(key, *value));
    return ms_since(start);
}

struct Loads {
    std::vector<double> store, compile, plan, write, total;
};

Loads full_loads(const Cluster& cluster) {
    Loads out;
    for (unsigned i = 0; i < kLoads; ++i) {
        Agent agent;
        const Took took = agent.load(objects_of(cluster));
        out.store.push_back(took.store);
        out.compile.push_back(took.compile);
        out.plan.push_back(took.plan);
        out.write.push_back(took.write);
        out.total.push_back(took.total());
    }
    return out;
}

Row row_of(std::string name, const std::vector<double>& samples, double map_write) {
    Row row{.kind = "lb", .name = std::move(name), .unit = "ms", .samples = samples};
    if (map_write == 0) return row;
    row.against = "one map write";
    for (const double sample : samples)
        row.ratios.push_back(sample / map_write);
    return row;
}

void report(const Loads& loads, double map_write) {
    Row all = row_of(
        fmt::format("full load, {} Services, {} endpoints", kServices, kServices * kEndpointsEach),
        loads.total, map_write);
    all.aim = fmt::format("<= {} ms", kAimLoadMs);
    all.met = quantile(loads.total, 0.5) <= kAimLoadMs;
    print(all);
    print(row_of("of that: store and endpoint controller", loads.store, 0));
    print(row_of("of that: compile", loads.compile, 0));
    print(row_of("of that: plan", loads.plan, 0));
    print(row_of("of that: write", loads.write, 0));
}

void report_changes(const std::vector<double>& changes, const std::vector<double>& map_writes) {
    const double map_write = quantile(map_writes, 0.5);
    print(row_of("one endpoint change, object to kernel", changes, map_write));
    const double p99 = quantile(changes, 0.99);
    Row worst = row_of("the same, p99", {p99}, map_write);
    worst.aim = fmt::format("<= {} ms", kAimChangeMs);
    worst.met = p99 <= kAimChangeMs;
    worst.note = fmt::format("{} changes", changes.size());
    print(worst);
    print(row_of("one map write", map_writes, 0));
}

}  // namespace

int main(int argc, char** /*argv*/) {
    if (argc > 1) {
        fmt::print(stderr, "usage: bench_lb: takes no options\n");
        return 2;
    }
    Cluster cluster = make_cluster();
    fmt::print(stderr, "bench: lb: {} loads, then {} changes\n", kLoads, kChanges);
    const Loads loads = full_loads(cluster);
    Agent agent;
    agent.load(objects_of(cluster));
    std::vector<double> changes;
    std::vector<double> map_writes;
    for (unsigned i = 0; i < kChanges; ++i) {
        changes.push_back(one_change(cluster, agent, i));
        map_writes.push_back(one_map_write(agent, i));
    }
    report(loads, quantile(map_writes, 0.5));
    report_changes(changes, map_writes);
    return 0;
}
