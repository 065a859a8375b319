// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/cursor.h"
#include "kube/object.h"
#include "kube/problem.h"
#include "kube/text_pool.h"

namespace weir::kube {

struct Decoded {
    Object object;
    uint32_t line = 0;
};

/// What a file says. Of objects named twice the first one stands; the other is a problem.
struct DecodedFile {
    std::vector<Decoded> objects;
    /// Named, but with mistakes: what was known of them before should stay.
    std::vector<ObjectKey> bad;
    /// "Deployment shop/web": documents of a kind or version that Weir does not read, with the name
    /// of the object.
    struct Foreign {
        std::string kind;
        model::ObjectName name;
        bool operator==(const Foreign&) const = default;
    };
    std::vector<Foreign> foreign;
    /// Some document cannot be told to be about a certain object: any one that is missing may be
    /// it.
    bool unidentified = false;
    /// In the order of the file, `file` and `since` left empty; at most kMaxProblems.
    std::vector<Problem> problems;

    static constexpr size_t kMaxProblems = 1000;
};

/// Reads Kubernetes objects from YAML or JSON text: several documents, List and XxxList. The API's
/// defaults are applied and its validation of the fields Weir uses; fields it does not use are
/// ignored. Kinds: Node, Namespace, Pod, Service (v1), EndpointSlice (discovery.k8s.io/v1),
/// NetworkPolicy and ServiceCIDR (networking.k8s.io/v1), ClusterNetworkPolicy
/// (policy.networking.k8s.io/v1alpha2); FQDN slices are left out.
DecodedFile decode(std::string_view text, TextPool& pool);

/// One object as the API server tells it.
struct DecodedObject {
    std::optional<ObjectKey> key;  ///< absent: it cannot be told which object it is
    std::optional<Object> object;  ///< absent: mistakes, or a slice of names
    std::vector<FieldError> errors;
    model::Text uid;  ///< of one with mistakes, as far as it can be read
};

/// Reads the object at `root`, known to be of `kind`: the same rules as decode(), but apiVersion
/// and kind need not be there, and a namespace is not defaulted.
DecodedObject decode_object(const Tree& tree, Tree::Index root, Kind kind, TextPool& pool);

}  // namespace weir::kube
