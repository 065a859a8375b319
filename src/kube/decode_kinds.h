// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kube/cursor.h"
#include "kube/object.h"

/// The decoders of the single kinds, for decode.cpp. Each reads an object whose `meta` is given;
/// mistakes go to the cursor's report, and the result counts only if there were none.
namespace weir::kube {

model::Meta decode_meta(const Cursor& root, const ObjectKey& key);
/// labels, annotations and selectors of the simple sort.
model::Labels decode_labels(const Cursor& map);
model::LabelSelector decode_selector(const Cursor& selector);

model::Node decode_node(const Cursor& root, model::Meta meta);
model::Namespace decode_namespace(const Cursor& root, model::Meta meta);
model::Pod decode_pod(const Cursor& root, model::Meta meta);
model::Service decode_service(const Cursor& root, model::Meta meta);
/// Nothing for a slice of names (FQDN).
std::optional<model::EndpointSlice> decode_endpoint_slice(const Cursor& root, model::Meta meta);
model::NetworkPolicy decode_network_policy(const Cursor& root, model::Meta meta);
model::ServiceCidr decode_service_cidr(const Cursor& root, model::Meta meta);
model::ClusterNetworkPolicy decode_cluster_network_policy(const Cursor& root, model::Meta meta);

/// Reports an address that no Service or endpoint can have.
void check_reachable(const Cursor& at, const IpAddress& address);

}  // namespace weir::kube
