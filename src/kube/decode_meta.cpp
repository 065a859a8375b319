// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kube/decode_kinds.h"
#include "kube/validate.h"

namespace weir::kube {
namespace {

/// What kubectl keeps for itself: as long as the whole object, and of no use to us.
constexpr std::string_view kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

void check_name(const Cursor& at, std::string_view name, NameProblem problem) {
    if (problem) at.error("\"{}\" is no valid name: {}", name, *problem);
}

/// Namespaces are labels everywhere; a Service's name is one because it becomes a DNS label.
bool named_by_label(Kind kind) {
    return kind == Kind::kService || kind == Kind::kNamespace;
}

model::Labels decode_annotations(const Cursor& map) {
    model::Labels annotations;
    for (const auto& [key, value] : map.entries()) {
        if (key == kLastApplied) continue;
        if (const auto problem = label_key_problem(key))
            value.error("is no valid key: {}", *problem);
        annotations.emplace(key, value.string().value_or(""));
    }
    return annotations;
}

}  // namespace

model::Labels decode_labels(const Cursor& map) {
    model::Labels labels;
    const auto entries = map.entries();
    labels.reserve(entries.size());
    for (const auto& [key, value] : entries) {
        if (const auto problem = label_key_problem(key))
            value.error("is no valid key: {}", *problem);
        const auto text = value.string().value_or("");
        if (const auto problem = label_value_problem(text)) {
            value.error("\"{}\" is no valid value: {}", text, *problem);
        }
        labels.emplace(value.pooled(key), value.text());
    }
    return labels;
}

model::Meta decode_meta(const Cursor& root, const ObjectKey& key) {
    const Cursor metadata = root["metadata"];
    const auto problem = named_by_label(key.kind) ? dns_label_problem(key.name.name)
                                                  : dns_subdomain_problem(key.name.name);
    check_name(metadata["name"], key.name.name, problem);
    if (!key.name.ns.empty()) {
        check_name(metadata["namespace"], key.name.ns, dns_label_problem(key.name.ns));
    }
    model::Meta meta;
    meta.name = key.name;
    meta.uid = metadata["uid"].string().value_or("");
    meta.created = metadata["creationTimestamp"].string().value_or("");
    meta.deleting = metadata["deletionTimestamp"].string().has_value();
    meta.labels = decode_labels(metadata["labels"]);
    meta.annotations = decode_annotations(metadata["annotations"]);
    return meta;
}

model::LabelSelector decode_selector(const Cursor& selector) {
    using Op = model::LabelRequirement::Op;
    static constexpr std::array<std::pair<std::string_view, Op>, 4> kOps = {
        {{"In", Op::kIn},
         {"NotIn", Op::kNotIn},
         {"Exists", Op::kExists},
         {"DoesNotExist", Op::kDoesNotExist}}};
    model::LabelSelector out;
    for (const auto& [key, value] : decode_labels(selector["matchLabels"])) {
        out.requirements.push_back({key, Op::kIn, {value}});
    }
    for (const Cursor& expression : selector["matchExpressions"].items()) {
        model::LabelRequirement requirement;
        const Cursor key = expression["key"];
        key.require();
        requirement.key = key.text();
        if (const auto problem = label_key_problem(requirement.key); problem && key.present()) {
            key.error("\"{}\" is no valid key: {}", requirement.key, *problem);
        }
        const Cursor op = expression["operator"];
        op.require();
        requirement.op = op.choice(kOps, Op::kIn);
        const Cursor values = expression["values"];
        for (const Cursor& value : values.items())
            requirement.values.push_back(value.text());
        const bool wants_values = requirement.op == Op::kIn || requirement.op == Op::kNotIn;
        if (wants_values && requirement.values.empty()) values.error("needs at least one value");
        if (!wants_values && !requirement.values.empty()) {
            values.error("must be absent with {}", op.string().value_or(""));
        }
        out.requirements.push_back(std::move(requirement));
    }
    // The order of requirements means nothing; equal selectors should compare equal.
    std::ranges::sort(out.requirements, {}, [](const auto& r) { return std::pair(r.key, r.op); });
    return out;
}

void check_reachable(const Cursor& at, const IpAddress& address) {
    const char* kind = address.is_unspecified()  ? "an unspecified"
                       : address.is_loopback()   ? "a loopback"
                       : address.is_link_local() ? "a link-local"
                       : address.is_multicast()  ? "a multicast"
                                                 : nullptr;
    if (kind != nullptr) at.error("{} is {} address", address.to_string(), kind);
}

}  // namespace weir::kube
