// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/ip.h"
#include "common/result.h"
#include "datapath/maps.h"

namespace weir::datapath {

/// A local pod as the tables need it.
struct EndpointSpec {
    std::optional<IpAddress> ipv4;
    std::optional<IpAddress> ipv6;
    uint32_t ifindex = 0;          ///< host side of its veth
    std::array<uint8_t, 6> mac{};  ///< of its own interface
    uint32_t mtu = 0;
    uint64_t netns_cookie = 0;  ///< 0: unknown, the socket hooks leave it to tc
    bool socket_hooks = true;   ///< false: its namespace opted out
};

/// A pod in the tables.
struct Endpoint {
    uint32_t id = 0;
    EndpointSpec spec;
    uint16_t generation = 0;
};

/// Ids and table entries of local pods. The kernel's tables are the record: adopt() reads them
/// back. One thread at a time.
class EndpointTable {
  public:
    /// `tables` is borrowed. Use adopt() first.
    explicit EndpointTable(const Tables& tables) : tables_(&tables) {}
    /// Reads what the tables hold; mends what a dead agent left half made.
    Result<void> adopt();

    [[nodiscard]] const std::map<uint32_t, Endpoint>& all() const { return endpoints_; }
    [[nodiscard]] const Endpoint* find(uint32_t id) const;
    [[nodiscard]] const Endpoint* find(const IpAddress& address) const;

    /// Takes an id without writing anything: the veth's filters carry it before the tables do. Ids
    /// freed last are given out last. kExhausted: the table is full.
    Result<uint32_t> reserve();
    /// Gives back an id that was reserved and not added.
    void release(uint32_t id);
    /// Writes a pod under a reserved id; nothing passes to or from it before set_policy(). Element
    /// first, what refers to it after; on failure what was written is taken back. kExists: another
    /// pod has the address.
    Result<Endpoint> add(uint32_t id, const EndpointSpec& spec);
    /// Removes a pod: references first, element last. False: no such id.
    Result<bool> remove(uint32_t id);

    /// Puts a pod under another policy, by one store, as programs of `bank` see it. False: the id
    /// is another pod's by now, or nobody's.
    Result<bool> set_policy(uint32_t id, uint16_t generation, uint32_t bank, uint64_t word);
    /// No word of a pod of this node, however long ago, had an epoch as high as this; of words with
    /// WEIR_POLICY_EPOCH_UNKNOWN apart.
    [[nodiscard]] Result<uint32_t> next_epoch() const;

  private:
    Result<void> read_back();
    Result<void> mend();
    Result<void> write(const Endpoint& endpoint);
    Result<void> erase(const Endpoint& endpoint);
    void remember_addresses(const Endpoint& endpoint);

    const Tables* tables_;
    std::map<uint32_t, Endpoint> endpoints_;
    std::map<IpAddress, uint32_t> by_address_;
    std::deque<uint32_t> free_;  // front: unused longest
};

}  // namespace weir::datapath
