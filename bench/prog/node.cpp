// SPDX-License-Identifier: Apache-2.0
#include "prog/node.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>

#include "datapath/embedded.h"
#include "datapath/host_tables.h"
#include "datapath/shards.h"
#include "lb/planner.h"
#include "lb/tables.h"
#include "policy/compiler.h"
#include "weir/event.h"

namespace weir::bench {
namespace {

constexpr const char* kBpffs = "/mnt";
constexpr uint32_t kBackendCapacity = 262144;
constexpr unsigned kFirstPodDevice = 10'000;  // devices of pods but the first: numbers only

IpAddress address(const char* text) {
    return IpAddress::parse(text).value();
}

/// `base` with `number` added to its last 32 bits.
IpAddress at(const char* base, unsigned number) {
    auto bytes = address(base).bytes();
    const uint32_t low = address(base).low32() + number;
    for (unsigned i = 0; i < 4; ++i)
        bytes[12 + i] = static_cast<uint8_t>(low >> (24 - 8 * i));
    return IpAddress::from_bytes(bytes);
}

Result<void> sh(const std::string& command) {
    if (std::system(command.c_str()) == 0) return {};
    return fail(Errc::kSystem, "failed: {}", command);
}

weir_config make_config(unsigned host_ifindex) {
    weir_config config{};
    config.flags = WEIR_CFG_MASQ4 | WEIR_CFG_MASQ6 | WEIR_CFG_FLOW_EVENTS | WEIR_CFG_REDIRECT_PEER |
                   WEIR_CFG_SOCK_PODS | WEIR_CFG_SOCK_HOST;
    config.host_ifindex = host_ifindex;
    config.nodeport_min = kFirstNodePort;
    config.nodeport_max = kFirstNodePort + kNodePorts - 1;
    config.snat_min = 45056;
    config.snat_max = 65535;
    config.router[0] = address("10.0.1.254").abi();
    config.router[1] = address("fd00:0:0:1::ffff").abi();
    config.gateway[0] = address("169.254.1.1").abi();
    config.gateway[1] = address("fe80::ecee:eeff:feee:eeee").abi();
    std::memset(config.host_mac, 0xee, sizeof config.host_mac);
    config.timeout = {.tcp_syn = 3600,
                      .tcp_established = 7200,
                      .tcp_closing = 3600,
                      .udp_new = 3600,
                      .udp_established = 3600,
                      .icmp = 3600,
                      .sctp_new = 3600,
                      .sctp_established = 3600,
                      .other = 3600,
                      .pad = 0};
    return config;
}

model::Service make_service(unsigned number) {
    model::Service service;
    service.meta.name = {.ns = "bench", .name = fmt::format("svc-{}", number)};
    service.meta.created = "2024-01-01T00:00:00Z";
    service.type = model::ServiceType::kNodePort;
    service.cluster_ips = {vip(Family::kIpv4, number), vip(Family::kIpv6, number)};
    service.ports = {
        {.name = "http",
         .port = kServicePort,
         .node_port = static_cast<uint16_t>(number < kNodePorts ? kFirstNodePort + number : 0)}};
    if (number < kDatagramServices) {
        service.ports.push_back(
            {.name = "datagrams", .protocol = model::Protocol::kUdp, .port = kServicePort});
    }
    return service;
}

model::Pod make_pod(unsigned number) {
    model::Pod pod;
    pod.meta.name = {.ns = "bench", .name = fmt::format("pod-{}", number)};
    pod.meta.labels.emplace("app", "bench");
    pod.phase = model::PodPhase::kRunning;
    pod.ips = {pod_address(Family::kIpv4, number), pod_address(Family::kIpv6, number)};
    return pod;
}

model::NetworkPolicy make_policy() {
    model::NetworkPolicy policy;
    policy.meta.name = {.ns = "bench", .name = "all"};
    policy.ingress = policy.egress = true;
    model::PolicyRule rule;
    rule.peers.resize(3);
    rule.peers[0].pods.emplace().requirements = {{.key = "app", .values = {"bench"}}};
    rule.peers[1].block = IpPrefix::parse("0.0.0.0/0").value();
    rule.peers[2].block = IpPrefix::parse("::/0").value();
    policy.ingress_rules = policy.egress_rules = {std::move(rule)};
    return policy;
}

model::EndpointSlice make_slice(const model::Service& service, Family family, unsigned number) {
    model::EndpointSlice slice;
    slice.meta.name = {
        .ns = service.meta.name.ns,
        .name = fmt::format("{}-{}", service.meta.name.name, static_cast<int>(family))};
    slice.service = service.meta.name;
    slice.family = family;
    const auto port = static_cast<uint16_t>(kFirstBackendPort + number);
    slice.ports = {{.name = "http", .port = port},
                   {.name = "datagrams", .protocol = model::Protocol::kUdp, .port = port}};
    for (unsigned e = 0; e < kEndpointsEach; ++e) {
        model::Endpoint endpoint;
        endpoint.address = pod_address(family, (number * kEndpointsEach + e) % kPods);
        endpoint.node_name = "bench";
        slice.endpoints.push_back(std::move(endpoint));
    }
    return slice;
}

}  // namespace

IpAddress pod_address(Family family, unsigned pod) {
    return at(family == Family::kIpv4 ? "10.0.1.1" : "fd00:0:0:1::1", pod);
}
IpAddress vip(Family family, unsigned service) {
    return at(family == Family::kIpv4 ? "10.96.0.1" : "fd00:96::1", service);
}
IpAddress node_address(Family family) {
    return address(family == Family::kIpv4 ? "192.0.2.1" : "2001:db8:1::1");
}
IpAddress outsider(Family family, unsigned number) {
    return at(family == Family::kIpv4 ? "198.18.0.1" : "2001:db8:2::1", number);
}

void Node::FreeRing::operator()(ring_buffer* ring) const {
    ring_buffer__free(ring);
}

Node::~Node() = default;

Result<void> Node::make_namespaces() {
    if (::unshare(CLONE_NEWNS | CLONE_NEWNET) != 0)
        return fail_errno(errno, "unshare; run as root");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return fail_errno(errno, "make mounts private");
    }
    // Over a directory that is there anyway: nothing is left behind, whatever ends the process.
    if (::mount("bpf", kBpffs, "bpf", 0, nullptr) != 0) {
        return fail_errno(errno, "mount a BPF file system on {}", kBpffs);
    }
    WEIR_CHECK(
        sh("ip link set lo up && ip link add ext0 type veth peer name ext0-far && "
           "ip link add weir0 type veth peer name weir0-far && "
           "ip link add pod0 type veth peer name pod0-far && "
           "for d in ext0 ext0-far weir0 weir0-far pod0 pod0-far; do ip link set $d up; done && "
           "sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1 && "
           "ip addr add 192.0.2.1/24 dev ext0 && ip addr add 2001:db8:1::1/64 dev ext0 nodad && "
           "ip route add default via 192.0.2.254 && ip -6 route add default via 2001:db8:1::fe"));
    external_ = ::if_nametoindex("ext0");
    host_ = ::if_nametoindex("weir0");
    veth_ = ::if_nametoindex("pod0");
    return {};
}

