// SPDX-License-Identifier: Apache-2.0
#include "agent/conntrack_filter.h"

#include <algorithm>

#include "common/ip.h"
#include "common/number.h"

namespace weir::api {
namespace {

constexpr std::string_view kStates[] = {"new", "established", "closing", "closed"};

bool equals_ignoring_case(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, [](unsigned char a, unsigned char b) {
        return std::tolower(a) == std::tolower(b);
    });
}

// "shop/web-1" is matched by itself and by "web-1".
bool is_object(std::string_view object, std::string_view wanted) {
    if (object.empty()) return false;
    return object == wanted || (wanted.find('/') == std::string_view::npos &&
                                object.substr(object.find('/') + 1) == wanted);
}

bool holds(const IpPrefix& prefix, const std::string& address) {
    if (address.empty()) return false;
    const auto parsed = IpAddress::parse(address);
    return parsed && prefix.contains(*parsed);
}

Result<IpPrefix> parse_range(const std::string& value) {
    if (value.find('/') != std::string::npos) return IpPrefix::parse_lenient(value);
    const IpAddress address = WEIR_TRY(IpAddress::parse(value));
    return IpPrefix::make(address, address.is_v4() ? 32 : 128);
}

}  // namespace

Result<ConntrackFilter::Test> ConntrackFilter::parse_test(const std::string& key,
                                                          const std::string& value) {
    if (key == "pod") {
        return [value](const Conntrack& e) {
            return is_object(e.source_pod, value) || is_object(e.destination_pod, value);
        };
    }
    if (key == "service") {
        return [value](const Conntrack& e) {
            return is_object(e.service.substr(0, e.service.rfind(':')), value);
        };
    }
    if (key == "ip") {
        const auto range = parse_range(value);
        if (!range) return Failure(Error(range.error()).with("--ip \"{}\"", value));
        return [range = *range](const Conntrack& e) {
            return holds(range, e.source) || holds(range, e.destination) ||
                   holds(range, e.nat_source) || holds(range, e.nat_destination);
        };
    }
    if (key == "port") {
        const auto number = whole_number<uint16_t>(value);
        if (!number) return fail(Errc::kInvalid, "--port \"{}\": expected 0 to 65535", value);
        return [port = *number](const Conntrack& e) {
            return e.source_port == port || e.destination_port == port ||
                   (!e.rewrites.empty() &&
                    (e.nat_source_port == port || e.nat_destination_port == port));
        };
    }
    if (key == "protocol") {
        return [value](const Conntrack& e) { return equals_ignoring_case(e.protocol, value); };
    }
    if (key == "state") {
        if (std::ranges::find(kStates, value) == std::end(kStates)) {
            return fail(Errc::kInvalid,
                        "--state \"{}\": expected new, established, closing or closed", value);
        }
        return [value](const Conntrack& e) { return e.state == value; };
    }
    return fail(Errc::kInvalid, "no conntrack filter \"{}\"", key);
}

Result<ConntrackFilter> ConntrackFilter::parse(
    std::span<const std::pair<std::string, std::string>> params) {
    ConntrackFilter filter;
    for (const auto& [key, value] : params) {
        Test test = WEIR_TRY(parse_test(key, value));
        auto group =
            std::ranges::find_if(filter.groups_, [&](const auto& g) { return g.first == key; });
        if (group == filter.groups_.end()) {
            group = filter.groups_.insert(filter.groups_.end(), {key, {}});
        }
        group->second.push_back(std::move(test));
    }
    return filter;
}

bool ConntrackFilter::matches(const Conntrack& entry) const {
    return std::ranges::all_of(groups_, [&](const auto& group) {
        return std::ranges::any_of(group.second, [&](const Test& test) { return test(entry); });
    });
}

}  // namespace weir::api
