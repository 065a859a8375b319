// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <unordered_map>
#include <vector>

#include "kube/selector_index.h"
#include "kube/store.h"

namespace weir::kube {

/// Gives every Service that has a selector, but no EndpointSlice from elsewhere, the slices that
/// the cluster's controller would make out of the pods in the store. Work grows with what changed:
/// a pod touches the Services that select it now or did before; a new Service or selector costs one
/// pass over the pods for all such of one update. Same thread as the store.
///
/// Not as the cluster's controller does it, on purpose: a pod counts whether or not its Node is in
/// the store, topology-mode Auto gives no hints, and a slice has any number of endpoints.
class EndpointController {
  public:
    /// The store must outlive this object.
    explicit EndpointController(Store& store);

    /// Follows what store.pending() tells; call before store.publish().
    void update();

  private:
    struct State {
        std::vector<model::ObjectName> pods;  ///< that the Service selects, in no certain order
        NameSet slices;                       ///< that we made for it
    };

    void review(const model::ObjectName& service);
    void forget(const model::ObjectName& service);
    [[nodiscard]] bool has_foreign_slices(const model::ObjectName& service) const;
    void review_pod(const model::ObjectName& name);
    void find_pods_of_fresh();
    void review_nodes(const NameSet& nodes);
    void join(const model::ObjectName& service, const model::ObjectName& pod);
    void leave(const model::ObjectName& service, const model::ObjectName& pod);
    void synthesize(const model::ObjectName& service);

    Store& store_;
    SourceId source_;
    SelectorIndex index_;  ///< the Services that we make slices for
    std::unordered_map<model::ObjectName, State> services_;
    std::unordered_map<model::ObjectName, std::vector<model::ObjectName>> services_of_pod_;
    std::unordered_map<model::Text, model::Text> zones_;  ///< of nodes that have one
    NameSet fresh_;                                       ///< Services whose pods are to be found
    NameSet dirty_;                                       ///< Services to make slices for anew
};

}  // namespace weir::kube
