// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "kube/decode_kinds.h"
#include "kube/validate.h"

namespace weir::kube {
namespace {

constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";
// Limits of the API.
constexpr size_t kMaxEndpoints = 1000;
constexpr size_t kMaxPorts = 100;
constexpr size_t kMaxAddresses = 100;

enum class AddressType : uint8_t { kIpv4, kIpv6, kFqdn };
constexpr std::array<std::pair<std::string_view, AddressType>, 3> kAddressTypes = {
    {{"IPv4", AddressType::kIpv4}, {"IPv6", AddressType::kIpv6}, {"FQDN", AddressType::kFqdn}}};

void decode_ports(const Cursor& ports, model::EndpointSlice& slice) {
    const auto items = ports.items();
    if (items.size() > kMaxPorts) ports.error("has over {} entries", kMaxPorts);
    std::set<model::Text> names;
    for (const Cursor& entry : items) {
        model::EndpointPort port;
        port.name = entry["name"].text();
        if (const auto problem = dns_label_problem(port.name); problem && !port.name.empty()) {
            entry["name"].error("\"{}\" is no port name: {}", port.name, *problem);
        }
        if (!names.insert(port.name).second) {
            entry["name"].error("\"{}\" names two ports of the slice", port.name);
        }
        port.protocol = entry["protocol"].protocol();
        // Without a number it would mean "all ports", which no proxy implements.
        if (!entry["port"].present()) continue;
        port.port = entry["port"].port().value_or(0);
        slice.ports.push_back(std::move(port));
    }
}

void decode_addresses(const Cursor& addresses, Family family, model::Endpoint& endpoint) {
    const auto items = addresses.items();
    if (items.empty()) addresses.error("needs at least one address");
    if (items.size() > kMaxAddresses) addresses.error("has over {} entries", kMaxAddresses);
    for (const Cursor& item : items) {
        const auto address = item.ip();
        if (!address) continue;
        check_reachable(item, *address);
        if (address->family() != family) {
            item.error("{} is not of the slice's addressType", address->to_string());
        }
        if (item.index() == items.front().index()) endpoint.address = *address;
    }
}

model::List<model::Text> decode_hints(const Cursor& hints) {
    model::List<model::Text> names;
    for (const Cursor& hint : hints.items()) {
        if (hint["name"].require()) names.push_back(hint["name"].text());
    }
    return names;
}

model::Endpoint decode_endpoint(const Cursor& entry, const model::EndpointSlice& slice) {
    model::Endpoint endpoint;
    decode_addresses(entry["addresses"], slice.family, endpoint);
    const Cursor conditions = entry["conditions"];
    endpoint.ready = conditions["ready"].boolean().value_or(true);
    endpoint.serving = conditions["serving"].boolean().value_or(true);
    endpoint.terminating = conditions["terminating"].boolean().value_or(false);
    endpoint.node_name = entry["nodeName"].text();
    endpoint.zone = entry["zone"].text();
    endpoint.zone_hints = decode_hints(entry["hints"]["forZones"]);
    endpoint.node_hints = decode_hints(entry["hints"]["forNodes"]);
    const Cursor target = entry["targetRef"];
    if (target["kind"].string() == "Pod") {
        const model::Text ns = target["namespace"].text();
        // Names of pods differ all: not worth a place in the pool.
        endpoint.target = {ns.empty() ? slice.meta.name.ns : ns,
                           target["name"].string().value_or("")};
    }
    return endpoint;
}

}  // namespace

std::optional<model::EndpointSlice> decode_endpoint_slice(const Cursor& root, model::Meta meta) {
    const Cursor address_type = root["addressType"];
    address_type.require();
    const auto type = address_type.choice(kAddressTypes, AddressType::kIpv4);
    if (type == AddressType::kFqdn) return std::nullopt;
    model::EndpointSlice slice;
    slice.meta = std::move(meta);
    slice.family = type == AddressType::kIpv4 ? Family::kIpv4 : Family::kIpv6;
    if (const auto it = slice.meta.labels.find(kServiceNameLabel); it != slice.meta.labels.end()) {
        slice.service = {slice.meta.name.ns, it->second};
    }
    decode_ports(root["ports"], slice);
    const Cursor endpoints = root["endpoints"];
    const auto items = endpoints.items();
    if (items.size() > kMaxEndpoints) endpoints.error("has over {} entries", kMaxEndpoints);
    slice.endpoints.reserve(items.size());
    for (const Cursor& entry : items)
        slice.endpoints.push_back(decode_endpoint(entry, slice));
    return slice;
}

}  // namespace weir::kube
