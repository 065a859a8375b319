// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ipam/blocks.h"
#include "kube/api/node_ranges.h"

namespace weir::test {

/// One range of each family.
class Pools final : public kube::api::BlockSource {
  public:
    Pools(const char* v4, unsigned length4, const char* v6, unsigned length6)
        : v4_(make(v4, length4)), v6_(make(v6, length6)) {}
    [[nodiscard]] std::vector<Family> families() const override {
        return {Family::kIpv4, Family::kIpv6};
    }
    void clear() override {
        v4_.clear();
        v6_.clear();
    }
    void taken(const IpPrefix& prefix) override {
        v4_.taken(prefix);
        v6_.taken(prefix);
    }
    [[nodiscard]] Result<IpPrefix> pick(Family family) const override {
        return family == Family::kIpv4 ? v4_.pick() : v6_.pick();
    }
    [[nodiscard]] bool holds(const IpPrefix& prefix) const override {
        return v4_.holds(prefix) || v6_.holds(prefix);
    }

  private:
    static ipam::BlockPool make(const char* range, unsigned length) {
        return ipam::BlockPool::make({IpPrefix::parse(range).value()}, length).value();
    }
    ipam::BlockPool v4_;
    ipam::BlockPool v6_;
};

}  // namespace weir::test
