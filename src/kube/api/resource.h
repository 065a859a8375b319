// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "kube/api/frames.h"
#include "kube/object.h"

namespace weir::kube::api {

/// A kind as the API server serves it.
struct Resource {
    Kind kind;
    std::string_view group_path;  ///< "/apis/discovery.k8s.io/v1"
    std::string_view plural;      ///< "endpointslices"
    /// Server-side label selector, encoded for a URL; "" for none.
    std::string_view selector;
    Encoding encoding = Encoding::kProtobuf;
    /// A cluster may not have it; that is no error, and it may come later.
    bool optional = false;
};

/// Services and slices that are another proxy's or headless are left out by the server, and come
/// and go as their labels change ("What is watched, and filtering").
inline constexpr std::string_view kProxySelector =
    "%21service.kubernetes.io%2Fservice-proxy-name%2C%21service.kubernetes.io%2Fheadless";

/// In the order of Kind.
inline constexpr std::array<Resource, kKindCount> kResources = {{
    {Kind::kNode, "/api/v1", "nodes", ""},
    {Kind::kNamespace, "/api/v1", "namespaces", ""},
    {Kind::kPod, "/api/v1", "pods", ""},
    {Kind::kService, "/api/v1", "services", kProxySelector},
    {Kind::kEndpointSlice, "/apis/discovery.k8s.io/v1", "endpointslices", kProxySelector},
    {Kind::kNetworkPolicy, "/apis/networking.k8s.io/v1", "networkpolicies", ""},
    {Kind::kServiceCidr, "/apis/networking.k8s.io/v1", "servicecidrs", "", Encoding::kProtobuf,
     true},
    {Kind::kClusterNetworkPolicy, "/apis/policy.networking.k8s.io/v1alpha2",
     "clusternetworkpolicies", "", Encoding::kJson, true},
}};

inline const Resource& resource_of(Kind kind) {
    return kResources[static_cast<size_t>(kind)];
}

}  // namespace weir::kube::api
