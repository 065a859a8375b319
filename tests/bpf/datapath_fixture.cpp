// SPDX-License-Identifier: Apache-2.0
#include "bpf/datapath_fixture.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <stdexcept>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "host.skel.h"
#include "pod.skel.h"
#include "stub.skel.h"
#include "support/lb_slot.h"
#include "weir/maps.h"

namespace weir::test {
namespace {

/// Setup that cannot fail on a sane machine: the message is for whoever runs the tests.
[[noreturn]] void broken(const std::string& what) {
    throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

void sh(const std::string& command) {
    if (std::system(command.c_str()) != 0) {
        throw std::runtime_error("failed: " + command);
    }
}

IpAddress ip(const char* text) {
    return IpAddress::parse(text).value();
}

/// Devices that only exist: nothing is sent. Routes and forwarding are what bpf_fib_lookup asks
/// for.
Devices make_devices() {
    if (unshare(CLONE_NEWNET) != 0) {
        broken("unshare(CLONE_NEWNET)");
    }
    for (const char* name : {"poda", "podb", "ext0", "ext1", "weir0"}) {
        sh(
            fmt::format("ip link add {0} type veth peer name {0}-far && ip link set {0} up && "
                        "ip link set {0}-far up",
                        name));
    }
    sh("ip link set lo up");
    sh("sysctl -qw net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1");
    sh("ip addr add 192.0.2.1/24 dev ext0 && ip addr add 203.0.113.1/24 dev ext1");
    sh("ip -6 addr add 2001:db8:1::1/64 dev ext0 nodad && ip -6 addr add 2001:db8:3::1/64 dev ext1 "
       "nodad");
    sh("ip route add default via 192.0.2.254 && ip -6 route add default via 2001:db8:1::fe");
    sh("ip route add unreachable 198.18.0.0/15 && ip -6 route add unreachable 2001:db8:dead::/48");
    sh("ip route add 198.51.100.128/25 via 192.0.2.253 mtu lock 1280");
    sh("ip -6 route add 2001:db8:2:1::/64 via 2001:db8:1::fd mtu lock 1280");
    return {if_nametoindex("poda"), if_nametoindex("podb"), if_nametoindex("ext0"),
            if_nametoindex("ext1"), if_nametoindex("weir0")};
}

const std::vector<std::string>& shared_maps() {
#define NAME(name, text) #name,
    static const std::vector<std::string> names = {WEIR_MAP_LIST(NAME) WEIR_POLICY_MAP_LIST(NAME)};
#undef NAME
    return names;
}

/// The slot of a program by its name: "<hook>" or "<hook>_<stage>", in bank 1.
std::optional<uint32_t> slot_of(std::string_view name) {
    static constexpr std::array<std::string_view, 4> kHooks = {"pod_from", "pod_to", "dev_in",
                                                               "dev_out"};
    static constexpr std::array<std::string_view, 6> kStages = {"new_flow", "icmp_error", "reject",
                                                                "fragment", "neighbour",  "policy"};
    for (uint32_t hook = 0; hook < kHooks.size(); hook++) {
        if (name == kHooks[hook]) {
            return hook;
        }
        for (uint32_t stage = 0; stage < kStages.size(); stage++) {
            if (name == fmt::format("{}_{}", kHooks[hook], kStages[stage])) {
                return WEIR_STAGE_SLOT(1U, hook, stage);
            }
        }
    }
    return std::nullopt;
}

weir_config default_config() {
    weir_config cfg{};
    cfg.flags = WEIR_CFG_MASQ4 | WEIR_CFG_MASQ6 | WEIR_CFG_FLOW_EVENTS | WEIR_CFG_REDIRECT_PEER |
                WEIR_CFG_SOCK_PODS;
    cfg.bank = 1;
    cfg.host_ifindex = devices().host;
    cfg.nodeport_min = 30000;
    cfg.nodeport_max = 32767;
    cfg.snat_min = 45056;
    cfg.snat_max = 65535;
    for (const Family family : kFamilies) {
        const World world = World::of(family);
        cfg.router[family_index(family)] = world.router.abi();
        cfg.gateway[family_index(family)] = world.gateway.abi();
    }
    std::memcpy(cfg.host_mac, kHostMac.data(), kHostMac.size());
    cfg.timeout = {.tcp_syn = 60,
                   .tcp_established = 7200,
                   .tcp_closing = 10,
                   .udp_new = 30,
                   .udp_established = 120,
                   .icmp = 20,
                   .sctp_new = 30,
                   .sctp_established = 600,
                   .other = 30,
                   .pad = 0};
    return cfg;
}

}  // namespace

const Devices& devices() {
    static const Devices made = make_devices();
    return made;
}

World World::of(Family family) {
    if (family == Family::kIpv4) {
        return {.family = family,
                .pod_a = ip("10.0.1.10"),
                .pod_b = ip("10.0.1.11"),
                .router = ip("10.0.1.1"),
                .gateway = ip("169.254.1.1"),
                .node = ip("192.0.2.1"),
                .client = ip("198.51.100.7"),
                .vip = ip("10.96.0.10"),
                .remote_pod = ip("10.0.2.20"),
                .stranger = ip("198.51.100.99")};
    }
    return {.family = family,
            .pod_a = ip("fd00:0:0:1::10"),
            .pod_b = ip("fd00:0:0:1::11"),
            .router = ip("fd00:0:0:1::1"),
            .gateway = ip("fe80::ecee:eeff:feee:eeee"),
            .node = ip("2001:db8:1::1"),
            .client = ip("2001:db8:2::7"),
            .vip = ip("fd00:96::10"),
            .remote_pod = ip("fd00:0:0:2::20"),
            .stranger = ip("2001:db8:2::99")};
}

struct Datapath::Objects {
    weir_pod_bpf* pod = nullptr;
    weir_host_bpf* host = nullptr;
    weir_stub_bpf* stub = nullptr;
    std::map<std::string, int> maps;
    std::map<std::string, int> programs;
    ring_buffer* ring = nullptr;
    std::vector<weir_event> received;

