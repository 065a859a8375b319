// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include <poll.h>

#include <gtest/gtest.h>

#include "kube/api/api_source.h"
#include "kube/store.h"
#include "kube_api/control_plane.h"

namespace weir::test {

/// A test with a real API server, skipped where there can be none.
class PlaneTest : public testing::Test {
  protected:
    void SetUp() override {
        if (const std::string missing = ControlPlane::missing(); !missing.empty()) {
            GTEST_SKIP() << missing;
        }
        plane_.emplace();
    }
    void TearDown() override { plane_.reset(); }

    std::optional<ControlPlane> plane_;
};

/// Drives the store as the agent's loop does, until the condition holds, which is asked after each
/// round. False: it does not within the limit.
inline bool drive(kube::api::ApiSource& source, kube::Store& store,
                  const std::function<bool()>& condition, std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        pollfd poll{.fd = source.fd(), .events = POLLIN, .revents = 0};
        ::poll(&poll, 1, 20);
        source.on_readable();
        store.publish();
        if (condition()) return true;
        if (std::chrono::steady_clock::now() > deadline) return false;
    }
}

}  // namespace weir::test
