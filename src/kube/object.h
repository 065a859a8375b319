// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "model/cluster_policy.h"
#include "model/types.h"

namespace weir::kube {

/// The kinds that Weir reads; values are the indices of Object's alternatives.
enum class Kind : uint8_t {
    kNode,
    kNamespace,
    kPod,
    kService,
    kEndpointSlice,
    kNetworkPolicy,
    kServiceCidr,
    kClusterNetworkPolicy
};
inline constexpr size_t kKindCount = 8;
/// "Service".
std::string_view to_string(Kind kind);

using Object =
    std::variant<model::Node, model::Namespace, model::Pod, model::Service, model::EndpointSlice,
                 model::NetworkPolicy, model::ServiceCidr, model::ClusterNetworkPolicy>;

template <typename T>
struct KindOf;
template <>
struct KindOf<model::Node> : std::integral_constant<Kind, Kind::kNode> {};
template <>
struct KindOf<model::Namespace> : std::integral_constant<Kind, Kind::kNamespace> {};
template <>
struct KindOf<model::Pod> : std::integral_constant<Kind, Kind::kPod> {};
template <>
struct KindOf<model::Service> : std::integral_constant<Kind, Kind::kService> {};
template <>
struct KindOf<model::EndpointSlice> : std::integral_constant<Kind, Kind::kEndpointSlice> {};
template <>
struct KindOf<model::NetworkPolicy> : std::integral_constant<Kind, Kind::kNetworkPolicy> {};
template <>
struct KindOf<model::ServiceCidr> : std::integral_constant<Kind, Kind::kServiceCidr> {};
template <>
struct KindOf<model::ClusterNetworkPolicy>
    : std::integral_constant<Kind, Kind::kClusterNetworkPolicy> {};
template <typename T>
inline constexpr Kind kKindOf = KindOf<T>::value;

struct ObjectKey {
    Kind kind = Kind::kNode;
    model::ObjectName name;
    /// "Service shop/web".
    [[nodiscard]] std::string to_string() const;
    auto operator<=>(const ObjectKey&) const = default;
};

Kind kind_of(const Object& object);
const model::Meta& meta_of(const Object& object);
ObjectKey key_of(const Object& object);

}  // namespace weir::kube

template <>
struct std::hash<weir::kube::ObjectKey> {
    size_t operator()(const weir::kube::ObjectKey& key) const noexcept {
        return std::hash<weir::model::ObjectName>()(key.name) * weir::kube::kKindCount +
               static_cast<size_t>(key.kind);
    }
};
