// SPDX-License-Identifier: Apache-2.0
#include "kube/object.h"

#include <array>

namespace weir::kube {

std::string_view to_string(Kind kind) {
    static constexpr std::array<std::string_view, kKindCount> kNames = {
        "Node",          "Namespace",     "Pod",         "Service",
        "EndpointSlice", "NetworkPolicy", "ServiceCIDR", "ClusterNetworkPolicy"};
    return kNames[static_cast<size_t>(kind)];
}

std::string ObjectKey::to_string() const {
    return fmt::format("{} {}", kube::to_string(kind), name.to_string());
}

Kind kind_of(const Object& object) {
    return static_cast<Kind>(object.index());
}

const model::Meta& meta_of(const Object& object) {
    return std::visit([](const auto& o) -> const model::Meta& { return o.meta; }, object);
}

ObjectKey key_of(const Object& object) {
    return {kind_of(object), meta_of(object).name};
}

}  // namespace weir::kube
