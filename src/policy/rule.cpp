// SPDX-License-Identifier: Apache-2.0
#include "policy/rule.h"

#include <algorithm>
#include <tuple>

namespace weir::policy {
namespace {

using model::LabelRequirement;
using Kind = Atom::Kind;

void append(std::string& out, const model::LabelSelector& selector) {
    for (const LabelRequirement& requirement : selector.requirements) {
        out += fmt::format("{}\x01{}", requirement.key, static_cast<int>(requirement.op));
        for (const model::Text& value : requirement.values)
            out += fmt::format("\x02{}", value);
        out += '\x03';
    }
    out += '\x04';
}

std::string show(const model::LabelSelector& selector) {
    std::string out;
    for (const LabelRequirement& r : selector.requirements) {
        const auto list = fmt::format("{}", fmt::join(r.values, ","));
        if (!out.empty()) out += ',';
        switch (r.op) {
            case LabelRequirement::Op::kIn:
                out += r.values.size() == 1 ? fmt::format("{}={}", r.key, list)
                                            : fmt::format("{} in ({})", r.key, list);
                break;
            case LabelRequirement::Op::kNotIn:
                out += fmt::format("{} notin ({})", r.key, list);
                break;
            case LabelRequirement::Op::kExists:
                out += r.key.str();
                break;
            case LabelRequirement::Op::kDoesNotExist:
                out += fmt::format("!{}", r.key);
                break;
        }
    }
    return out;
}

std::string show_pods(const Atom& atom) {
    const std::string labels = show(atom.labels);
    const std::string pods = labels.empty() ? "all pods" : "pods " + labels;
    if (!atom.ns.empty()) return fmt::format("{} of namespace {}", pods, atom.ns);
    const std::string namespaces = show(atom.namespaces);
    if (namespaces.empty()) return pods + " of all namespaces";
    return fmt::format("{} of namespaces {}", pods, namespaces);
}

}  // namespace

std::string_view to_string(Direction direction) {
    return direction == Direction::kEgress ? "egress" : "ingress";
}

std::string Atom::key() const {
    std::string out = fmt::format("{}{}\x04", static_cast<int>(kind), ns);
    append(out, namespaces);
    append(out, labels);
    if (kind != Kind::kBlock) return out;
    out += block.to_string();
    for (const IpPrefix& one : except)
        out += '-' + one.to_string();
    return out;
}

bool Atom::matches(const model::ObjectName& pod, const model::Labels& pod_labels,
                   const model::Labels& ns_labels) const {
    if (ns.empty() ? !namespaces.matches(ns_labels) : ns != pod.ns) return false;
    return labels.matches(pod_labels);
}

bool Atom::contains(const IpAddress& address) const {
    return block.contains(address) &&
           std::ranges::none_of(except, [&](const IpPrefix& one) { return one.contains(address); });
}

std::string Atom::to_string() const {
    if (kind == Kind::kPods) return show_pods(*this);
    if (kind == Kind::kNodes) {
        const std::string text = show(labels);
        return text.empty() ? "all nodes" : "nodes " + text;
    }
    std::string out = block.to_string();
    const char* separator = " except ";
    for (const IpPrefix& one : except) {
        out += separator + one.to_string();
        separator = ", ";
    }
    return out;
}

std::string Policy::title() const {
    return fmt::format("{} {}",
                       tier == WEIR_POLICY_NETWORK ? "NetworkPolicy" : "ClusterNetworkPolicy",
                       name.to_string());
}

bool precedes(const Policy& a, const Policy& b) {
    return std::tie(a.tier, a.priority, a.name) < std::tie(b.tier, b.priority, b.name);
}

}  // namespace weir::policy
