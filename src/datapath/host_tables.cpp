// SPDX-License-Identifier: Apache-2.0
#include "datapath/host_tables.h"

#include <cstring>
#include <set>
#include <string_view>

namespace weir::datapath {
namespace {

template <typename T>
bool same_bytes(const T& a, const T& b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

template <typename T>
std::string bytes_of(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// `ours` tells which of the elements found may be removed.
template <typename Map, typename Pairs, typename Ours>
Result<SyncCount> sync(const Map& map, const Pairs& desired, Ours&& ours) {
    SyncCount count;
    std::set<std::string> wanted;
    for (const auto& [key, value] : desired) {
        wanted.insert(bytes_of(key));
        const auto old = WEIR_TRY(map.find(key));
        if (old && same_bytes(*old, value)) continue;
        WEIR_CHECK(map.put(key, value));
        ++count.written;
    }
    for (const auto& [key, value] : WEIR_TRY(map.all())) {
        if (wanted.contains(bytes_of(key)) || !ours(key, value)) continue;
        WEIR_TRY(map.erase(key));
        ++count.removed;
    }
    return count;
}

// An LPM lookup answers for the longest prefix that covers the key: what is there exactly is known
// only by a walk.
template <typename Value>
Result<SyncCount> sync_prefixes(const LpmMap<weir_cidr_key, Value>& map,
                                const std::map<IpPrefix, Value>& desired) {
    std::map<std::string, Value> present;
    const auto entries = WEIR_TRY(map.all());
    for (const auto& [key, value] : entries)
        present.emplace(bytes_of(key), value);
    SyncCount count;
    std::set<std::string> wanted;
    for (const auto& [prefix, value] : desired) {
        const weir_cidr_key key{.prefixlen = prefix.mapped_length(),
                                .addr = prefix.address().abi()};
        wanted.insert(bytes_of(key));
        const auto old = present.find(bytes_of(key));
        if (old != present.end() && same_bytes(old->second, value)) continue;
        WEIR_CHECK(map.put(key, value));
        ++count.written;
    }
    for (const auto& [key, value] : entries) {
        if (wanted.contains(bytes_of(key))) continue;
        WEIR_TRY(map.erase(key));
        ++count.removed;
    }
    return count;
}

constexpr auto kAll = [](const auto&, const auto&) { return true; };

}  // namespace

Result<SyncCount> sync_node_addresses(const Tables& tables,
                                      const std::map<IpAddress, uint32_t>& desired) {
    std::vector<std::pair<weir_addr, uint32_t>> pairs;
    for (const auto& [address, flags] : desired)
        pairs.emplace_back(address.abi(), flags);
    return sync(tables.node_addrs, pairs, kAll);
}

Result<SyncCount> sync_cidrs(const Tables& tables, const std::map<IpPrefix, uint32_t>& desired) {
    return sync_prefixes(tables.cidrs, desired);
}

Result<SyncCount> sync_peers(const Tables& tables, const Peers& desired) {
    std::map<IpPrefix, weir_peer> values;
    for (const auto& [prefix, peer] : desired) {
        weir_peer value{};
        value.outer = peer.outer.abi();
        if (!peer.local.is_unspecified()) value.local = peer.local.abi();
        value.flags = peer.is_node ? WEIR_PEER_NODE : 0U;
        values.emplace(prefix, value);
    }
    return sync_prefixes(tables.peers, values);
}

Result<SyncCount> sync_devices(const Tables& tables,
                               const std::map<uint32_t, weir_device>& desired) {
    return sync(tables.devices, desired,
                [](uint32_t, const weir_device& device) { return device.kind != WEIR_DEV_POD; });
}

Result<void> set_host_netns(const Tables& tables, uint64_t cookie) {
    for (const auto& [key, netns] : WEIR_TRY(tables.netns.all())) {
        if (netns.endpoint == 0 && key != cookie) WEIR_TRY(tables.netns.erase(key));
    }
    if (cookie == 0) return {};
    return tables.netns.put(cookie, {.endpoint = 0, .flags = 0});
}

}  // namespace weir::datapath