    ~Objects() {
        ring_buffer__free(ring);
        weir_stub_bpf__destroy(stub);
        weir_host_bpf__destroy(host);
        weir_pod_bpf__destroy(pod);
    }
};

Datapath::Datapath(const Options& options) : objects_(std::make_unique<Objects>()) {
    weir_config cfg = default_config();
    if (options.config) {
        options.config(cfg);
    }
    auto& o = *objects_;
    o.pod = weir_pod_bpf__open();
    o.host = weir_host_bpf__open();
    o.stub = weir_stub_bpf__open();
    if (!o.pod || !o.host || !o.stub) {
        broken("open the programs");
    }
    std::memcpy(&o.pod->rodata->cfg, &cfg, sizeof cfg);
    std::memcpy(&o.host->rodata->cfg, &cfg, sizeof cfg);
    for (bpf_object* object : {o.pod->obj, o.host->obj}) {
        for (const auto& [name, size] : options.small_hashes) {
            bpf_map* small = bpf_object__find_map_by_name(object, name.c_str());
            bpf_map__set_type(small, BPF_MAP_TYPE_HASH);
            bpf_map__set_max_entries(small, size);
        }
    }
    if (weir_pod_bpf__load(o.pod) != 0) {
        broken("load the pod programs (root and a kernel of 6.1 or later are needed)");
    }
    for (const auto& name : shared_maps()) {
        if (bpf_map* map = bpf_object__find_map_by_name(o.pod->obj, name.c_str())) {
            const int fd = bpf_map__fd(map);
            if (fd < 0) {
                continue;  // no pod program uses it
            }
            o.maps[name] = fd;
            if (bpf_map* same = bpf_object__find_map_by_name(o.host->obj, name.c_str())) {
                bpf_map__reuse_fd(same, fd);
            }
        }
    }
    if (weir_host_bpf__load(o.host) != 0) {
        broken("load the host programs");
    }
    bpf_map__reuse_fd(o.stub->maps.weir_progs, o.maps.at("weir_progs"));
    if (weir_stub_bpf__load(o.stub) != 0) {
        broken("load the stubs");
    }
    fill_shards();
    set_counts(WEIR_CT_COUNTS_NONE);
    fill_programs();
    const auto receive = [](void* context, void* data, size_t size) {
        weir_event event;
        std::memcpy(&event, data, std::min(size, sizeof event));
        static_cast<std::vector<weir_event>*>(context)->push_back(event);
        return 0;
    };
    o.ring = ring_buffer__new(o.maps.at("weir_events"), receive, &o.received, nullptr);
}

Datapath::~Datapath() = default;

void Datapath::fill_shards() {
    for (const auto& [outer, key_size] :
         {std::pair<const char*, unsigned>{"weir_ct4", 16}, {"weir_ct6", 40}}) {
        std::vector<uint32_t> index, fds;
        for (uint32_t shard = 0; shard < WEIR_CT_SHARDS; shard++) {
            LIBBPF_OPTS(bpf_map_create_opts, create, .map_flags = BPF_F_NO_PREALLOC);
            const int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "shard", key_size, sizeof(weir_ct),
                                          1024, &create);
            if (fd < 0) {
                broken("create a shard");
            }
            index.push_back(shard);
            fds.push_back(static_cast<uint32_t>(fd));
        }
        auto count = static_cast<uint32_t>(fds.size());
        // One grace period for all: element by element it would be one each.
        if (bpf_map_update_batch(map(outer), index.data(), fds.data(), &count, nullptr) != 0) {
            broken("fill the shards");
        }
        for (const uint32_t fd : fds) {
            close(static_cast<int>(fd));
        }
    }
}

void Datapath::fill_programs() {
    auto& o = *objects_;
    for (bpf_object* object : {o.pod->obj, o.host->obj, o.stub->obj}) {
        bpf_program* program = nullptr;
        bpf_object__for_each_program(program, object) {
            const std::string name = bpf_program__name(program);
            const int fd = bpf_program__fd(program);
            o.programs[name] = fd;
            const auto slot = slot_of(name);
            if (!slot) {
                continue;
            }
            update(map("weir_progs"), &*slot, &fd);
        }
    }
}

int Datapath::map(const std::string& name) const {
    return objects_->maps.at(name);
}
int Datapath::program(const std::string& name) const {
    return objects_->programs.at(name);
}

void Datapath::update(int fd, const void* key, const void* value) {
    if (bpf_map_update_elem(fd, key, value, BPF_ANY) != 0) {
        broken("update a map");
    }
}
void Datapath::remove(int fd, const void* key) {
    if (bpf_map_delete_elem(fd, key) != 0) {
        broken("delete from a map");
    }
}
bool Datapath::lookup(int fd, const void* key, void* value) {
    return bpf_map_lookup_elem(fd, key, value) == 0;
}

Datapath::Run Datapath::run(weir_hook hook, const Bytes& packet, const Source& source) {
    static constexpr const char* kStubs[] = {"stub_pod_from", "stub_pod_to", "stub_dev_in",
                                             "stub_dev_out"};
    __sk_buff context{};
    context.ifindex = source.ifindex;
    context.ingress_ifindex = source.ingress_ifindex;
    context.mark = source.mark;
    context.gso_size = source.gso_size;
    Run result;
    result.packet.resize(packet.size() + 256);
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(), .data_out = result.packet.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()),
                .data_size_out = static_cast<uint32_t>(result.packet.size()), .ctx_in = &context,
                .ctx_out = &context, .ctx_size_in = sizeof context, .ctx_size_out = sizeof context);
    if (bpf_prog_test_run_opts(program(kStubs[hook]), &opts) != 0) {
        broken("run a program");
    }
    result.verdict = static_cast<int>(opts.retval);
    result.packet.resize(opts.data_size_out);
    result.mark = context.mark;
    return result;
}

