// SPDX-License-Identifier: Apache-2.0
#include "kube/store.h"

#include <algorithm>
#include <cassert>

namespace weir::kube {
namespace {

/// Calls `with(std::type_identity<T>())` for the type of a kind.
template <typename With>
auto dispatch(Kind kind, With with) {
    switch (kind) {
        case Kind::kNode:
            return with(std::type_identity<model::Node>());
        case Kind::kNamespace:
            return with(std::type_identity<model::Namespace>());
        case Kind::kPod:
            return with(std::type_identity<model::Pod>());
        case Kind::kService:
            return with(std::type_identity<model::Service>());
        case Kind::kEndpointSlice:
            return with(std::type_identity<model::EndpointSlice>());
        case Kind::kNetworkPolicy:
            return with(std::type_identity<model::NetworkPolicy>());
        case Kind::kServiceCidr:
            return with(std::type_identity<model::ServiceCidr>());
        case Kind::kClusterNetworkPolicy:
            break;
    }
    return with(std::type_identity<model::ClusterNetworkPolicy>());
}

/// Which of two pods with one address is the one there now.
bool owns_rather(const model::Pod& a, const model::Pod& b) {
    if (a.meta.deleting != b.meta.deleting) return b.meta.deleting;
    if (a.meta.created != b.meta.created) return a.meta.created > b.meta.created;
    return a.meta.name < b.meta.name;
}

}  // namespace

bool Delta::empty() const {
    return endpoints.empty() && std::ranges::all_of(changed, &NameSet::empty);
}

SourceId Store::add_source(uint32_t rank, std::string label) {
    sources_.emplace(++last_source_, Source{rank, std::move(label), {}});
    return last_source_;
}

void Store::remove_source(SourceId source) {
    const std::unordered_set<ObjectKey> defined = sources_.at(source).defined;
    for (const ObjectKey& key : defined)
        withdraw(source, key);
    sources_.erase(source);
}

const std::string& Store::label(SourceId source) const {
    return sources_.at(source).label;
}

const std::unordered_set<ObjectKey>& Store::defined_by(SourceId source) const {
    return sources_.at(source).defined;
}

bool Store::precedes(SourceId a, SourceId b) const {
    const Source& x = sources_.at(a);
    const Source& y = sources_.at(b);
    return std::tie(x.rank, x.label, a) < std::tie(y.rank, y.label, b);
}

void Store::put(SourceId source, Object object, uint32_t line) {
    const ObjectKey key = key_of(object);
    sources_.at(source).defined.insert(key);
    std::visit(
        [&]<typename T>(T&& alternative) {
            put_object(std::forward<T>(alternative), key, Origin{source, line});
        },
        std::move(object));
}

template <typename T>
void Store::put_object(T object, const ObjectKey& key, Origin origin) {
    auto& objects = table<T>().objects;
    const auto it = objects.find(key.name);
    if (it == objects.end()) return install(std::move(object), key, origin);
    Entry<T>& entry = it->second;
    if (entry.origin.source == origin.source) {
        entry.origin.line = origin.line;
        if (!(entry.object == object)) install(std::move(object), key, origin);
        return;
    }
    drop_stand_by(origin.source, key);
    if (!precedes(origin.source, entry.origin.source)) {
        return stand_by(std::move(object), key, origin);
    }
    stand_by(entry.object, key, entry.origin);
    install(std::move(object), key, origin);
}

template <typename T>
void Store::install(T object, const ObjectKey& key, Origin origin) {
    auto& objects = table<T>().objects;
    const auto it = objects.find(key.name);
    if (it == objects.end()) {
        change(objects.emplace(key.name, Entry<T>{std::move(object), origin}).first->second.object,
               true);
        return;
    }
    Entry<T>& entry = it->second;
    entry.origin = origin;
    if (entry.object == object) return;
    change(entry.object, false);
    entry.object = std::move(object);
    change(entry.object, true);
}

void Store::withdraw(SourceId source, const ObjectKey& key) {
    // The caller's may live in what is erased.
    const ObjectKey held = key;  // NOLINT(performance-unnecessary-copy-initialization)
    if (sources_.at(source).defined.erase(held) == 0) return;
    if (drop_stand_by(source, held)) return;
    dispatch(held.kind,
             [&]<typename T>(std::type_identity<T>) { withdraw_object<T>(source, held); });
}

template <typename T>
void Store::withdraw_object(SourceId source, const ObjectKey& key) {
    auto& objects = table<T>().objects;
    const auto it = objects.find(key.name);
    assert(it != objects.end() && it->second.origin.source == source);
    (void)source;
    if (auto next = next_in_line(key)) {
        return install(std::get<T>(std::move(next->object)), key, next->origin);
    }
    change(it->second.object, false);
    objects.erase(it);
}

void Store::stand_by(Object object, const ObjectKey& key, Origin origin) {
    standing_by_[key].push_back({std::move(object), origin, std::chrono::system_clock::now()});
}

bool Store::drop_stand_by(SourceId source, const ObjectKey& key) {
    const auto it = standing_by_.find(key);
    if (it == standing_by_.end()) return false;
    const size_t dropped = std::erase_if(
        it->second, [source](const StandBy& other) { return other.origin.source == source; });
    if (it->second.empty()) standing_by_.erase(it);
    return dropped > 0;
}

std::optional<Store::StandBy> Store::next_in_line(const ObjectKey& key) {
    const auto it = standing_by_.find(key);
    if (it == standing_by_.end()) return std::nullopt;
    const auto best =
        std::ranges::min_element(it->second, [this](const StandBy& a, const StandBy& b) {
            return precedes(a.origin.source, b.origin.source);
        });
    StandBy next = std::move(*best);
    it->second.erase(best);
    if (it->second.empty()) standing_by_.erase(it);
    return next;
}

template <typename T>
void Store::change(const T& object, bool enters) {
    pending_.changed[static_cast<size_t>(kKindOf<T>)].insert(object.meta.name);
    if constexpr (std::is_same_v<T, model::EndpointSlice> || std::is_same_v<T, model::Pod>) {
        index(object, enters);
    }
}

void Store::index(const model::EndpointSlice& slice, bool enters) {
    if (slice.service.name.empty()) return;
    pending_.endpoints.insert(slice.service);
    auto& slices = slices_by_service_[slice.service];
    if (enters) {
        slices.push_back(&slice);
        return;
    }
    std::erase(slices, &slice);
    if (slices.empty()) slices_by_service_.erase(slice.service);
}

void Store::index(const model::Pod& pod, bool enters) {
    if (pod.host_network || pod.finished()) return;
    for (const IpAddress& ip : pod.ips) {
        if (enters) {
            pods_by_ip_.emplace(ip, &pod);
            continue;
        }
        const auto [first, last] = pods_by_ip_.equal_range(ip);
        const auto it = std::find_if(first, last, [&](const auto& e) { return e.second == &pod; });
        if (it != last) pods_by_ip_.erase(it);
    }
}

std::optional<Origin> Store::origin(const ObjectKey& key) const {
    return dispatch(key.kind, [&]<typename T>(std::type_identity<T>) -> std::optional<Origin> {
        const auto it = table<T>().objects.find(key.name);
        if (it == table<T>().objects.end()) return std::nullopt;
        return it->second.origin;
    });
}

std::span<const model::EndpointSlice* const> Store::slices_of(
    const model::ObjectName& service) const {
    const auto it = slices_by_service_.find(service);
    if (it == slices_by_service_.end()) return {};
    return it->second;
}

const model::Pod* Store::pod_by_ip(const IpAddress& address) const {
    const model::Pod* best = nullptr;
    const auto [first, last] = pods_by_ip_.equal_range(address);
    for (auto it = first; it != last; ++it) {
        if (best == nullptr || owns_rather(*it->second, *best)) best = it->second;
    }
    return best;
}

std::vector<Store::Conflict> Store::conflicts() const {
    std::vector<Conflict> conflicts;
    for (const auto& [key, others] : standing_by_) {
        const Origin used = origin(key).value_or(Origin{});
        for (const StandBy& other : others) {
            conflicts.push_back({key, used, other.origin, other.since});
        }
    }
    return conflicts;
}

void Store::publish() {
    const Delta delta = std::exchange(pending_, {});
    if (!delta.empty() && subscriber_) subscriber_(delta);
}

}  // namespace weir::kube
