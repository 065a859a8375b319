// SPDX-License-Identifier: Apache-2.0
#include "kube/endpoint_controller.h"

#include <algorithm>

#include "kube/endpoint_rules.h"

namespace weir::kube {
namespace {

constexpr std::string_view kZoneLabel = "topology.kubernetes.io/zone";
/// After every other source: what a person wrote goes first.
constexpr uint32_t kRank = UINT32_MAX;

}  // namespace

EndpointController::EndpointController(Store& store)
    : store_(store), source_(store.add_source(kRank, "endpoint controller")) {}

void EndpointController::update() {
    const Delta delta = store_.pending();  // a copy: our own slices are added to it
    if (delta.empty()) return;
    for (const auto& name : delta.of(Kind::kService))
        review(name);
    for (const auto& name : delta.endpoints)
        review(name);
    for (const auto& name : delta.of(Kind::kPod))
        review_pod(name);
    find_pods_of_fresh();
    review_nodes(delta.of(Kind::kNode));
    for (const auto& name : std::exchange(dirty_, {}))
        synthesize(name);
}

/// Whether we make slices for the Service, and under which selector.
void EndpointController::review(const model::ObjectName& name) {
    const auto* service = store_.find<model::Service>(name);
    const bool ours = service != nullptr && wants_endpoints(*service) && !has_foreign_slices(name);
    if (!ours) return forget(name);
    const auto* selector = index_.selector_of(name);
    if (selector == nullptr || *selector != *service->selector) {
        forget(name);
        index_.add(name, *service->selector);
        services_.try_emplace(name);
        fresh_.insert(name);
    }
    dirty_.insert(name);
}

void EndpointController::forget(const model::ObjectName& name) {
    const auto it = services_.find(name);
    if (it == services_.end()) return;
    const std::vector<model::ObjectName> pods = it->second.pods;
    for (const auto& pod : pods)
        leave(name, pod);
    for (const auto& slice : it->second.slices) {
        store_.withdraw(source_, {Kind::kEndpointSlice, slice});
    }
    services_.erase(it);
    index_.remove(name);
    fresh_.erase(name);
    dirty_.erase(name);
}

bool EndpointController::has_foreign_slices(const model::ObjectName& service) const {
    return std::ranges::any_of(store_.slices_of(service), [this](const auto* slice) {
        return store_.origin({Kind::kEndpointSlice, slice->meta.name})->source != source_;
    });
}

void EndpointController::review_pod(const model::ObjectName& name) {
    const auto known = services_of_pod_.find(name);
    const auto before =
        known == services_of_pod_.end() ? std::vector<model::ObjectName>() : known->second;
    const auto* pod = store_.find<model::Pod>(name);
    const auto now = pod == nullptr ? std::vector<model::ObjectName>()
                                    : index_.matching(name.ns, pod->meta.labels);
    for (const auto& service : before) {
        if (std::ranges::find(now, service) == now.end()) leave(service, name);
        dirty_.insert(service);
    }
    for (const auto& service : now) {
        join(service, name);
        dirty_.insert(service);
    }
}

void EndpointController::find_pods_of_fresh() {
    if (fresh_.empty()) return;
    SelectorIndex fresh;
    for (const auto& name : std::exchange(fresh_, {}))
        fresh.add(name, *index_.selector_of(name));
    store_.for_each<model::Pod>([&](const model::Pod& pod) {
        for (const auto& name : fresh.matching(pod.meta.name.ns, pod.meta.labels)) {
            join(name, pod.meta.name);
        }
    });
}

/// Endpoints carry the zone of their node.
void EndpointController::review_nodes(const NameSet& nodes) {
    std::set<model::Text> moved;
    for (const auto& name : nodes) {
        const auto* node = store_.find<model::Node>(name);
        const model::Text zone =
            node == nullptr ? model::Text() : model::Text(node->meta.labels.get(kZoneLabel));
        if (zones_[name.name] != zone) moved.insert(name.name);
        zones_[name.name] = zone;
        if (zone.empty()) zones_.erase(name.name);
    }
    if (moved.empty()) return;
    for (const auto& [name, services] : services_of_pod_) {
        const auto* pod = store_.find<model::Pod>(name);
        if (pod != nullptr && moved.contains(pod->node_name)) {
            dirty_.insert(services.begin(), services.end());
        }
    }
}

void EndpointController::join(const model::ObjectName& service, const model::ObjectName& pod) {
    auto& services = services_of_pod_[pod];
    if (std::ranges::find(services, service) != services.end()) return;
    services.push_back(service);
    services_.at(service).pods.push_back(pod);
}

void EndpointController::leave(const model::ObjectName& service, const model::ObjectName& pod) {
    auto& pods = services_.at(service).pods;
    if (const auto it = std::ranges::find(pods, pod); it != pods.end()) {
        std::swap(*it, pods.back());
        pods.pop_back();
    }
    const auto it = services_of_pod_.find(pod);
    if (it == services_of_pod_.end()) return;
    std::erase(it->second, service);
    if (it->second.empty()) services_of_pod_.erase(it);
}

void EndpointController::synthesize(const model::ObjectName& name) {
    State& state = services_.at(name);
    std::vector<const model::Pod*> pods;
    for (const auto& pod : state.pods)
        pods.push_back(store_.find<model::Pod>(pod));
    const auto zone_of = [this](const model::Text& node) -> std::string_view {
        const auto it = zones_.find(node);
        return it == zones_.end() ? std::string_view() : it->second.view();
    };
    const NameSet before = std::exchange(state.slices, {});
    for (auto& slice : make_slices(*store_.find<model::Service>(name), pods, zone_of)) {
        state.slices.insert(slice.meta.name);
        store_.put(source_, std::move(slice));
    }
    for (const auto& slice : before) {
        if (!state.slices.contains(slice)) store_.withdraw(source_, {Kind::kEndpointSlice, slice});
    }
}

}  // namespace weir::kube
