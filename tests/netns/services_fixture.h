// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "support/exercises.h"

/// Services on a real node, once for each mode of the socket hooks.
namespace weir::test {

inline constexpr const char* kVip4 = "10.96.0.10";
inline constexpr const char* kVip6 = "fd00:10:96::10";
inline const std::string& vip(int family) {
    static const std::string four = kVip4;
    static const std::string six = kVip6;
    return family == 4 ? four : six;
}

class Services : public testing::TestWithParam<const char*> {
  protected:
    Services() : node_({.socket_hooks = GetParam()}) {}

    void SetUp() override { ASSERT_TRUE(node_.start_agent()); }

    std::string http(const Place& place, const std::string& address, uint16_t port = 80) {
        return in_child(place, [&] { return http_get(address, port); });
    }
    /// Which servers answer 40 requests; every answer must come from a client that looks like
    /// `seen`.
    std::set<std::string> servers(const Place& place, const std::string& address, uint16_t port,
                                  const std::string& seen) {
        std::set<std::string> names;
        for (int i = 0; i < 40; ++i) {
            const auto body = http(place, address, port);
            EXPECT_THAT(body, testing::HasSubstr(" to " + seen))
                << "from " << address << ":" << port;
            names.insert(body.substr(0, body.find(' ')));
        }
        return names;
    }
    /// Services take effect at once, but not in the same instant as the file is written.
    bool answers(const Place& place, const std::string& address, uint16_t port = 80) {
        return eventually([&] { return !http(place, address, port).starts_with("error"); });
    }

    Node node_;
};

}  // namespace weir::test
