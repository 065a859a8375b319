// SPDX-License-Identifier: Apache-2.0
#include <cctype>
#include <random>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <boost/json.hpp>

#include "common/rfc3339.h"
#include "flow/record.h"
#include "weir/ct.h"
#include "weir/limits.h"

namespace weir::flow {
namespace {

namespace json = boost::json;

std::string time_text(int64_t time_ns) {
    return rfc3339_nanos(
        std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::nanoseconds(time_ns)));
}

// Unique among all agents: random bits of this process, then the sequence.
std::string uuid(uint64_t sequence) {
    static const uint64_t kProcess = [] {
        std::random_device random;
        return uint64_t{random()} << 32 | random();
    }();
    return fmt::format("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", kProcess >> 32,
                       kProcess >> 16 & 0xffff, kProcess & 0xfff, sequence >> 48 & 0xfff,
                       sequence & 0xffffffffffff);
}

std::string upper(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return result;
}

json::array labels_of(const Identity& identity) {
    json::array labels;
    switch (identity.kind) {
        case PeerKind::kOutside:
            labels.emplace_back("reserved:world");
            break;
        case PeerKind::kHost:
            labels.emplace_back("reserved:host");
            break;
        case PeerKind::kNode:
            labels.emplace_back("reserved:remote-node");
            break;
        case PeerKind::kPod:
            for (const auto& [key, value] : identity.labels) {
                labels.emplace_back(fmt::format("k8s:{}={}", key, value));
            }
    }
    return labels;
}

json::object endpoint_json(const Peer& peer) {
    json::object endpoint;
    if (!peer.identity) return endpoint;
    const Identity& identity = *peer.identity;
    if (identity.kind == PeerKind::kPod) {
        endpoint["namespace"] = identity.name.ns.str();
        endpoint["pod_name"] = identity.name.name.str();
        if (!identity.workload.empty()) {
            endpoint["workloads"] = json::array{
                json::object{{"name", identity.workload}, {"kind", identity.workload_kind}}};
        }
    }
    endpoint["labels"] = labels_of(identity);
    return endpoint;
}

json::object tcp_flags_json(uint8_t flags) {
    static constexpr std::pair<uint8_t, const char*> kFlags[] = {{TH_FIN, "FIN"}, {TH_SYN, "SYN"},
                                                                 {TH_RST, "RST"}, {TH_PUSH, "PSH"},
                                                                 {TH_ACK, "ACK"}, {TH_URG, "URG"}};
    json::object result;
    for (const auto& [bit, name] : kFlags) {
        if ((flags & bit) != 0) result[name] = true;
    }
    return result;
}

json::object l4_json(const Record& record) {
    const json::object ports = {{"source_port", record.source.port},
                                {"destination_port", record.destination.port}};
    switch (record.protocol) {
        case IPPROTO_TCP: {
            json::object tcp = ports;
            tcp["flags"] = tcp_flags_json(record.tcp_flags);
            return {{"TCP", tcp}};
        }
        case IPPROTO_UDP:
            return {{"UDP", ports}};
        case IPPROTO_SCTP:
            return {{"SCTP", ports}};
        case IPPROTO_ICMP:
            return {{"ICMPv4", json::object()}};
        case IPPROTO_ICMPV6:
            return {{"ICMPv6", json::object()}};
        default:
            return {};
    }
}

const char* event_name(RecordType type) {
    if (type == RecordType::kDrop) return "drop";
    return type == RecordType::kEnd ? "end" : "new";
}

const char* kind_name(uint8_t kind) {
    static constexpr const char* kNames[] = {"plain", "service", "masquerade", "socket"};
    return kind < std::size(kNames) ? kNames[kind] : "unknown";
}

const char* hook_name(uint8_t hook) {
    static constexpr const char* kNames[] = {"pod_from", "pod_to", "dev_in", "dev_out"};
    return hook < std::size(kNames) ? kNames[hook] : "unknown";
}

json::object own_json(const Record& record) {
    json::object own = {{"event", event_name(record.type)},
                        {"hook", hook_name(record.hook)},
                        {"kind", kind_name(record.ct_kind)},
                        {"protocol", record.protocol}};
    if (record.sent_to) {
        own["sent_to"] = record.sent_to->first.with_port(record.sent_to->second);
    }
    if (record.source_translated) {
        own["source_translated"] =
            record.source_translated->first.with_port(record.source_translated->second);
    }
    if (record.service) own["service_port"] = record.service->port;
    if (!record.device.empty()) own["device"] = record.device;
    if (!record.rule.empty()) own["policy_rule"] = record.rule;
    if (!record.egress_rule.empty()) own["policy_egress_rule"] = record.egress_rule;
    if (record.type == RecordType::kDrop) {
        own["drop_text"] = drop_text(record.reason);
        own["bytes"] = record.length;
        own["suppressed"] = record.suppressed;
    }
    if (record.type == RecordType::kEnd) {
        own["end"] = record.reason == WEIR_END_EXPIRED ? "expired" : "closed";
        own["duration_seconds"] = record.duration_seconds;
    }
    return own;
}

json::object ip_json(const Record& record) {
    json::object ip = {{"source", record.source.ip.to_string()},
                       {"destination", record.destination.ip.to_string()},
                       {"ipVersion", record.family == Family::kIpv6 ? "IPv6" : "IPv4"}};
    if (record.source_translated) {
        ip["source_xlated"] = record.source_translated->first.to_string();
    }
    return ip;
}

json::object flow_json(const Record& record, std::string_view node_name) {
    const bool dropped = record.type == RecordType::kDrop;
    json::object flow;
    flow["time"] = time_text(record.time_ns);
    flow["uuid"] = uuid(record.sequence);
    flow["verdict"] = dropped ? "DROPPED" : "FORWARDED";
    if (dropped) flow["drop_reason_desc"] = upper(drop_label(record.reason));
    flow["IP"] = ip_json(record);
    flow["l4"] = l4_json(record);
    flow["source"] = endpoint_json(record.source);
    flow["destination"] = endpoint_json(record.destination);
    flow["Type"] = "L3_L4";
    flow["node_name"] = node_name;
    if (record.service) {
        flow["destination_service"] = json::object{{"name", record.service->service.name.str()},
                                                   {"namespace", record.service->service.ns.str()}};
    }
    flow["traffic_direction"] = is_egress(record.hook) ? "EGRESS" : "INGRESS";
    // A flow is reported as its originator sent it; a dropped packet's direction is not known.
    if (!dropped) flow["is_reply"] = false;
    flow["event_type"] = json::object{{"type", dropped ? 1 : 4}};
    flow["Summary"] = summary(record);
    flow["weir"] = own_json(record);
    return flow;
}

}  // namespace

std::string to_json(const Record& record, std::string_view node_name) {
    json::object line;
    if (record.type == RecordType::kLost) {
        line["lost_events"] =
            json::object{{"source", record.lost_source == "ring" ? "PERF_EVENT_RING_BUFFER"
                                                                 : "OBSERVER_EVENTS_QUEUE"},
                         {"num_events_lost", record.lost}};
    } else {
        line["flow"] = flow_json(record, node_name);
    }
    line["node_name"] = node_name;
    line["time"] = time_text(record.time_ns);
    return json::serialize(line);
}

}  // namespace weir::flow