int Datapath::run_program(const std::string& name) {
    const Bytes packet(64);
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()));
    if (bpf_prog_test_run_opts(program(name), &opts) != 0) {
        broken("run " + name);
    }
    return static_cast<int>(opts.retval);
}

uint32_t Datapath::time_program(int fd, const Bytes& packet, unsigned ifindex, int repeat) {
    __sk_buff context{};
    context.ifindex = ifindex;
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.data(),
                .data_size_in = static_cast<uint32_t>(packet.size()), .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = repeat);
    if (bpf_prog_test_run_opts(fd, &opts) != 0) {
        broken("time a program");
    }
    return opts.duration;
}

uint64_t Datapath::drops(weir_drop_reason reason) {
    uint64_t sum = 0;
    std::vector<weir_count> values(static_cast<size_t>(libbpf_num_possible_cpus()));
    for (uint32_t direction = 0; direction < WEIR_DIRECTIONS; direction++) {
        const uint32_t key = uint32_t{reason} * WEIR_DIRECTIONS + direction;
        if (lookup(map("weir_drops"), &key, values.data())) {
            for (const auto& value : values) {
                sum += value.packets;
            }
        }
    }
    return sum;
}

uint64_t Datapath::counter(weir_counter counter) {
    uint64_t sum = 0;
    const uint32_t key = counter;
    std::vector<uint64_t> values(static_cast<size_t>(libbpf_num_possible_cpus()));
    if (lookup(map("weir_counters"), &key, values.data())) {
        for (const uint64_t value : values) {
            sum += value;
        }
    }
    return sum;
}

