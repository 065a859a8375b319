// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kube/decode_kinds.h"

namespace weir::kube {
namespace {

void decode_pod_cidrs(const Cursor& spec, model::Node& node) {
    auto cidrs = spec["podCIDRs"].items();
    if (cidrs.empty() && !spec["podCIDR"].string().value_or("").empty()) {
        cidrs.push_back(spec["podCIDR"]);
    }
    for (const Cursor& cidr : cidrs) {
        const auto prefix = cidr.prefix();
        if (!prefix) continue;
        const bool second = std::ranges::any_of(node.pod_cidrs, [&](const IpPrefix& other) {
            return other.family() == prefix->family();
        });
        if (second) cidr.error("is a second one of the same family");
        node.pod_cidrs.push_back(*prefix);
    }
}

}  // namespace

model::Node decode_node(const Cursor& root, model::Meta meta) {
    model::Node node;
    node.meta = std::move(meta);
    decode_pod_cidrs(root["spec"], node);
    for (const Cursor& entry : root["status"]["addresses"].items()) {
        const Cursor type = entry["type"];
        type.require();
        const auto word = type.string().value_or("");
        if (word != "InternalIP" && word != "ExternalIP") continue;  // host names and what may come
        const Cursor address = entry["address"];
        address.require();
        const auto ip = address.ip();
        if (ip) (word == "InternalIP" ? node.internal_ips : node.external_ips).push_back(*ip);
    }
    return node;
}

model::Namespace decode_namespace(const Cursor& root, model::Meta meta) {
    // The API server sets this label on every namespace; policies select by it.
    meta.labels[root["metadata"]["labels"].pooled("kubernetes.io/metadata.name")] = meta.name.name;
    return {std::move(meta)};
}

model::ServiceCidr decode_service_cidr(const Cursor& root, model::Meta meta) {
    model::ServiceCidr range;
    range.meta = std::move(meta);
    const Cursor cidrs = root["spec"]["cidrs"];
    cidrs.require();
    for (const Cursor& cidr : cidrs.items()) {
        if (const auto prefix = cidr.prefix()) range.cidrs.push_back(*prefix);
    }
    return range;
}

}  // namespace weir::kube