Result<void> Node::fill_host_tables() {
    for (unsigned i = 0; i < kPods; ++i) {
        const uint32_t id = WEIR_TRY(datapath_->endpoints().reserve());
        const auto endpoint = WEIR_TRY(datapath_->endpoints().add(
            id, {.ipv4 = pod_address(Family::kIpv4, i),
                 .ipv6 = pod_address(Family::kIpv6, i),
                 .ifindex = i == 0 ? veth_ : kFirstPodDevice + i,
                 .mac = {0x02, 0, 0, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)},
                 .mtu = 1500}));
        pods_.push_back(id);
        generations_.push_back(endpoint.generation);
    }
    weir_device external{};
    external.kind = WEIR_DEV_EXTERNAL;
    external.mtu = 1500;
    weir_device host{};
    host.kind = WEIR_DEV_HOST;
    std::map<IpAddress, uint32_t> own;
    for (const Family family : kFamilies) {
        external.addr[family_index(family)] = node_address(family).abi();
        own[node_address(family)] = WEIR_NODE_ADDR_NODEPORT;
    }
    const auto& tables = datapath_->tables();
    WEIR_TRY(datapath::sync_devices(tables, {{external_, external}, {host_, host}}));
    WEIR_TRY(datapath::sync_node_addresses(tables, own));
    const auto prefix = [](const char* text) { return IpPrefix::parse(text).value(); };
    WEIR_TRY(datapath::sync_cidrs(
        tables, {{prefix("10.0.0.0/16"), WEIR_CIDR_POD},
                 {prefix("10.0.1.0/24"), WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS},
                 {prefix("10.96.0.0/16"), WEIR_CIDR_SERVICE},
                 {prefix("fd00::/32"), WEIR_CIDR_POD},
                 {prefix("fd00:0:0:1::/64"), WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS},
                 {prefix("fd00:96::/112"), WEIR_CIDR_SERVICE}}));
    return {};
}