std::vector<weir_event> Datapath::events() {
    ring_buffer__consume(objects_->ring);
    return std::exchange(objects_->received, {});
}

namespace {

/// Calls `visit(fd, key, entry)` for each element of a table of flows.
template <typename Visit>
void walk(int fd, const Visit& visit) {
    std::array<uint8_t, 40> key{}, next{};
    std::vector<std::array<uint8_t, 40>> keys;
    for (void* at = nullptr; bpf_map_get_next_key(fd, at, next.data()) == 0; at = key.data()) {
        key = next;
        keys.push_back(key);
    }
    for (const auto& each : keys) {
        weir_ct entry;
        if (bpf_map_lookup_elem(fd, each.data(), &entry) == 0) {
            visit(fd, each.data(), entry);
        }
    }
}

template <typename Visit>
void walk_established(int outer, const Visit& visit) {
    for (uint32_t shard = 0; shard < WEIR_CT_SHARDS; shard++) {
        uint32_t id = 0;
        if (bpf_map_lookup_elem(outer, &shard, &id) != 0) {
            continue;
        }
        const int fd = bpf_map_get_fd_by_id(id);
        walk(fd, visit);
        close(fd);
    }
}

}  // namespace

void Datapath::set_counts(uint64_t word) {
    std::vector<uint32_t> keys(size_t{2} * WEIR_CT_COUNT_WORDS);
    std::iota(keys.begin(), keys.end(), 0);
    const std::vector<uint64_t> words(keys.size(), word);
    auto count = static_cast<uint32_t>(keys.size());
    if (bpf_map_update_batch(map("weir_ct_counts"), keys.data(), words.data(), &count, nullptr) !=
        0) {
        broken("set the counts of established flows");
    }
}

std::optional<size_t> Datapath::counted_flows() {
    size_t sum = 0;
    std::vector<uint32_t> keys(size_t{2} * WEIR_CT_COUNT_WORDS);
    std::vector<uint64_t> words(keys.size());
    auto count = static_cast<uint32_t>(keys.size());
    uint32_t next = 0;
    const int error = bpf_map_lookup_batch(map("weir_ct_counts"), nullptr, &next, keys.data(),
                                           words.data(), &count, nullptr);
    if ((error != 0 && errno != ENOENT) || count != words.size()) {
        broken("read the counts of established flows");
    }
    for (const uint64_t word : words) {
        for (unsigned shift = 0; word != WEIR_CT_COUNTS_NONE && shift < 64; shift += 4) {
            const auto own = static_cast<unsigned>(word >> shift & 15);
            if (own == WEIR_CT_COUNT_UNKNOWN) return std::nullopt;
            sum += own - WEIR_CT_COUNT_NONE;
        }
    }
    return sum;
}

void Datapath::reset() {
    const auto empty = [](int fd, const void* key, const weir_ct&) { remove(fd, key); };
    for (const char* name : {"weir_ct4", "weir_ct6"}) {
        walk_established(map(name), empty);
    }
    set_counts(WEIR_CT_COUNTS_NONE);
    for (const char* name :
         {"weir_half4", "weir_half6", "weir_frags", "weir_vips", "weir_pods", "weir_devices",
          "weir_node_addrs", "weir_cidrs", "weir_peers", "weir_socks", "weir_ranges",
          "weir_affinity", "weir_policy_addrs", "weir_policy_cidrs", "weir_policy_rows"}) {
        std::array<uint8_t, 64> key{};
        while (bpf_map_get_next_key(map(name), nullptr, key.data()) == 0) {
            remove(map(name), key.data());
        }
    }
    for (uint32_t i = 0; i < WEIR_NODE_PORT_WORDS; i++) {
        set("weir_node_ports", i, uint64_t{0});
    }
    for (uint32_t i = 0; i < 8; i++) {
        set("weir_services", i, weir_service{});
        set("weir_endpoints", i, weir_endpoint{});
    }
    const Bytes zero(static_cast<size_t>(libbpf_num_possible_cpus()) * sizeof(weir_count));
    for (uint32_t i = 0; i < uint32_t{WEIR_DROP_REASONS} * WEIR_DIRECTIONS; i++) {
        update(map("weir_drops"), &i, zero.data());
    }
    for (uint32_t i = 0; i < WEIR_COUNTERS; i++) {
        update(map("weir_counters"), &i, zero.data());
    }
    for (uint32_t i = 0; i < 256; i++) {
        update(map("weir_buckets"), &i, zero.data());
    }
    fill_programs();
    events();
}

