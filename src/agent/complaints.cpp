// SPDX-License-Identifier: Apache-2.0
#include "agent/complaints.h"

#include "kube/api/event_book.h"
#include "kube/api/resource.h"

namespace weir::agent {
namespace {

using kube::api::EventNote;
using Cause = lb::Problem::Cause;

/// "v1" of "/api/v1", "discovery.k8s.io/v1" of "/apis/discovery.k8s.io/v1".
std::string api_version(kube::Kind kind) {
    const std::string_view path = kube::api::resource_of(kind).group_path;
    return std::string(path.substr(path.find('/', 1) + 1));
}

EventNote note_on(kube::Kind kind, const model::ObjectName& name, std::string_view uid) {
    return {.regarding = {.api_version = api_version(kind),
                          .kind = std::string(to_string(kind)),
                          .ns = name.ns.str(),
                          .name = name.name.str(),
                          .uid = std::string(uid)}};
}

std::string_view reason_of(Cause cause) {
    switch (cause) {
        case Cause::kNoRoom:
            return "NoRoomInTables";
        case Cause::kRangesNoRoom:
            return "NoRoomForSourceRanges";
        case Cause::kAddressTaken:
            return "AddressTaken";
    }
    return "";
}

std::string_view advice_for(Cause cause) {
    switch (cause) {
        case Cause::kNoRoom:
            return "raise the table's capacity (max-services, max-slots, max-backends), or remove "
                   "Services";
        case Cause::kRangesNoRoom:
            return "raise max-source-ranges, or shorten spec.loadBalancerSourceRanges";
        case Cause::kAddressTaken:
            return "give one of the two another address or port";
    }
    return "";
}

std::string_view advice_for(RefusedRange::Why why) {
    switch (why) {
        case RefusedRange::Why::kOverlap:
            return "no other node routes it; delete the Node that should not have it, and let it "
                   "register again with another range";
        case RefusedRange::Why::kHostAddress:
            return "this node does not reach its pods; move the address out of the cluster's pod "
                   "ranges";
        case RefusedRange::Why::kUnreachable:
            return "this node does not reach its pods; give both Nodes an InternalIP of one family";
    }
    return "";
}

}  // namespace

EventNote Complaints::about_node(const std::string& name) const {
    const model::ObjectName object{{}, model::Text(name)};
    const auto* node = objects_.store().find<model::Node>(object);
    return note_on(kube::Kind::kNode, object, node == nullptr ? "" : node->meta.uid.str());
}

EventNote Complaints::about_service(const model::ObjectName& name) const {
    const auto* service = objects_.store().find<model::Service>(name);
    return note_on(kube::Kind::kService, name, service == nullptr ? "" : service->meta.uid.str());
}

EventNote Complaints::about_pod(const model::ObjectName& name) const {
    const auto* pod = objects_.store().find<model::Pod>(name);
    return note_on(kube::Kind::kPod, name, pod == nullptr ? "" : pod->meta.uid.str());
}

void Complaints::add_refused(std::vector<Note>& out) const {
    for (const auto& [key, refused] : api_.refused()) {
        for (const auto& problem : refused.problems) {
            if (out.size() >= kMaxAtATime) return;
            Note note = note_on(key.kind, key.name, refused.uid);
            note.reason = "Refused";
            note.action = "Reading";
            note.text = fmt::format(
                "{}{}{}: correct it; until then the agents go on with what "
                "they knew of this object",
                problem.path, problem.path.empty() ? "" : ": ", problem.message);
            note.of_cluster = true;
            out.push_back(std::move(note));
        }
    }
}

void Complaints::add_tables(std::vector<Note>& out) const {
    for (const auto& problem : objects_.tables().problems()) {
        if (out.size() >= kMaxAtATime) return;
        const std::string_view owner = problem.name.service.name.view();
        const bool of_pod = owner.starts_with(model::kHostPortOwner);
        Note note = of_pod ? about_pod({problem.name.service.ns,
                                        model::Text(owner.substr(model::kHostPortOwner.size()))})
                           : about_service(problem.name.service);
        if (note.regarding.uid.empty()) continue;  // its object comes, or is gone
        note.reason = reason_of(problem.cause);
        note.action = "Programming";
        note.text = fmt::format("{} {}/{} of {}: {}: {}", of_pod ? "hostPort" : "spec.ports: port",
                                problem.name.port.empty() ? "(unnamed)" : problem.name.port.str(),
                                model::to_string(problem.name.protocol),
                                problem.name.family == Family::kIpv4 ? "IPv4" : "IPv6",
                                problem.text, advice_for(problem.cause));
        note.of_cluster = !of_pod;
        out.push_back(std::move(note));
    }
}

void Complaints::add_warnings(std::vector<Note>& out) const {
    for (const auto& [service, warnings] : objects_.warnings()) {
        for (const auto& warning : warnings) {
            if (out.size() >= kMaxAtATime) return;
            Note note = about_service(service);
            if (note.regarding.uid.empty()) continue;
            note.reason = "PartlyIgnored";
            note.action = "Compiling";
            note.text = warning + ": correct it; the rest is in force";
            note.of_cluster = true;
            out.push_back(std::move(note));
        }
    }
}

void Complaints::add_own(std::vector<Note>& out, const std::string& trouble) const {
    Note note = about_node(node_);
    note.reason = "PodRangeRefused";
    note.action = "Configuring";
    note.text = "spec.podCIDRs: " + trouble;
    out.push_back(std::move(note));
}

/// What all nodes find is told at the Node that has the range, the rest at this node's.
void Complaints::add_peer(std::vector<Note>& out, const RefusedRange& range) const {
    const bool by_all = range.why == RefusedRange::Why::kOverlap;
    Note note = about_node(by_all ? range.node : node_);
    note.reason = "PeerRouteRefused";
    note.action = "Routing";
    note.text = fmt::format("{}: {}: {}", by_all ? "spec.podCIDRs" : "Node " + range.node,
                            range.text, advice_for(range.why));
    note.of_cluster = by_all;
    out.push_back(std::move(note));
}

/// Pods of this node that are closed, and what of policies does not work as written.
void Complaints::add_policies(std::vector<Note>& out) const {
    const auto uid_of = [](const auto* object) {
        return object == nullptr ? std::string() : object->meta.uid.str();
    };
    for (const policy::Problem& problem : policing_.problems()) {
        if (out.size() >= kMaxAtATime) return;
        const std::string kind = problem.object.substr(0, problem.object.find(' '));
        const std::string name = problem.object.substr(problem.object.find(' ') + 1);
        const size_t slash = name.find('/');
        const bool in_ns = slash != std::string::npos;
        const model::ObjectName full{model::Text(in_ns ? name.substr(0, slash) : std::string()),
                                     model::Text(in_ns ? name.substr(slash + 1) : name)};
        Note note;
        if (kind == "Pod") {
            note = about_pod(full);
            if (note.regarding.uid.empty()) note.regarding.uid = policing_.late_uid(full);
        } else if (kind == "NetworkPolicy") {
            note = note_on(kube::Kind::kNetworkPolicy, full,
                           uid_of(objects_.store().find<model::NetworkPolicy>(full)));
        } else {
            note = note_on(kube::Kind::kClusterNetworkPolicy, full,
                           uid_of(objects_.store().find<model::ClusterNetworkPolicy>(full)));
        }
        if (note.regarding.uid.empty()) continue;
        note.reason = kind == "Pod" ? "PolicyClosed" : "PartlyIgnored";
        note.action = "Compiling";
        note.text = problem.text;
        note.of_cluster = kind != "Pod";
        out.push_back(std::move(note));
    }
}

std::vector<EventNote> Complaints::current(const OfNodes& of_nodes) const {
    std::vector<Note> out;
    if (!of_nodes.own.empty()) add_own(out, of_nodes.own);
    for (const RefusedRange& range : of_nodes.peers) {
        if (out.size() < kMaxAtATime) add_peer(out, range);
    }
    add_refused(out);
    add_tables(out);
    add_warnings(out);
    add_policies(out);
    return out;
}

void Complaints::look(Clock::time_point now, const OfNodes& of_nodes) {
    const bool leading = api_.leading();
    for (Note& note : current(of_nodes)) {
        if (note.of_cluster && !leading) continue;
        Told& told = told_[event_name(note)];
        told.lasts = true;
        if (told.at != Clock::time_point() && now - told.at < kRepeat) continue;
        told.at = now;
        api_.tell(std::move(note));
    }
    // What is over is told again if it comes back. Another one may be elected meanwhile.
    for (auto it = told_.begin(); it != told_.end();)
        it = std::exchange(it->second.lasts, false) ? std::next(it) : told_.erase(it);
}

}  // namespace weir::agent
