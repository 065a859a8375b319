// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/node.h"
#include "netns/web.h"

/// Services on a real node, once for each mode of the socket hooks.
namespace weir::test {

class Services : public testing::TestWithParam<const char*> {
  protected:
    Services() : node_({.socket_hooks = GetParam()}) {}

    void SetUp() override { ASSERT_TRUE(node_.start_agent()); }

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
