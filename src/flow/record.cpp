// SPDX-License-Identifier: Apache-2.0
#include "flow/record.h"

#include <algorithm>
#include <array>
#include <ctime>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/number.h"
#include "weir/ct.h"
#include "weir/limits.h"

namespace weir::flow {
namespace {

constexpr double kTickSeconds = static_cast<double>(1ULL << WEIR_TICK_SHIFT) / 1e9;

struct DropName {
    std::string_view label;
    std::string_view text;
};
constexpr DropName kDropNames[] = {
#define WEIR_DROP(name, label, text) {label, text},
#include "weir/drop_reasons.def"
#undef WEIR_DROP
};

struct ProtocolName {
    uint8_t number;
    std::string_view name;
};
constexpr std::array kProtocols = {
    ProtocolName{IPPROTO_TCP, "TCP"}, ProtocolName{IPPROTO_UDP, "UDP"},
    ProtocolName{IPPROTO_ICMP, "ICMP"}, ProtocolName{IPPROTO_ICMPV6, "ICMPv6"},
    ProtocolName{IPPROTO_SCTP, "SCTP"}};

int64_t now_ns(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

bool equals_ignoring_case(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, [](unsigned char a, unsigned char b) {
        return std::tolower(a) == std::tolower(b);
    });
}

bool is_zero(const IpAddress& address) {
    return address == IpAddress();
}

}  // namespace

std::string_view drop_label(unsigned reason) {
    return reason < std::size(kDropNames) ? kDropNames[reason].label : "unknown";
}

std::string_view drop_text(unsigned reason) {
    return reason < std::size(kDropNames) ? kDropNames[reason].text
                                          : "a reason this version does not know";
}

std::optional<uint8_t> drop_by_label(std::string_view label) {
    for (size_t i = 0; i < std::size(kDropNames); ++i) {
        if (equals_ignoring_case(kDropNames[i].label, label)) return static_cast<uint8_t>(i);
    }
    return std::nullopt;
}

std::string protocol_name(uint8_t protocol) {
    for (const auto& known : kProtocols) {
        if (known.number == protocol) return std::string(known.name);
    }
    return std::to_string(protocol);
}

std::optional<uint8_t> protocol_by_name(std::string_view name) {
    for (const auto& known : kProtocols) {
        if (equals_ignoring_case(known.name, name)) return known.number;
    }
    return whole_number<uint8_t>(name);
}

bool is_egress(uint8_t hook) {
    return hook == WEIR_HOOK_POD_FROM || hook == WEIR_HOOK_DEV_OUT;
}

namespace {

RecordType type_of(uint8_t event) {
    if (event == WEIR_EVENT_DROP) return RecordType::kDrop;
    return event == WEIR_EVENT_FLOW_END ? RecordType::kEnd : RecordType::kNew;
}

void set_translation(Record& record, const weir_event& event) {
    const IpAddress to(event.daddr);
    const IpAddress delivered_to(event.nat_daddr);
    const IpAddress from(event.saddr);
    const IpAddress delivered_from(event.nat_saddr);
    record.source.ip = from;
    record.source.port = ntohs(event.sport);
    record.destination.ip = to;
    record.destination.port = ntohs(event.dport);
    // A packet dropped before translation has no delivered tuple.
    if (is_zero(delivered_to)) return;
    if (delivered_to != to || event.nat_dport != event.dport) {
        record.sent_to.emplace(to, ntohs(event.dport));
        record.destination.ip = delivered_to;
        record.destination.port = ntohs(event.nat_dport);
    }
    if (delivered_from != from || event.nat_sport != event.sport) {
        record.source_translated.emplace(delivered_from, ntohs(event.nat_sport));
    }
}

std::string rule_of(const Resolver& resolver, uint32_t rule) {
    return rule == 0 ? std::string() : resolver.rule(rule);
}

IdentityPtr identify(const Resolver& resolver, uint32_t endpoint, const IpAddress& address) {
    if (endpoint != 0) {
        if (auto pod = resolver.by_endpoint(endpoint)) return pod;
    }
    return resolver.by_address(address);
}

}  // namespace

RecordPtr Recorder::make(const weir_event& event) {
    auto record = std::make_shared<Record>();
    record->type = type_of(event.type);
    record->sequence = ++sequence_;
    const int64_t offset = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
    record->time_ns = static_cast<int64_t>(event.time_ns) + offset;
    record->family = event.family == 6 ? Family::kIpv6 : Family::kIpv4;
    record->protocol = event.proto;
    record->hook = event.hook;
    record->reason = event.reason;
    record->tcp_flags = event.tcp_flags;
    record->ct_kind = event.ct_kind;
    set_translation(*record, event);
    record->source.identity = identify(resolver_, event.endpoint[0], record->source.ip);
    record->destination.identity = identify(resolver_, event.endpoint[1], record->destination.ip);
    if (event.service != 0) record->service = resolver_.service(event.service);
    if (event.ifindex != 0) record->device = resolver_.device(event.ifindex);
    if (record->type != RecordType::kEnd) record->rule = rule_of(resolver_, event.rule);
    if (record->type == RecordType::kNew)
        record->egress_rule = rule_of(resolver_, event.egress_rule);
    if (record->type == RecordType::kDrop) record->length = event.length;
    if (record->type == RecordType::kEnd) record->duration_seconds = event.duration * kTickSeconds;
    record->suppressed = event.suppressed;
    return record;
}

RecordPtr Recorder::make_lost(uint64_t count, std::string_view source) {
    auto record = std::make_shared<Record>();
    record->type = RecordType::kLost;
    record->time_ns = now_ns(CLOCK_REALTIME);
    record->lost = count;
    record->lost_source = source;
    return record;
}

}  // namespace weir::flow
