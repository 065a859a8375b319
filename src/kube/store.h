// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kube/object.h"

namespace weir::kube {

using NameSet = std::set<model::ObjectName>;

/// Which objects may differ from what the subscriber saw last: added, changed or gone.
struct Delta {
    std::array<NameSet, kKindCount> changed;
    /// Services whose EndpointSlices changed; of a slice that moved, both the old and the new one.
    NameSet endpoints;

    [[nodiscard]] const NameSet& of(Kind kind) const { return changed[static_cast<size_t>(kind)]; }
    [[nodiscard]] bool empty() const;
};

using SourceId = uint32_t;

/// Where an object is defined.
struct Origin {
    SourceId source = 0;
    uint32_t line = 0;  ///< 0 if there are no lines
    bool operator==(const Origin&) const = default;
};

/// The current objects of all sources. An object that several sources define is that of the first
/// one by rank, then label; the others stand by and are told by conflicts(). One thread. Pointers
/// to objects are valid until the store is changed.
class Store {
  public:
    struct Conflict {
        ObjectKey key;
        Origin used;
        Origin ignored;
        std::chrono::system_clock::time_point since;
    };

    /// `label`: what a person should read, as a path. The lowest rank wins, then the label.
    SourceId add_source(uint32_t rank, std::string label);
    /// Withdraws all that the source says, and forgets it.
    void remove_source(SourceId source);
    [[nodiscard]] const std::string& label(SourceId source) const;

    /// Defines an object, or defines it anew. No change for subscribers if it is equal.
    void put(SourceId source, Object object, uint32_t line = 0);
    void withdraw(SourceId source, const ObjectKey& key);
    [[nodiscard]] const std::unordered_set<ObjectKey>& defined_by(SourceId source) const;

    template <typename T>
    [[nodiscard]] const T* find(const model::ObjectName& name) const {
        const auto& objects = table<T>().objects;
        const auto it = objects.find(name);
        return it == objects.end() ? nullptr : &it->second.object;
    }
    template <typename T>
    [[nodiscard]] size_t count() const {
        return table<T>().objects.size();
    }
    /// `visit(const T&)` for each, in no certain order.
    template <typename T, typename Visit>
    void for_each(Visit visit) const {
        for (const auto& [name, entry] : table<T>().objects)
            visit(entry.object);
    }
    [[nodiscard]] std::optional<Origin> origin(const ObjectKey& key) const;

    /// In no certain order.
    [[nodiscard]] std::span<const model::EndpointSlice* const> slices_of(
        const model::ObjectName& service) const;
    /// The pod that owns the address: not finished, not of the host's network; of several the one
    /// that is not being deleted, then the newest.
    [[nodiscard]] const model::Pod* pod_by_ip(const IpAddress& address) const;
    [[nodiscard]] std::vector<Conflict> conflicts() const;

    /// What publish() would tell now.
    [[nodiscard]] const Delta& pending() const { return pending_; }
    /// One subscriber; it must not change the store.
    void subscribe(std::function<void(const Delta&)> subscriber) {
        subscriber_ = std::move(subscriber);
    }
    /// Tells the subscriber what changed since the last time, if anything did.
    void publish();

  private:
    template <typename T>
    struct Entry {
        T object;
        Origin origin;
    };
    template <typename T>
    struct Table {
        std::unordered_map<model::ObjectName, Entry<T>> objects;
    };
    struct Source {
        uint32_t rank;
        std::string label;
        std::unordered_set<ObjectKey> defined;
    };
    struct StandBy {
        Object object;
        Origin origin;
        std::chrono::system_clock::time_point since;
    };

    template <typename T>
    [[nodiscard]] const Table<T>& table() const {
        return std::get<Table<T>>(tables_);
    }
    template <typename T>
    Table<T>& table() {
        return std::get<Table<T>>(tables_);
    }
    [[nodiscard]] bool precedes(SourceId a, SourceId b) const;
    template <typename T>
    void put_object(T object, const ObjectKey& key, Origin origin);
    template <typename T>
    void install(T object, const ObjectKey& key, Origin origin);
    template <typename T>
    void withdraw_object(SourceId source, const ObjectKey& key);
    template <typename T>
    void change(const T& object, bool enters);
    void stand_by(Object object, const ObjectKey& key, Origin origin);
    bool drop_stand_by(SourceId source, const ObjectKey& key);
    /// The best of those that stand by, taken out.
    std::optional<StandBy> next_in_line(const ObjectKey& key);
    void index(const model::EndpointSlice& slice, bool enters);
    void index(const model::Pod& pod, bool enters);

    std::tuple<Table<model::Node>, Table<model::Namespace>, Table<model::Pod>,
               Table<model::Service>, Table<model::EndpointSlice>, Table<model::NetworkPolicy>,
               Table<model::ServiceCidr>, Table<model::ClusterNetworkPolicy>>
        tables_;
    std::map<ObjectKey, std::vector<StandBy>> standing_by_;
    std::unordered_map<SourceId, Source> sources_;
    SourceId last_source_ = 0;
    std::unordered_map<model::ObjectName, std::vector<const model::EndpointSlice*>>
        slices_by_service_;
    std::unordered_multimap<IpAddress, const model::Pod*> pods_by_ip_;
    Delta pending_;
    std::function<void(const Delta&)> subscriber_;
};

}  // namespace weir::kube