size_t Datapath::half_count() {
    size_t count = 0;
    for (const char* name : {"weir_half4", "weir_half6"}) {
        walk(map(name), [&](int, const void*, const weir_ct&) { count++; });
    }
    return count;
}

size_t Datapath::established_count() {
    size_t count = 0;
    for (const char* name : {"weir_ct4", "weir_ct6"}) {
        walk_established(map(name), [&](int, const void*, const weir_ct&) { count++; });
    }
    return count;
}

void Datapath::push_out(const std::function<bool(const weir_ct&)>& which) {
    for (const char* name : {"weir_half4", "weir_half6"}) {
        walk(map(name), [&](int fd, const void* key, const weir_ct& entry) {
            if (which(entry)) remove(fd, key);
        });
    }
}

void Datapath::for_each_flow(const std::function<void(weir_ct&)>& change) {
    const auto visit = [&](int fd, const void* key, weir_ct entry) {
        change(entry);
        update(fd, key, &entry);
    };
    for (const char* name : {"weir_half4", "weir_half6"}) {
        walk(map(name), visit);
    }
    for (const char* name : {"weir_ct4", "weir_ct6"}) {
        walk_established(map(name), visit);
    }
}

namespace {

void add_pod(Datapath& d, uint32_t id, unsigned ifindex, const Mac& mac,
             const std::array<IpAddress, 2>& addresses) {
    weir_endpoint endpoint{};
    endpoint.ifindex = ifindex;
    endpoint.flags = WEIR_EP_IN_USE;
    std::memcpy(endpoint.mac, mac.data(), mac.size());
    for (size_t i = 0; i < 2; i++) {
        endpoint.addr[i] = addresses[i].abi();
        d.set("weir_pods", addresses[i].abi(), weir_pod_ref{id});
    }
    d.set("weir_endpoints", id, endpoint);
    weir_device device{};
    device.kind = WEIR_DEV_POD;
    device.endpoint = id;
    d.set("weir_devices", uint32_t{ifindex}, device);
}

void add_range(Datapath& d, const char* prefix, uint32_t flags) {
    const IpPrefix parsed = IpPrefix::parse(prefix).value();
    d.set("weir_cidrs", weir_cidr_key{parsed.mapped_length(), parsed.address().abi()}, flags);
}

}  // namespace

void populate(Datapath& d) {
    const World v4 = World::of(Family::kIpv4), v6 = World::of(Family::kIpv6);
    add_pod(d, 1, devices().pod_a, kPodAMac, {v4.pod_a, v6.pod_a});
    add_pod(d, 2, devices().pod_b, kPodBMac, {v4.pod_b, v6.pod_b});
    weir_device external{};
    external.kind = WEIR_DEV_EXTERNAL;
    external.addr[0] = v4.node.abi();
    external.addr[1] = v6.node.abi();
    d.set("weir_devices", uint32_t{devices().external}, external);
    weir_device host{};
    host.kind = WEIR_DEV_HOST;
    host.mac[0] = 2;
    d.set("weir_devices", uint32_t{devices().host}, host);
    for (const World& world : {v4, v6}) {
        d.set("weir_node_addrs", world.node.abi(), uint32_t{WEIR_NODE_ADDR_NODEPORT});
    }
    add_range(d, "10.0.0.0/16", WEIR_CIDR_POD);
    add_range(d, "10.0.1.0/24", WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS);
    add_range(d, "10.96.0.0/16", WEIR_CIDR_SERVICE);
    add_range(d, "fd00::/32", WEIR_CIDR_POD);
    add_range(d, "fd00:0:0:1::/64", WEIR_CIDR_POD | WEIR_CIDR_LOCAL_PODS);
    add_range(d, "fd00:96::/112", WEIR_CIDR_SERVICE);
}