Result<void> Node::fill_services() {
    const auto& kernel = datapath_->tables();
    lb::Planner planner({.name = "bench"});
    lb::Tables tables({.vips = kernel.vips.raw().info().max_entries,
                       .services = kernel.services.size(),
                       .slots = kernel.slots.size(),
                       .backends = kernel.backends.size()});
    lb::Changes changes;
    for (unsigned i = 0; i < kServices; ++i) {
        const model::Service service = make_service(i);
        const auto v4 = make_slice(service, Family::kIpv4, i);
        const auto v6 = make_slice(service, Family::kIpv6, i);
        const model::EndpointSlice* slices[] = {&v4, &v6};
        planner.update(service, slices, changes);
    }
    const auto transaction = tables.apply(std::move(changes));
    if (!tables.problems().empty()) {
        return fail(Errc::kExhausted, "{}", tables.problems().front().text);
    }
    return datapath_->lb().apply(transaction.writes);
}

Result<void> Node::fill_policies(bool policed) {
    const auto by_id = [this](uint32_t id) { return std::ranges::find(pods_, id) - pods_.begin(); };
    const auto store_word = [&, this](uint32_t id, uint64_t word) -> Result<void> {
        const uint32_t bank = datapath_->loaded()->config().bank;
        WEIR_TRY(datapath_->endpoints().set_policy(id, generations_[by_id(id)], bank, word));
        return {};
    };
    const auto writer = WEIR_TRY(datapath_->policy_writer(store_word));
    policy::Compiler compiler({.addrs = 1024,
                               .cidrs = 64,
                               .slots = 1024 + 64,
                               .rows = 4096,
                               .cells = 4096,
                               .rules = 1024,
                               .sets = 16,
                               .counters = 64,
                               .rows_per_set = 4096,
                               .cidrs_per_policy = 64});
    if (policed) compiler.put(make_policy());
    for (unsigned i = 0; i < kPods; ++i) {
        const model::Pod pod = make_pod(i);
        compiler.put(pod);
        compiler.put(policy::LocalEndpoint{.id = pods_[i],
                                           .pod = pod.meta.name,
                                           .uid = {},
                                           .addresses = {pod.ips.begin(), pod.ips.end()}});
    }
    WEIR_CHECK(writer.apply(compiler.flush().writes));
    for (const auto& problem : compiler.problems())
        return fail(Errc::kInternal, "{}: {}", problem.object, problem.text);
    return {};
}

Result<std::unique_ptr<Node>> Node::make(bool policed) {
    std::unique_ptr<Node> node(new Node);
    WEIR_CHECK(node->make_namespaces());
    node->datapath_ = WEIR_TRY(datapath::Datapath::open({.bpffs = kBpffs,
                                                         .cgroup_root = {},
                                                         .sizes = {.backends = kBackendCapacity},
                                                         .build = datapath::embedded_build()}));
    WEIR_CHECK(node->datapath_->load(make_config(node->host_)));
    WEIR_CHECK(node->fill_host_tables());
    WEIR_CHECK(node->fill_services());
    WEIR_CHECK(node->fill_policies(policed));
    WEIR_TRY(node->datapath_->activate(datapath::SocketHooks::kOff));
    const auto on_event = [](void* context, void* data, size_t size) {
        const auto* event = static_cast<const weir_event*>(data);
        if (size >= sizeof *event && event->type == WEIR_EVENT_FLOW_NEW) {
            ++*static_cast<uint64_t*>(context);
        }
        return 0;
    };
    node->ring_.reset(ring_buffer__new(node->datapath_->maps().find("weir_events")->fd(), on_event,
                                       &node->new_events_, nullptr));
    if (!node->ring_) return fail_errno(errno, "open the ring buffer");
    return node;
}

