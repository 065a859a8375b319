// SPDX-License-Identifier: Apache-2.0
#include "agent/names.h"

#include <array>

#include <net/if.h>

namespace weir::agent {
namespace {

/// Addresses of outside peers come and go without end: the cache is emptied when it has grown.
constexpr size_t kMaxCached = 65536;

flow::IdentityPtr identity_of(const model::Pod& pod) {
    auto out = std::make_shared<flow::Identity>();
    out->kind = flow::PeerKind::kPod;
    out->name = pod.meta.name;
    out->labels = pod.meta.labels;
    return out;
}

std::string port_text(const lb::PortName& name) {
    return fmt::format("{}:{}", name.service.to_string(), std::string_view(name.port));
}

}  // namespace

FlowNames::FlowNames(const Objects& objects, const Pods& pods, const Policing& policing,
                     const std::string& node_name)
    : objects_(objects),
      pods_(pods),
      policing_(policing),
      outside_(std::make_shared<flow::Identity>()) {
    auto host = std::make_shared<flow::Identity>();
    host->kind = flow::PeerKind::kHost;
    host->name.name = model::Text(node_name);
    host_ = host;
}

void FlowNames::refresh(const std::vector<IpAddress>& host_addresses) {
    by_address_.clear();
    for (const auto& address : host_addresses)
        by_address_[address] = host_;
}

flow::IdentityPtr FlowNames::by_address(const IpAddress& address) const {
    if (const auto it = by_address_.find(address); it != by_address_.end()) return it->second;
    const auto* pod = objects_.store().pod_by_ip(address);
    if (pod == nullptr) return outside_;
    if (by_address_.size() >= kMaxCached) by_address_.clear();
    return by_address_[address] = identity_of(*pod);
}

flow::IdentityPtr FlowNames::by_endpoint(uint32_t id) const {
    const auto local = pods_.by_endpoint(id);
    if (!local) return nullptr;
    for (const auto& address : local->record.addresses) {
        if (auto identity = by_address(address); identity->kind == flow::PeerKind::kPod) {
            return identity;
        }
    }
    auto out = std::make_shared<flow::Identity>();
    out->kind = flow::PeerKind::kPod;
    out->name = {model::Text(local->record.pod_namespace), model::Text(local->record.pod_name)};
    return out;
}

std::optional<flow::ServicePortName> FlowNames::service(uint32_t index) const {
    const auto name = objects_.tables().name_of(index);
    if (!name) return std::nullopt;
    return flow::ServicePortName{name->service, name->port};
}

std::string FlowNames::device(uint32_t ifindex) const {
    std::array<char, IF_NAMESIZE> name{};
    return ::if_indextoname(ifindex, name.data()) != nullptr ? name.data() : "";
}

std::string TableNames::pod(const IpAddress& address) const {
    const auto* pod = objects_.store().pod_by_ip(address);
    return pod != nullptr ? pod->meta.name.to_string() : std::string();
}

std::string TableNames::service(uint32_t index) const {
    const auto name = objects_.tables().name_of(index);
    return name ? port_text(*name) : std::string();
}

api::SavedNames TableNames::snapshot() const {
    api::SavedNames names;
    objects_.store().for_each<model::Pod>([&](const model::Pod& pod) {
        if (pod.finished() || pod.host_network) return;
        for (const auto& ip : pod.ips)
            names.pods[ip.to_string()] = pod.meta.name.to_string();
    });
    objects_.tables().for_each_name([&](uint32_t index, const lb::PortName& name) {
        names.services[std::to_string(index)] = port_text(name);
    });
    return names;
}

}  // namespace weir::agent