void add_peer(Datapath& d, const IpAddress& owned, const IpAddress& outer) {
    weir_peer peer{};
    peer.outer = outer.abi();
    d.set("weir_peers", weir_cidr_key{128, owned.abi()}, peer);
}

void add_service(Datapath& d, const ServiceSpec& spec) {
    const auto add_vip = [&](const weir_vip_key& key, uint32_t flags) {
        d.set("weir_vips", key,
              weir_vip{spec.index, flags, weir_vip_check(&key, spec.index, flags)});
    };
    weir_vip_key key{};
    key.addr = spec.vip.abi();
    key.port = htobe16(80);
    key.proto = spec.proto;
    add_vip(key, spec.vip_flags);
    if (spec.vip_flags & WEIR_VIP_CLUSTER_IP) {
        key.port = 0;
        key.proto = 0;
        add_vip(key, spec.vip_flags);
    }
    if (spec.node_port) {
        weir_vip_key node{};
        if (spec.vip.is_v4()) {
            node.addr.w[2] = htobe32(0xffff);
        }
        node.port = htobe16(spec.node_port);
        node.proto = spec.proto;
        node.scope = WEIR_VIP_NODEPORT;
        add_vip(node, WEIR_VIP_EXTERNAL);
    }
    weir_service service{};
    service.proto = spec.proto;
    service.flags = WEIR_SVC_IN_USE | spec.flags;
    service.affinity_seconds = spec.affinity_seconds;
    uint32_t next = spec.index * 64;
    const auto add_scope = [&](int scope, const auto& backends) {
        const uint32_t tag = spec.index * 2 + static_cast<uint32_t>(scope) + 1;
        service.extent[scope] = WEIR_EXTENT(next, backends.size(), tag);
        for (const auto& [address, port] : backends) {
            weir_backend backend{};
            backend.addr = address.abi();
            backend.port = htobe16(port);
            backend.proto = spec.proto;
            backend.state = WEIR_BACKEND_READY;
            d.set("weir_backends", next, backend);
            d.set("weir_slots", next, slot_of(backend, next, tag));
            next++;
            service.flags |= WEIR_SVC_ANY_ENDPOINT;
        }
    };
    add_scope(WEIR_SCOPE_CLUSTER, spec.backends);
    add_scope(WEIR_SCOPE_LOCAL, spec.local);
    d.set("weir_services", spec.index, service);
}

void DatapathTest::SetUp() {
    if (geteuid() != 0) {
        GTEST_SKIP() << "needs root: loads programs and makes a network namespace";
    }
    world_ = World::of(GetParam());
    devices();
    static Datapath shared{{}};  // loading takes a second; emptying does not
    datapath_ = &shared;
    datapath_->reset();
    populate(*datapath_);
}

void DatapathTest::load(const Datapath::Options& options) {
    own_ = std::make_unique<Datapath>(options);
    datapath_ = own_.get();
    populate(*datapath_);
}

Datapath::Run DatapathTest::from(unsigned ifindex, const Frame& frame) {
    return datapath_->run(WEIR_HOOK_POD_FROM, build(frame), {.ifindex = ifindex});
}
Datapath::Run DatapathTest::from_outside(const Frame& frame) {
    return datapath_->run(WEIR_HOOK_DEV_IN, build(frame), {.ifindex = devices().external});
}
Datapath::Run DatapathTest::to_pod(unsigned ifindex, const Frame& frame, unsigned ingress) {
    return datapath_->run(WEIR_HOOK_POD_TO, build(frame),
                          {.ifindex = ifindex, .ingress_ifindex = ingress});
}
Datapath::Run DatapathTest::from_host(unsigned ifindex, const Frame& frame) {
    return datapath_->run(WEIR_HOOK_DEV_OUT, build(frame), {.ifindex = ifindex});
}

Frame DatapathTest::reply_to(const Frame& out) {
    return {.src = out.dst,
            .dst = out.src,
            .proto = out.proto,
            .sport = out.dport,
            .dport = out.sport,
            .tcp_flags = kSyn | kAck};
}

void DatapathTest::expect_clean(const Datapath::Run& run, int verdict) {
    EXPECT_EQ(run.verdict, verdict);
    EXPECT_EQ(defects(run.packet), "") << describe(run.packet);
}

}  // namespace weir::test