Result<Fd> Node::stub(std::string_view hook) const {
    return datapath::open_pin(datapath_->pins().prog("stub_" + std::string(hook)));
}

void Node::drain() {
    ring_buffer__consume(ring_.get());
}

Result<Node::Counts> Node::counts() {
    drain();
    const auto& tables = datapath_->tables();
    Counts counts{.new_events = new_events_};
    for (uint32_t i = 0; i < uint32_t{WEIR_DROP_REASONS} * WEIR_DIRECTIONS; ++i) {
        for (const weir_count& count : WEIR_TRY(tables.drops.get(i)))
            counts.drops += count.packets;
    }
    for (const uint64_t count : WEIR_TRY(tables.counters.get(WEIR_COUNTER_CT_NEW)))
        counts.created += count;
    for (const uint64_t count : WEIR_TRY(tables.counters.get(WEIR_COUNTER_EVENTS_LOST)))
        counts.lost_events += count;
    return counts;
}

namespace {

const datapath::RawMap& half_open(const datapath::Datapath& datapath, Family family) {
    return *datapath.maps().find(family == Family::kIpv4 ? "weir_half4" : "weir_half6");
}

/// Deletes all elements; says how many there were.
Result<size_t> clear(const datapath::RawMap& map) {
    std::vector<std::byte> keys;
    const size_t size = map.info().key_size;
    WEIR_CHECK(map.for_each([&](const void* key, const void*) {
        const auto* bytes = static_cast<const std::byte*>(key);
        keys.insert(keys.end(), bytes, bytes + size);
        return true;
    }));
    WEIR_CHECK(map.erase_batch(keys.data(), keys.size() / size));
    return keys.size() / size;
}

}  // namespace

Result<void> Node::for_each_half(const Visit& visit) const {
    for (const Family family : kFamilies) {
        WEIR_CHECK(half_open(*datapath_, family).for_each([&](const void* key, const void* value) {
            weir_ct entry;
            std::memcpy(&entry, value, sizeof entry);
            visit(family, key, entry);
            return true;
        }));
    }
    return {};
}

Result<void> Node::for_each_shard(const VisitShard& visit) const {
    for (const char* name : {"weir_ct4", "weir_ct6"}) {
        const auto& outer = *datapath_->maps().find(name);
        for (uint32_t shard = 0; shard < WEIR_CT_SHARDS; ++shard) {
            uint32_t id = 0;
            WEIR_TRY(outer.find(&shard, &id));
            const int fd = bpf_map_get_fd_by_id(id);
            if (fd < 0) return fail_errno(-fd, "open shard {} of {}", shard, name);
            const auto inner = WEIR_TRY(datapath::RawMap::from(Fd(fd)));
            WEIR_CHECK(visit(inner));
        }
    }
    return {};
}

Result<size_t> Node::count_established() const {
    size_t count = 0;
    WEIR_CHECK(for_each_shard([&](const datapath::RawMap& map) -> Result<void> {
        count += WEIR_TRY(map.count());
        return {};
    }));
    return count;
}

Result<void> Node::clear_established() const {
    WEIR_CHECK(for_each_shard([](const datapath::RawMap& map) -> Result<void> {
        WEIR_TRY(clear(map));
        return {};
    }));
    for (const bool ipv6 : {false, true})
        WEIR_CHECK(datapath::count_no_flows(*datapath_->maps().find("weir_ct_counts"), ipv6));
    return {};
}

Result<size_t> Node::clear_half(Family family) const {
    return clear(half_open(*datapath_, family));
}

}  // namespace weir::bench
