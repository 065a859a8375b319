// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "weir/lb.h"

namespace weir::lb {

inline constexpr unsigned kServiceWords = sizeof(weir_service) / sizeof(uint64_t);
uint64_t service_word(const weir_service& service, unsigned word);

struct WordStore {
    unsigned word;
    uint64_t value;
};

/// How to turn a live entry from `before` into `after` by single-word stores, so that every class
/// of lookup (ClusterIP; external address from outside; external address from a pod or this host)
/// has its old or its new verdict after each of them. The order depends on which scopes the
/// policies read before and after, and on which way WEIR_SVC_ANY_ENDPOINT goes; it is searched,
/// there are at most 24. No order exists only when both traffic policies turn in opposite
/// directions while the endpoints change too: then some lookups see the new endpoints under the old
/// policy for a moment. `external`: the port has external addresses.
std::vector<WordStore> order_stores(const weir_service& before, const weir_service& after,
                                    bool external);

}  // namespace weir::lb
