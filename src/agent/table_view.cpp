// SPDX-License-Identifier: Apache-2.0
#include "agent/table_view.h"

#include <algorithm>
#include <array>
#include <set>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <boost/json.hpp>

#include "common/fd.h"
#include "model/types.h"
#include "weir/ct.h"
#include "weir/lb.h"
#include "weir/limits.h"
#include "weir/maps.h"

namespace weir::api {
namespace {

constexpr double kTickSeconds = static_cast<double>(1ULL << WEIR_TICK_SHIFT) / 1e9;

struct ReasonName {
    const char* label;
    const char* text;
};
constexpr ReasonName kReasons[] = {
#define WEIR_DROP(name, label, text) {label, text},
#include "weir/drop_reasons.def"
#undef WEIR_DROP
};
constexpr const char* kDirections[] = {"from_pod", "to_pod", "from_outside", "from_host"};
constexpr const char* kKinds[] = {"plain", "service", "masquerade", "socket"};
constexpr const char* kBackendStates[] = {"free", "ready", "draining", "removed", "gone"};

template <size_t N>
std::string name_in(const char* const (&names)[N], size_t index) {
    return index < N ? names[index] : std::to_string(index);
}

std::string protocol_text(uint8_t protocol) {
    switch (protocol) {
        case IPPROTO_TCP:
            return "TCP";
        case IPPROTO_UDP:
            return "UDP";
        case IPPROTO_SCTP:
            return "SCTP";
        case IPPROTO_ICMP:
            return "ICMP";
        case IPPROTO_ICMPV6:
            return "ICMPv6";
        default:
            return std::to_string(protocol);
    }
}

std::string device_name(uint32_t ifindex) {
    std::array<char, IF_NAMESIZE> name{};
    return ifindex != 0 && ::if_indextoname(ifindex, name.data()) != nullptr ? name.data() : "";
}

std::string what_of(const std::string& map) {
#define WEIR_MAP(name, what) \
    if (map == #name) return what;
    WEIR_MAP_LIST(WEIR_MAP)
#undef WEIR_MAP
    return "";
}

// "shop/web:http" to its parts; what has no name is called by its number.
struct PortName {
    std::string ns;
    std::string service;
    std::string port;
};
PortName split_name(const std::string& name, uint32_t index) {
    const size_t slash = name.find('/');
    const size_t colon = name.find(':');
    if (slash == std::string::npos || colon == std::string::npos || colon < slash) {
        return {"", fmt::format("#{}", index), ""};
    }
    return {name.substr(0, slash), name.substr(slash + 1, colon - slash - 1),
            name.substr(colon + 1)};
}

std::string state_text(const datapath::TrackedFlow& flow) {
    if ((flow.flags & WEIR_CT_CLOSED) != 0) return "closed";
    if (!flow.established) return "new";
    const bool closing = flow.proto == IPPROTO_TCP &&
                         ((flow.tcp_flags[0] | flow.tcp_flags[1]) & (TH_FIN | TH_RST)) != 0;
    return closing ? "closing" : "established";
}

double seconds_between(uint32_t earlier, uint32_t later) {
    return later > earlier ? (later - earlier) * kTickSeconds : 0;
}

void add_once(std::vector<std::string>& list, std::string text) {
    if (std::ranges::find(list, text) == list.end()) list.push_back(std::move(text));
}

// One VIP of a Service port, added to what is shown of it.
void add_vip(Service& service, ServicePort& port, const weir_vip_key& key, uint32_t flags) {
    const IpAddress address(key.addr);
    if (key.scope == WEIR_VIP_NODEPORT) {
        port.node_port = ntohs(key.port);
        if (service.type == "ClusterIP") service.type = "NodePort";
        return;
    }
    const std::string text = address.to_string();
    port.addresses.push_back(address.with_port(ntohs(key.port)));
    auto& list = (flags & WEIR_VIP_CLUSTER_IP) != 0 ? service.cluster_ips : service.external_ips;
    add_once(list, text);
}

std::optional<IpPrefix> prefix_of(const weir_range_key& key) {
    const IpAddress address(key.addr);
    const uint32_t family_bits = WEIR_RANGE_SERVICE_BITS + (address.is_v4() ? 96U : 0U);
    if (key.prefixlen < family_bits) return std::nullopt;
    const auto prefix = IpPrefix::make(address, key.prefixlen - family_bits);
    return prefix ? std::optional(*prefix) : std::nullopt;
}

// One source range, added to what is shown of its Service. The unspecified address stands for the
// host; the load-balancer addresses that go with it are no news.
void add_range(Service& service, const IpPrefix& prefix, uint32_t verdict) {
    if (verdict != WEIR_RANGE_ADMIT) return;
    const IpAddress address = prefix.address();
    const bool whole = prefix.mapped_length() == 128;
    const bool own =
        std::ranges::find(service.external_ips, address.to_string()) != service.external_ips.end();
    if (whole && own) return;
    add_once(service.source_ranges,
             whole && address.is_unspecified() ? "this host" : prefix.to_string());
}

// What the restricted Services admit.
void add_ranges(const std::vector<std::pair<weir_range_key, uint32_t>>& ranges,
                const std::map<uint32_t, std::pair<Service*, size_t>>& by_index,
                const std::set<Service*>& restricted) {
    for (const auto& [key, verdict] : ranges) {
        const auto found = by_index.find(key.service);
        if (found == by_index.end() || !restricted.contains(found->second.first)) continue;
        if (const auto prefix = prefix_of(key)) add_range(*found->second.first, *prefix, verdict);
    }
    for (Service* service : restricted) {
        if (service->source_ranges.empty()) service->source_ranges = {"nobody"};
    }
}

Service make_service(const PortName& name, const weir_service& value) {
    Service service;
    service.ns = name.ns;
    service.name = name.service;
    service.type = name.service.starts_with(model::kHostPortOwner) ? "HostPort" : "ClusterIP";
    service.internal_policy = (value.flags & WEIR_SVC_INTERNAL_LOCAL) != 0 ? "Local" : "Cluster";
    service.external_policy = (value.flags & WEIR_SVC_EXTERNAL_LOCAL) != 0 ? "Local" : "Cluster";
    if ((value.flags & WEIR_SVC_AFFINITY) != 0) service.affinity_seconds = value.affinity_seconds;
    return service;
}

}  // namespace

Result<void> SavedNames::save(const std::filesystem::path& run_dir) const {
    const boost::json::value value = {{"pods", boost::json::value_from(pods)},
                                      {"services", boost::json::value_from(services)}};
    return write_file_atomic(path(run_dir), boost::json::serialize(value) + "\n");
}

SavedNames SavedNames::load(const std::filesystem::path& run_dir) {
    SavedNames names;
    const auto text = read_file(path(run_dir));
    if (!text) return names;
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(*text, error);
    if (error || !value.is_object()) return names;
    const auto read = [&](const char* key, std::map<std::string, std::string>& into) {
        const auto* entries = value.get_object().if_contains(key);
        if (entries == nullptr || !entries->is_object()) return;
        for (const auto& [name, text_value] : entries->get_object()) {
            if (text_value.is_string()) into[name] = std::string(text_value.get_string());
        }
    };
    read("pods", names.pods);
    read("services", names.services);
    return names;
}

std::string SavedNames::pod(const IpAddress& address) const {
    const auto found = pods.find(address.to_string());
    return found == pods.end() ? "" : found->second;
}

std::string SavedNames::service(uint32_t index) const {
    const auto found = services.find(std::to_string(index));
    return found == services.end() ? "" : found->second;
}

Result<std::vector<Pod>> TableView::pods() const {
    std::vector<Pod> pods;
    for (const auto& [id, endpoint] : WEIR_TRY(reader_.endpoints())) {
        if ((endpoint.flags & WEIR_EP_IN_USE) == 0) continue;
        Pod pod;
        pod.endpoint = id;
        pod.ifindex = endpoint.ifindex;
        pod.device = device_name(endpoint.ifindex);
        std::string name;
        for (const auto& abi : endpoint.addr) {
            const IpAddress address(abi);
            if (address == IpAddress()) continue;
            pod.ips.push_back(address.to_string());
            if (name.empty()) name = names_.pod(address);
        }
        const size_t slash = name.find('/');
        if (slash == std::string::npos) {
            pod.name = fmt::format("#{}", id);
        } else {
            pod.ns = name.substr(0, slash);
            pod.name = name.substr(slash + 1);
        }
        pods.push_back(std::move(pod));
    }
    return pods;
}

Result<std::vector<ServiceBackend>> TableView::backends_of(
    const weir_service& service, const std::map<uint32_t, weir_backend>& all) const {
    std::set<uint32_t> ids;
    std::set<uint32_t> local;
    for (const auto scope : {WEIR_SCOPE_CLUSTER, WEIR_SCOPE_LOCAL}) {
        for (const uint32_t id : WEIR_TRY(reader_.backends_of(service, scope))) {
            ids.insert(id);
            if (scope == WEIR_SCOPE_LOCAL) local.insert(id);
        }
    }
    std::vector<ServiceBackend> backends;
    for (const uint32_t id : ids) {
        const auto found = all.find(id);
        if (found == all.end()) continue;
        const IpAddress address(found->second.addr);
        ServiceBackend backend;
        backend.address = address.to_string();
        backend.port = ntohs(found->second.port);
        backend.state = name_in(kBackendStates, found->second.state);
        backend.pod = names_.pod(address);
        backend.local = local.contains(id);
        backends.push_back(std::move(backend));
    }
    return backends;
}

Result<std::vector<Service>> TableView::services() const {
    std::map<uint32_t, weir_backend> all;
    for (const auto& [id, backend] : WEIR_TRY(reader_.backends()))
        all.emplace(id, backend);
    std::map<std::pair<std::string, std::string>, Service> by_name;
    std::map<uint32_t, std::pair<Service*, size_t>> by_index;
    for (const auto& [index, value] : WEIR_TRY(reader_.services())) {
        const PortName name = split_name(names_.service(index), index);
        Service& service =
            by_name.try_emplace({name.ns, name.service}, make_service(name, value)).first->second;
        ServicePort port;
        port.name = name.port;
        port.protocol = protocol_text(value.proto);
        port.port = ntohs(value.port);
        port.index = index;
        port.backends = WEIR_TRY(backends_of(value, all));
        service.ports.push_back(std::move(port));
        by_index[index] = {&service, service.ports.size() - 1};
    }
    std::set<Service*> restricted;
    for (const auto& [key, vip] : WEIR_TRY(reader_.vips())) {
        const auto found = by_index.find(vip.service);
        if (found == by_index.end()) continue;
        const auto [service, at] = found->second;
        ServicePort& port = service->ports[at];
        port.family = IpAddress(key.addr).is_v4() ? "IPv4" : "IPv6";
        add_vip(*service, port, key, vip.flags);
        if ((vip.flags & WEIR_VIP_SOURCE_RANGES) != 0) restricted.insert(service);
    }
    add_ranges(WEIR_TRY(reader_.ranges()), by_index, restricted);
    std::vector<Service> services;
    for (auto& [name, service] : by_name)
        services.push_back(std::move(service));
    return services;
}

Result<std::vector<Backend>> TableView::backends() const {
    std::map<uint32_t, std::set<std::string>> users;
    for (const auto& [index, service] : WEIR_TRY(reader_.services())) {
        const std::string name = names_.service(index);
        for (const auto scope : {WEIR_SCOPE_CLUSTER, WEIR_SCOPE_LOCAL}) {
            for (const uint32_t id : WEIR_TRY(reader_.backends_of(service, scope))) {
                users[id].insert(name.empty() ? fmt::format("#{}", index) : name);
            }
        }
    }
    std::vector<Backend> backends;
    for (const auto& [id, value] : WEIR_TRY(reader_.backends())) {
        const IpAddress address(value.addr);
        Backend backend;
        backend.id = id;
        backend.address = address.to_string();
        backend.port = ntohs(value.port);
        backend.protocol = protocol_text(value.proto);
        backend.state = name_in(kBackendStates, value.state);
        backend.pod = names_.pod(address);
        backend.services.assign(users[id].begin(), users[id].end());
        backends.push_back(std::move(backend));
    }
    return backends;
}

Result<std::vector<Drop>> TableView::drops() const {
    std::vector<Drop> drops;
    for (const auto& count : WEIR_TRY(reader_.drops())) {
        const auto reason = static_cast<size_t>(count.reason);
        const bool known = reason < std::size(kReasons);
        drops.push_back({known ? kReasons[reason].label : fmt::format("#{}", reason),
                         name_in(kDirections, static_cast<size_t>(count.direction)),
                         count.count.packets, count.count.bytes,
                         known ? kReasons[reason].text : ""});
    }
    return drops;
}

Result<std::vector<Map>> TableView::maps() const {
    std::vector<Map> maps;
    for (const auto& use : WEIR_TRY(reader_.table_use())) {
        maps.push_back({use.name, what_of(use.name), use.entries, use.capacity, use.memory});
    }
    return maps;
}

Conntrack TableView::conntrack_entry(const datapath::TrackedFlow& flow) const {
    const uint32_t now = datapath::current_tick();
    const bool rewrites_orig = (flow.flags & WEIR_CT_REWRITE_ORIG) != 0;
    const bool rewrites_reply = (flow.flags & WEIR_CT_REWRITE_REPLY) != 0;
    Conntrack entry;
    entry.family = flow.source.address.is_v4() ? "IPv4" : "IPv6";
    entry.protocol = protocol_text(flow.proto);
    entry.state = state_text(flow);
    entry.kind = name_in(kKinds, flow.kind);
    entry.source = flow.source.address.to_string();
    entry.source_port = flow.source.port;
    entry.destination = flow.destination.address.to_string();
    entry.destination_port = flow.destination.port;
    if (rewrites_orig || rewrites_reply) {
        entry.nat_source = flow.nat_source.address.to_string();
        entry.nat_source_port = flow.nat_source.port;
        entry.nat_destination = flow.nat_destination.address.to_string();
        entry.nat_destination_port = flow.nat_destination.port;
        entry.rewrites = rewrites_orig ? "orig" : "reply";
    }
    entry.source_pod = names_.pod(flow.source.address);
    entry.destination_pod = names_.pod(flow.destination.address);
    if (flow.service != 0) {
        const std::string name = names_.service(flow.service);
        entry.service = name.empty() ? fmt::format("#{}", flow.service) : name;
    }
    entry.device = device_name(flow.ifindex);
    entry.age_seconds = seconds_between(flow.created, now);
    entry.idle_seconds = seconds_between(flow.seen, now);
    entry.expires_seconds = seconds_between(now, flow.expires);
    return entry;
}

Result<void> TableView::conntrack(const ConntrackFilter& filter,
                                  const std::function<bool(const Conntrack&)>& visit) const {
    return reader_.flows([&](const datapath::TrackedFlow& flow) {
        const Conntrack entry = conntrack_entry(flow);
        return !filter.matches(entry) || visit(entry);
    });
}

}  // namespace weir::api
