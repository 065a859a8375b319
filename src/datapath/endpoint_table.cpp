// SPDX-License-Identifier: Apache-2.0
#include "datapath/endpoint_table.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <set>

#include "weir/policy.h"

namespace weir::datapath {
namespace {

std::vector<IpAddress> addresses_of(const EndpointSpec& spec) {
    std::vector<IpAddress> addresses;
    if (spec.ipv4) addresses.push_back(*spec.ipv4);
    if (spec.ipv6) addresses.push_back(*spec.ipv6);
    return addresses;
}

constexpr uint64_t kClosed = WEIR_POLICY_WORD(WEIR_POLICY_SET_CLOSED, 0, WEIR_POLICY_EPOCH_UNKNOWN);

/// Of an element of this build, or of one without policies.
uint16_t generation_of(const weir_endpoint& abi) {
    const bool policed = (abi.flags & WEIR_EP_POLICED) != 0;
    return policed ? abi.generation : static_cast<uint16_t>(WEIR_POLICY_WORD_EPOCH(abi.policy[0]));
}

bool is_zero(const weir_addr& addr) {
    return (addr.w[0] | addr.w[1] | addr.w[2] | addr.w[3]) == 0;
}

weir_endpoint to_abi(const Endpoint& endpoint) {
    const EndpointSpec& spec = endpoint.spec;
    weir_endpoint abi{};
    if (spec.ipv4) abi.addr[0] = spec.ipv4->abi();
    if (spec.ipv6) abi.addr[1] = spec.ipv6->abi();
    abi.ifindex = spec.ifindex;
    abi.flags =
        WEIR_EP_IN_USE | WEIR_EP_POLICED | (spec.socket_hooks ? 0U : uint32_t{WEIR_EP_SOCK_OFF});
    std::memcpy(abi.mac, spec.mac.data(), spec.mac.size());
    abi.generation = endpoint.generation;
    return abi;
}

weir_device to_device(const Endpoint& endpoint) {
    weir_device device{};
    device.kind = WEIR_DEV_POD;
    device.endpoint = endpoint.id;
    device.mtu = endpoint.spec.mtu;
    std::memcpy(device.mac, endpoint.spec.mac.data(), endpoint.spec.mac.size());
    return device;
}

Endpoint from_abi(uint32_t id, const weir_endpoint& abi) {
    Endpoint endpoint{.id = id, .generation = generation_of(abi)};
    if (!is_zero(abi.addr[0])) endpoint.spec.ipv4 = IpAddress(abi.addr[0]);
    if (!is_zero(abi.addr[1])) endpoint.spec.ipv6 = IpAddress(abi.addr[1]);
    endpoint.spec.ifindex = abi.ifindex;
    std::memcpy(endpoint.spec.mac.data(), abi.mac, sizeof abi.mac);
    endpoint.spec.socket_hooks = (abi.flags & WEIR_EP_SOCK_OFF) == 0;
    return endpoint;
}

}  // namespace

Result<void> EndpointTable::adopt() {
    endpoints_.clear();
    by_address_.clear();
    free_.clear();
    WEIR_CHECK(read_back());
    return mend();
}

const Endpoint* EndpointTable::find(uint32_t id) const {
    const auto it = endpoints_.find(id);
    return it == endpoints_.end() ? nullptr : &it->second;
}

const Endpoint* EndpointTable::find(const IpAddress& address) const {
    const auto it = by_address_.find(address);
    return it == by_address_.end() ? nullptr : find(it->second);
}

void EndpointTable::remember_addresses(const Endpoint& endpoint) {
    for (const IpAddress& address : addresses_of(endpoint.spec)) {
        by_address_.insert_or_assign(address, endpoint.id);
    }
}

Result<void> EndpointTable::read_back() {
    // Ids with the lowest generation were used least: they come first.
    std::vector<std::pair<uint16_t, uint32_t>> unused;
    for (uint32_t id = 1; id < tables_->endpoints.size(); ++id) {
        const weir_endpoint abi = WEIR_TRY(tables_->endpoints.get(id));
        if ((abi.flags & WEIR_EP_IN_USE) == 0) {
            unused.emplace_back(generation_of(abi), id);
            continue;
        }
        endpoints_.emplace(id, from_abi(id, abi));
        remember_addresses(endpoints_.at(id));
    }
    std::ranges::sort(unused);
    for (const auto& [generation, id] : unused)
        free_.push_back(id);
    for (const auto& [ifindex, device] : WEIR_TRY(tables_->devices.all())) {
        const auto it = endpoints_.find(device.endpoint);
        if (device.kind == WEIR_DEV_POD && it != endpoints_.end()) it->second.spec.mtu = device.mtu;
    }
    for (const auto& [cookie, netns] : WEIR_TRY(tables_->netns.all())) {
        const auto it = endpoints_.find(netns.endpoint);
        if (it != endpoints_.end()) it->second.spec.netns_cookie = cookie;
    }
    return {};
}

// A dead agent may have left an element without its references (add: they are written again, which
// changes nothing where they exist) or references without their element (remove: they go).
Result<void> EndpointTable::mend() {
    for (const auto& [address, ref] : WEIR_TRY(tables_->pods.all())) {
        const Endpoint* owner = find(IpAddress(address));
        if (owner == nullptr || owner->id != ref.endpoint) WEIR_TRY(tables_->pods.erase(address));
    }
    for (const auto& [ifindex, device] : WEIR_TRY(tables_->devices.all())) {
        if (device.kind != WEIR_DEV_POD) continue;
        const Endpoint* owner = find(device.endpoint);
        if (owner == nullptr || owner->spec.ifindex != ifindex) {
            WEIR_TRY(tables_->devices.erase(ifindex));
        }
    }
    for (const auto& [cookie, netns] : WEIR_TRY(tables_->netns.all())) {
        if (netns.endpoint == 0) continue;  // the host's own
        const Endpoint* owner = find(netns.endpoint);
        if (owner == nullptr || owner->spec.netns_cookie != cookie) {
            WEIR_TRY(tables_->netns.erase(cookie));
        }
    }
    for (const auto& [id, endpoint] : endpoints_)
        WEIR_CHECK(write(endpoint));
    return {};
}

Result<uint32_t> EndpointTable::reserve() {
    if (free_.empty()) {
        return fail(
            Errc::kExhausted,
            "all {} endpoints of this node are in use; raise --max-pods, which takes effect after "
            "`weir cleanup`",
            tables_->endpoints.size() - 1);
    }
    const uint32_t id = free_.front();
    free_.pop_front();
    return id;
}

void EndpointTable::release(uint32_t id) {
    free_.push_back(id);
}

// The policy words of an element belong to others: a rewrite at adoption keeps them. A new pod, and
// one of a build without policies, is under none that is known, whichever programs are in force.
Result<void> EndpointTable::write(const Endpoint& endpoint) {
    weir_endpoint abi = to_abi(endpoint);
    std::ranges::fill(abi.policy, kClosed);
    const weir_endpoint old = WEIR_TRY(tables_->endpoints.get(endpoint.id));
    constexpr uint32_t kKept = WEIR_EP_IN_USE | WEIR_EP_POLICED;
    if (generation_of(old) == endpoint.generation && (old.flags & kKept) == kKept) {
        std::ranges::copy(old.policy, abi.policy);
    }
    WEIR_CHECK(tables_->endpoints.put(endpoint.id, abi));
    WEIR_CHECK(tables_->devices.put(endpoint.spec.ifindex, to_device(endpoint)));
    for (const IpAddress& address : addresses_of(endpoint.spec)) {
        WEIR_CHECK(tables_->pods.put(address.abi(), {.endpoint = endpoint.id}));
    }
    if (endpoint.spec.netns_cookie == 0) return {};
    return tables_->netns.put(endpoint.spec.netns_cookie,
                              {.endpoint = endpoint.id, .flags = abi.flags & WEIR_EP_SOCK_OFF});
}

Result<void> EndpointTable::erase(const Endpoint& endpoint) {
    if (endpoint.spec.netns_cookie != 0) {
        WEIR_TRY(tables_->netns.erase(endpoint.spec.netns_cookie));
    }
    for (const IpAddress& address : addresses_of(endpoint.spec)) {
        WEIR_TRY(tables_->pods.erase(address.abi()));
    }
    WEIR_TRY(tables_->devices.erase(endpoint.spec.ifindex));
    // The generation stays: the next pod with this id continues it.
    weir_endpoint empty{};
    empty.flags = WEIR_EP_POLICED;
    empty.generation = endpoint.generation;
    return tables_->endpoints.put(endpoint.id, empty);
}

Result<Endpoint> EndpointTable::add(uint32_t id, const EndpointSpec& spec) {
    for (const IpAddress& address : addresses_of(spec)) {
        const Endpoint* owner = find(address);
        if (owner == nullptr) continue;
        return fail(Errc::kExists, "the address {} belongs to endpoint {} (device {})",
                    address.to_string(), owner->id, owner->spec.ifindex);
    }
    const weir_endpoint old = WEIR_TRY(tables_->endpoints.get(id));
    const Endpoint endpoint{
        .id = id, .spec = spec, .generation = static_cast<uint16_t>(generation_of(old) + 1)};
    if (auto written = write(endpoint); !written) {
        (void)erase(endpoint);  // the first failure is the one to report
        return Failure(std::move(written).error().with("endpoint {}", id));
    }
    endpoints_.insert_or_assign(id, endpoint);
    remember_addresses(endpoint);
    return endpoint;
}

namespace {

constexpr size_t word_offset(uint32_t bank) {
    return offsetof(weir_endpoint, policy) + bank % WEIR_BANKS * sizeof(uint64_t);
}

/// Of the element that no pod has: where the highest epoch ever given out is kept.
constexpr uint32_t kNobody = 0;

}  // namespace

// The epoch is on record before any program sees it.
Result<bool> EndpointTable::set_policy(uint32_t id, uint16_t generation, uint32_t bank,
                                       uint64_t word) {
    const Endpoint* endpoint = find(id);
    if (endpoint == nullptr || endpoint->generation != generation) return false;
    const uint32_t epoch = WEIR_POLICY_WORD_EPOCH(word);
    if (epoch != WEIR_POLICY_EPOCH_UNKNOWN && epoch >= WEIR_TRY(next_epoch())) {
        WEIR_CHECK(tables_->endpoints.store64(kNobody, word_offset(0),
                                              WEIR_POLICY_WORD(WEIR_POLICY_SET_NONE, 0, epoch)));
    }
    WEIR_CHECK(tables_->endpoints.store64(id, word_offset(bank), word));
    return true;
}

Result<uint32_t> EndpointTable::next_epoch() const {
    const weir_endpoint nobody = WEIR_TRY(tables_->endpoints.get(kNobody));
    return WEIR_POLICY_WORD_EPOCH(nobody.policy[0]) + 1;
}

Result<bool> EndpointTable::remove(uint32_t id) {
    const auto it = endpoints_.find(id);
    if (it == endpoints_.end()) return false;
    WEIR_CHECK(erase(it->second));
    for (const IpAddress& address : addresses_of(it->second.spec))
        by_address_.erase(address);
    endpoints_.erase(it);
    release(id);
    return true;
}

}  // namespace weir::datapath
