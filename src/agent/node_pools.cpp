// SPDX-License-Identifier: Apache-2.0
#include "agent/node_pools.h"

#include <array>
#include <optional>

#include "ipam/blocks.h"

namespace weir::agent {
namespace {

class Source final : public kube::api::BlockSource {
  public:
    void add(Family family, ipam::BlockPool pool) {
        pools_[family_index(family)] = std::move(pool);
    }

    [[nodiscard]] std::vector<Family> families() const override {
        std::vector<Family> out;
        for (const Family family : kFamilies) {
            if (pools_[family_index(family)]) out.push_back(family);
        }
        return out;
    }
    void clear() override {
        for (auto& pool : pools_) {
            if (pool) pool->clear();
        }
    }
    void taken(const IpPrefix& prefix) override {
        if (auto& pool = pools_[family_index(prefix.family())]) pool->taken(prefix);
    }
    [[nodiscard]] Result<IpPrefix> pick(Family family) const override {
        const auto& pool = pools_[family_index(family)];
        if (!pool) return fail(Errc::kNotFound, "pool-cidrs has no range of the family");
        return pool->pick();
    }
    [[nodiscard]] bool holds(const IpPrefix& prefix) const override {
        const auto& pool = pools_[family_index(prefix.family())];
        return pool && pool->holds(prefix);
    }

  private:
    std::array<std::optional<ipam::BlockPool>, 2> pools_;
};

}  // namespace

Result<std::shared_ptr<kube::api::BlockSource>> block_source(const Config& config) {
    if (config.pool_cidrs.empty()) return nullptr;
    auto source = std::make_shared<Source>();
    for (const Family family : kFamilies) {
        std::vector<IpPrefix> ranges;
        for (const IpPrefix& range : config.pool_cidrs) {
            if (range.family() == family) ranges.push_back(range);
        }
        if (ranges.empty()) continue;
        const unsigned length =
            family == Family::kIpv4 ? config.pool_block_ipv4 : config.pool_block_ipv6;
        auto pool = ipam::BlockPool::make(std::move(ranges), length);
        if (!pool) return Failure(std::move(pool).error().with("pool-cidrs"));
        source->add(family, *std::move(pool));
    }
    return source;
}

bool NodeRangesOfAll::update(const kube::Store& store, const kube::NameSet& nodes) {
    bool changed = false;
    for (const auto& name : nodes) {
        const auto* node = store.find<model::Node>(name);
        if (node == nullptr) {
            changed = nodes_.erase(name.name.str()) > 0 || changed;
            continue;
        }
        kube::api::NodeRanges now{
            .name = name.name.str(), .uid = node->meta.uid.str(), .ranges = node->pod_cidrs};
        auto& known = nodes_[now.name];
        if (known == now) continue;
        known = std::move(now);
        changed = true;
    }
    return changed;
}

std::vector<kube::api::NodeRanges> NodeRangesOfAll::list() const {
    std::vector<kube::api::NodeRanges> out;
    out.reserve(nodes_.size());
    for (const auto& [name, node] : nodes_)
        out.push_back(node);
    return out;
}

std::vector<IpAddress> pod_addresses(const kube::Store& store) {
    std::vector<IpAddress> out;
    store.for_each<model::Pod>([&](const model::Pod& pod) {
        if (pod.host_network || pod.finished()) return;
        out.insert(out.end(), pod.ips.begin(), pod.ips.end());
    });
    return out;
}

}  // namespace weir::agent
