// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "datapath/netlink/sysctl.h"

namespace weir::netlink {
namespace {

Result<uint16_t> parse_port(std::string_view text) {
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size()) {
        return fail(Errc::kInvalid, "\"{}\" is not a port", text);
    }
    return port;
}

}  // namespace

Result<std::vector<PortRange>> parse_ports(std::string_view text) {
    std::vector<PortRange> ports;
    while (!text.empty()) {
        const std::string_view item = text.substr(0, text.find(','));
        text.remove_prefix(std::min(item.size() + 1, text.size()));
        const size_t dash = item.find('-');
        const uint16_t first = WEIR_TRY(parse_port(item.substr(0, dash)));
        const uint16_t last =
            dash == std::string_view::npos ? first : WEIR_TRY(parse_port(item.substr(dash + 1)));
        if (last < first) return fail(Errc::kInvalid, "port range \"{}\" is backwards", item);
        ports.push_back({first, last});
    }
    return merge_ports(ports, {});
}

std::string format_ports(const std::vector<PortRange>& ports) {
    std::string text;
    for (const PortRange& range : ports) {
        if (!text.empty()) text += ',';
        text += fmt::format("{}", range.first);
        if (range.last != range.first) text += fmt::format("-{}", range.last);
    }
    return text;
}

std::vector<PortRange> merge_ports(const std::vector<PortRange>& a,
                                   const std::vector<PortRange>& b) {
    std::vector<PortRange> all = a;
    all.insert(all.end(), b.begin(), b.end());
    std::sort(all.begin(), all.end(),
              [](const PortRange& x, const PortRange& y) { return x.first < y.first; });
    std::vector<PortRange> merged;
    for (const PortRange& range : all) {
        if (!merged.empty() && range.first <= merged.back().last + 1) {
            merged.back().last = std::max(merged.back().last, range.last);
        } else {
            merged.push_back(range);
        }
    }
    return merged;
}

std::vector<PortRange> subtract_ports(const std::vector<PortRange>& a,
                                      const std::vector<PortRange>& b) {
    std::vector<PortRange> left;
    for (const PortRange& range : merge_ports(a, {})) {
        uint32_t first = range.first;  // may grow past 65535
        for (const PortRange& hole : merge_ports(b, {})) {
            if (hole.last < first || hole.first > range.last) continue;
            if (hole.first > first) {
                left.push_back(
                    {static_cast<uint16_t>(first), static_cast<uint16_t>(hole.first - 1)});
            }
            first = hole.last + 1U;
        }
        if (first <= range.last) left.push_back({static_cast<uint16_t>(first), range.last});
    }
    return left;
}

}  // namespace weir::netlink
