// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "weir/policy.h"

namespace weir::policy {

/// The protocols that cells tell apart, in their order.
enum class Portion : uint8_t { kTcp, kUdp, kSctp, kOther };
inline constexpr size_t kPortions = 4;

/// A rule that matches, for a range of ports of one protocol; of kOther, the range means nothing.
struct Match {
    weir_policy_tier tier = WEIR_POLICY_NETWORK;
    Portion portion = Portion::kTcp;
    uint16_t rule = 0;
    uint16_t first = 0;
    uint16_t last = 65535;
};

/// Cells of one row, as the kernel has them: those of TCP, UDP and SCTP, then the one of the rest.
struct Cells {
    std::array<uint32_t, 3> counts{};
    std::vector<uint64_t> words;
    bool operator==(const Cells&) const = default;
    [[nodiscard]] std::span<const uint64_t> portion(Portion which) const;
    /// True if no rule is in it.
    [[nodiscard]] bool empty() const;
};

/// The first rule of each tier for every port; n log n in the matches.
[[nodiscard]] Cells build_cells(std::span<const Match> matches);

/// Cells in which each cell of several becomes one rule, that of `pick`, in the Admin place: for
/// rows that stand for themselves.
using Pick = std::function<uint16_t(std::span<const uint64_t> cells)>;
[[nodiscard]] Cells merge_cells(std::span<const Cells> several, const Pick& pick);

}  // namespace weir::policy
