// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string_view>

namespace weir::agent {

/// The operations the agent serves, in the order of CniCounters::operations.
inline constexpr std::array<std::string_view, 5> kCniOperations = {"add", "del", "check", "gc",
                                                                   "status"};
/// Upper bounds of the latency histogram, in seconds; one more bucket holds what took longer.
inline constexpr std::array<double, 9> kCniLatencyBounds = {0.001, 0.0025, 0.005, 0.01, 0.02,
                                                            0.05,  0.1,    0.5,   2.0};

/// What the CNI service has done since it started; plain values, a snapshot.
struct CniCounters {
    struct Operation {
        std::map<unsigned, uint64_t> by_code;  ///< CNI error code, 0 for success; bounded
        std::array<uint64_t, kCniLatencyBounds.size() + 1> latency{};  ///< not cumulative
        double latency_sum = 0;                                        ///< seconds

        void count(unsigned code, std::chrono::duration<double> took) {
            ++by_code[code];
            size_t bucket = 0;
            while (bucket < kCniLatencyBounds.size() && took.count() > kCniLatencyBounds[bucket]) {
                ++bucket;
            }
            ++latency[bucket];
            latency_sum += took.count();
        }
    };
    std::array<Operation, kCniOperations.size()> operations;
    uint64_t queued_dels_done = 0;  ///< DELs taken from the queue
    uint64_t queued_dels_skipped =
        0;  ///< of an attachment that was made again since, or unreadable
};

}  // namespace weir::agent
