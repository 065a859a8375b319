// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "lb/reference.h"
#include "weir/lb.h"

/// Random worlds: few names, addresses and ports, so that they meet often. Inside properties only.
namespace weir::lb::test {

inline constexpr const char* kServices[] = {"s0", "s1", "s2", "s3"};

/// 0 ... limit - 1.
int below(int limit);
bool one_in(int n);

/// Changes one to three Services, their endpoints, or both; returns their names.
std::set<std::string> edit(World& world);

struct Question {
    Probe probe;
    weir_vip_key key;
};
/// Every address and port that such a world can answer on.
const std::vector<Question>& all_questions();

}  // namespace weir::lb::test
