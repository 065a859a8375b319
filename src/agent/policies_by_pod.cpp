// SPDX-License-Identifier: Apache-2.0
#include "agent/policies_by_pod.h"

#include <algorithm>

namespace weir::agent {

Policies::Policies(const kube::Store& store, const model::Text& ns) : store_(store) {
    const auto take = [&](const auto& object) {
        const auto& in = object.meta.name.ns;
        if (!ns.empty() && !in.empty() && in != ns) return;
        all_.push_back(std::make_shared<const policy::Policy>(policy::normalise(object)));
    };
    store.for_each<model::NetworkPolicy>(take);
    store.for_each<model::ClusterNetworkPolicy>(take);
    std::ranges::sort(all_, [](const auto& a, const auto& b) { return precedes(*a, *b); });
}

std::vector<policy::PolicyPtr> Policies::of(const model::Pod& pod) const {
    const auto* ns = store_.find<model::Namespace>({{}, pod.meta.name.ns});
    const model::Labels labels = ns == nullptr ? model::Labels() : ns->meta.labels;
    std::vector<policy::PolicyPtr> out;
    std::ranges::copy_if(all_, std::back_inserter(out), [&](const policy::PolicyPtr& one) {
        return one->subject.matches(pod.meta.name, pod.meta.labels, labels);
    });
    return out;
}

}  // namespace weir::agent
