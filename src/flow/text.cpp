// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "flow/record.h"

namespace weir::flow {
namespace {

bool has_ports(uint8_t protocol) {
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

// "shop/web-1:80"; without a name the address; "(host)" and "(node n2)" say what an address is.
std::string peer_text(const Peer& peer, bool ports) {
    const auto kind = peer.identity ? peer.identity->kind : PeerKind::kOutside;
    if (kind == PeerKind::kPod) {
        const std::string name = peer.identity->name.to_string();
        return ports ? fmt::format("{}:{}", name, peer.port) : name;
    }
    const std::string address = ports ? peer.ip.with_port(peer.port) : peer.ip.to_string();
    if (kind == PeerKind::kHost) return address + " (host)";
    if (kind == PeerKind::kNode) {
        return fmt::format("{} (node {})", address, peer.identity->name.name);
    }
    return address;
}

// The sender as people know it. Of a pod that lied, also the address that it used.
std::string source_text(const Record& record, bool ports) {
    const Peer& peer = record.source;
    if (record.type == RecordType::kDrop && record.reason == WEIR_DROP_SPOOFED_SOURCE) {
        return fmt::format("{} as {}", peer_text(peer, false),
                           ports ? peer.ip.with_port(peer.port) : peer.ip.to_string());
    }
    return peer_text(peer, ports);
}

std::string via_text(const Record& record, bool ports) {
    const std::string masked =
        record.source_translated
            ? fmt::format(" as {}", ports ? record.source_translated->first.with_port(
                                                record.source_translated->second)
                                          : record.source_translated->first.to_string())
            : "";
    if (record.service) {
        return fmt::format(" via {}:{}{}", record.service->service.to_string(),
                           record.service->port, masked);
    }
    if (record.sent_to) {
        return fmt::format(" via {}{}", record.sent_to->first.with_port(record.sent_to->second),
                           masked);
    }
    return masked;
}

std::string outcome_text(const Record& record) {
    switch (record.type) {
        case RecordType::kNew:
            return "new";
        case RecordType::kEnd:
            return fmt::format("{} after {:.0f}s",
                               record.reason == WEIR_END_EXPIRED ? "expired" : "closed",
                               record.duration_seconds);
        case RecordType::kDrop:
            return fmt::format(
                "{}: {}{}", drop_label(record.reason),
                record.rule.empty() ? std::string(drop_text(record.reason)) : record.rule,
                record.suppressed > 0 ? fmt::format("; {} more like this", record.suppressed) : "");
        case RecordType::kLost:
            break;
    }
    return "";
}

}  // namespace

std::string summary(const Record& record) {
    if (record.type == RecordType::kLost) {
        return fmt::format("LOST {} records ({})", record.lost,
                           record.lost_source == "ring" ? "the kernel's buffer was full"
                                                        : "this reader was too slow");
    }
    const bool ports = has_ports(record.protocol);
    return fmt::format(
        "{} {} {} -> {}{} ({})", record.type == RecordType::kDrop ? "DROPPED" : "FORWARDED",
        protocol_name(record.protocol), source_text(record, ports),
        peer_text(record.destination, ports), via_text(record, ports), outcome_text(record));
}

}  // namespace weir::flow
