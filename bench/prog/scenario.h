// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "bpf/packet.h"
#include "common/result.h"
#include "prog/harness.h"
#include "prog/node.h"

namespace weir::bench {

/// Packets of one kind: what is sent where, and what must come of it.
struct Scenario {
    enum class Kind : uint8_t { kPlain, kService, kNodePort };

    std::string name;
    Kind kind = Kind::kPlain;
    /// Every packet is the first of its flow, and so many are half open at a time; 0: none is.
    uint32_t half_open = 0;
    double aim_ns = 0;     ///< over an empty program
    bool warm = false;     ///< of few flows, whose memory the caches hold
    bool one_way = false;  ///< flows that exist, but nobody ever answers
    std::vector<test::Frame> frames;
    std::vector<uint32_t> senders;  ///< by frame: endpoint id, 0: from outside

    [[nodiscard]] const char* hook() const {
        return kind == Kind::kNodePort ? "dev_in" : "pod_from";
    }
    [[nodiscard]] unsigned entries_a_flow() const { return kind == Kind::kPlain ? 1 : 2; }
    /// Cache lines that such a packet touches and a cache is not likely to hold, because they are
    /// of tables larger than that: known from the layout of the maps, not measured.
    [[nodiscard]] unsigned cold_lines() const;
    /// Empty: this is what `frame` must become.
    [[nodiscard]] std::string wrong(const test::Frame& frame, const Harness::One& one) const;
};

/// `ports` tells scenarios apart that have the same ends: it is added to the client's ports.
Scenario plain(const Node& node, Family family, uint8_t tcp_flags, uint16_t first_port);
Scenario service(const Node& node, Family family, uint8_t tcp_flags, uint16_t first_port);
Scenario node_port(const Node& node, Family family, uint8_t tcp_flags, uint16_t first_port);
/// Packets of the first flows only, again and again: what is left when caches hold them.
inline constexpr uint32_t kFewFlows = 256;
Scenario few(Scenario scenario);
/// Few flows of datagrams to Services, which nobody answers: they stay half open.
Scenario datagrams(const Node& node, Family family, uint16_t client_port);

/// Lets the flows of these packets begin and, unless they go one way, be answered, so that all are
/// established.
Result<void> establish(Node& node, Harness& harness, const Scenario& scenario);

}  // namespace weir::bench
