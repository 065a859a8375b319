// SPDX-License-Identifier: Apache-2.0
#include "flow/filter.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "common/number.h"

namespace weir::flow {
namespace {

constexpr size_t kMaxConditions = 64;

constexpr FilterKey kKeys[] = {
    {"verdict", "FORWARDED|DROPPED", "outcome of the flow"},
    {"from-pod", "[NAMESPACE/]POD", "sent by the pod; a * at the end matches any rest"},
    {"to-pod", "[NAMESPACE/]POD", "delivered to the pod"},
    {"pod", "[NAMESPACE/]POD", "sent by or delivered to the pod"},
    {"namespace", "NAMESPACE", "either end is a pod of the namespace"},
    {"service", "[NAMESPACE/]SERVICE", "through the Service"},
    {"ip", "ADDRESS|CIDR", "either address, before or after translation"},
    {"port", "PORT", "either port, before or after translation"},
    {"protocol", "PROTOCOL", "TCP, UDP, ICMP, ICMPv6, SCTP or a number"},
    {"reason", "REASON", "dropped for this reason (see docs/drop-reasons.md)"},
};

// [NAMESPACE/]NAME with an optional * at the end of either part.
struct NamePattern {
    std::string ns;
    std::string name;

    static bool part_matches(std::string_view pattern, std::string_view text) {
        if (!pattern.ends_with('*')) return pattern == text;
        return text.starts_with(pattern.substr(0, pattern.size() - 1));
    }
    [[nodiscard]] bool matches(const model::ObjectName& object) const {
        return (ns.empty() || part_matches(ns, object.ns)) && part_matches(name, object.name);
    }
};

Result<NamePattern> parse_pattern(const std::string& key, const std::string& value) {
    const size_t slash = value.find('/');
    NamePattern pattern;
    if (slash == std::string::npos) {
        pattern.name = value;
    } else {
        pattern = {value.substr(0, slash), value.substr(slash + 1)};
    }
    if (pattern.name.empty() || pattern.name.find('/') != std::string::npos ||
        (slash != std::string::npos && pattern.ns.empty())) {
        return fail(Errc::kInvalid, "--{} \"{}\": expected NAME or NAMESPACE/NAME", key, value);
    }
    return pattern;
}

bool is_pod(const Peer& peer, const NamePattern& pattern) {
    return peer.identity && peer.identity->kind == PeerKind::kPod &&
           pattern.matches(peer.identity->name);
}

bool in_namespace(const Peer& peer, std::string_view ns) {
    return peer.identity && peer.identity->kind == PeerKind::kPod && peer.identity->name.ns == ns;
}

bool has_address(const Record& record, const IpPrefix& prefix) {
    return prefix.contains(record.source.ip) || prefix.contains(record.destination.ip) ||
           (record.sent_to && prefix.contains(record.sent_to->first)) ||
           (record.source_translated && prefix.contains(record.source_translated->first));
}

bool has_port(const Record& record, uint16_t port) {
    return record.source.port == port || record.destination.port == port ||
           (record.sent_to && record.sent_to->second == port) ||
           (record.source_translated && record.source_translated->second == port);
}

Result<IpPrefix> parse_range(const std::string& value) {
    if (value.find('/') != std::string::npos) return IpPrefix::parse_lenient(value);
    const IpAddress address = WEIR_TRY(IpAddress::parse(value));
    return IpPrefix::make(address, address.is_v4() ? 32 : 128);
}

using Test = std::function<bool(const Record&)>;

Result<Test> parse_verdict(const std::string&, const std::string& value) {
    const bool dropped = value == "DROPPED" || value == "dropped";
    if (!dropped && value != "FORWARDED" && value != "forwarded") {
        return fail(Errc::kInvalid, "--verdict \"{}\": expected FORWARDED or DROPPED", value);
    }
    return [dropped](const Record& r) { return (r.type == RecordType::kDrop) == dropped; };
}

Result<Test> parse_pod(const std::string& key, const std::string& value) {
    const NamePattern pattern = WEIR_TRY(parse_pattern(key, value));
    const bool from = key != "to-pod";
    const bool to = key != "from-pod";
    return [=](const Record& r) {
        return (from && is_pod(r.source, pattern)) || (to && is_pod(r.destination, pattern));
    };
}

Result<Test> parse_namespace(const std::string&, const std::string& value) {
    return [value](const Record& r) {
        return in_namespace(r.source, value) || in_namespace(r.destination, value) ||
               (r.service && r.service->service.ns == value);
    };
}

Result<Test> parse_service(const std::string& key, const std::string& value) {
    const NamePattern pattern = WEIR_TRY(parse_pattern(key, value));
    return [=](const Record& r) { return r.service && pattern.matches(r.service->service); };
}

Result<Test> parse_ip(const std::string&, const std::string& value) {
    const auto prefix = parse_range(value);
    if (!prefix) return Failure(Error(prefix.error()).with("--ip \"{}\"", value));
    return [range = *prefix](const Record& r) { return has_address(r, range); };
}

Result<Test> parse_port(const std::string&, const std::string& value) {
    const auto port = whole_number<uint16_t>(value);
    if (!port) return fail(Errc::kInvalid, "--port \"{}\": expected 0 to 65535", value);
    return [wanted = *port](const Record& r) { return has_port(r, wanted); };
}

Result<Test> parse_protocol(const std::string&, const std::string& value) {
    const auto protocol = protocol_by_name(value);
    if (!protocol) {
        return fail(Errc::kInvalid,
                    "--protocol \"{}\": expected TCP, UDP, ICMP, ICMPv6, SCTP or 0 to 255", value);
    }
    return [wanted = *protocol](const Record& r) { return r.protocol == wanted; };
}

Result<Test> parse_reason(const std::string&, const std::string& value) {
    const auto reason = drop_by_label(value);
    if (!reason) {
        return fail(Errc::kInvalid,
                    "--reason \"{}\": no such drop reason; docs/drop-reasons.md lists them", value);
    }
    return [wanted = *reason](const Record& r) {
        return r.type == RecordType::kDrop && r.reason == wanted;
    };
}

struct Parser {
    std::string_view key;
    Result<Test> (*parse)(const std::string& key, const std::string& value);
};
constexpr Parser kParsers[] = {
    {"verdict", parse_verdict}, {"from-pod", parse_pod},        {"to-pod", parse_pod},
    {"pod", parse_pod},         {"namespace", parse_namespace}, {"service", parse_service},
    {"ip", parse_ip},           {"port", parse_port},           {"protocol", parse_protocol},
    {"reason", parse_reason},
};
static_assert(std::size(kParsers) == std::size(kKeys));

}  // namespace

std::span<const FilterKey> filter_keys() {
    return kKeys;
}

Result<Filter::Test> Filter::parse_test(const std::string& key, const std::string& value) {
    const auto parser = std::ranges::find(kParsers, key, &Parser::key);
    if (parser == std::end(kParsers)) return fail(Errc::kInvalid, "no flow filter \"{}\"", key);
    return parser->parse(key, value);
}

Result<Filter> Filter::parse(std::span<const FilterParam> params) {
    if (params.size() > kMaxConditions) {
        return fail(Errc::kInvalid, "{} flow filters; at most {} are allowed", params.size(),
                    kMaxConditions);
    }
    constexpr std::string_view kNot = "not-";
    Filter filter;
    for (const auto& [key, value] : params) {
        const bool negated = key.starts_with(kNot);
        const std::string name = negated ? key.substr(kNot.size()) : key;
        Test test = WEIR_TRY(parse_test(name, value));
        if (negated) {
            filter.excluded_.push_back(std::move(test));
            continue;
        }
        auto group = std::ranges::find(filter.required_, name, &Group::key);
        if (group == filter.required_.end()) {
            group = filter.required_.insert(filter.required_.end(), Group{name, {}});
        }
        group->any_of.push_back(std::move(test));
    }
    return filter;
}

bool Filter::matches(const Record& record) const {
    if (record.type == RecordType::kLost) return true;
    const auto holds = [&](const Test& test) { return test(record); };
    return std::ranges::none_of(excluded_, holds) &&
           std::ranges::all_of(required_, [&](const Group& group) {
               return std::ranges::any_of(group.any_of, holds);
           });
}

namespace {

struct Unit {
    std::string_view name;
    int64_t ns;
};
constexpr std::array kUnits = {Unit{"ms", 1'000'000}, Unit{"s", 1'000'000'000},
                               Unit{"m", 60'000'000'000}, Unit{"h", 3'600'000'000'000},
                               Unit{"d", 86'400'000'000'000}};
constexpr int64_t kMaxAmount = 1'000'000;

std::optional<int64_t> parse_rfc3339_ns(const std::string& text) {
    std::tm utc{};
    const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == nullptr) return std::nullopt;
    if (*rest == '.') {
        ++rest;
        while (*rest >= '0' && *rest <= '9')
            ++rest;
    }
    if (std::string_view(rest) != "Z") return std::nullopt;
    return int64_t{::timegm(&utc)} * 1'000'000'000;
}

Result<int64_t> parse_since(const std::string& value, int64_t now_ns) {
    if (const auto absolute = parse_rfc3339_ns(value)) return *absolute;
    const auto ago = parse_duration_ns(value);
    if (!ago) {
        return fail(Errc::kInvalid,
                    "--since \"{}\": expected a duration (90s, 5m, 1h30m) or a time "
                    "(2026-01-31T12:00:00Z)",
                    value);
    }
    return now_ns - *ago;
}

}  // namespace

Result<int64_t> parse_duration_ns(std::string_view text) {
    const auto wrong = [text] {
        return fail(Errc::kInvalid, "\"{}\" is no duration such as 90s, 5m or 1h30m", text);
    };
    if (text.empty()) return wrong();
    int64_t total = 0;
    for (std::string_view rest = text; !rest.empty();) {
        const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
        const auto amount = whole_number<int64_t>(rest.substr(0, digits));
        rest.remove_prefix(digits);
        const size_t letters = std::min(rest.find_first_of("0123456789"), rest.size());
        const auto unit = std::ranges::find(kUnits, rest.substr(0, letters), &Unit::name);
        if (!amount || *amount > kMaxAmount || unit == kUnits.end()) return wrong();
        if (__builtin_add_overflow(total, *amount * (unit->ns / 1'000'000), &total)) return wrong();
        rest.remove_prefix(letters);
    }
    int64_t ns = 0;
    if (__builtin_mul_overflow(total, int64_t{1'000'000}, &ns)) return wrong();
    return ns;
}

Result<Query> Query::parse(std::span<const FilterParam> params, int64_t now_ns) {
    Query query;
    std::vector<FilterParam> filters;
    for (const auto& [key, value] : params) {
        if (key == "since") {
            query.since_ns = WEIR_TRY(parse_since(value, now_ns));
        } else if (key == "last") {
            const auto last = whole_number<size_t>(value);
            if (!last) return fail(Errc::kInvalid, "--last \"{}\": expected a number", value);
            query.last = *last;
        } else if (key == "follow") {
            query.follow = value.empty() || value == "1" || value == "true";
        } else {
            filters.emplace_back(key, value);
        }
    }
    query.filter = WEIR_TRY(Filter::parse(filters));
    return query;
}

}  // namespace weir::flow
