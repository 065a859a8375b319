// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/names.h"

#include <cctype>

namespace weir::netlink {
namespace {

constexpr std::string_view kAltPrefix = "weir+";
constexpr size_t kPodNameTail = 8;
/// With prefix, separator and a 15-character interface it fits the kernel's 127.
constexpr size_t kMaxContainerId = 100;

uint64_t fnv1a(std::string_view text, uint64_t hash = 0xcbf29ce484222325ULL) {
    for (const char c : text) {
        hash ^= static_cast<uint8_t>(c);
        hash *= 0x100000001b3ULL;
    }
    return hash;
}

uint64_t attachment_hash(std::string_view container_id, std::string_view ifname) {
    using std::string_view_literals::operator""sv;
    uint64_t hash = fnv1a(ifname, fnv1a("\0"sv, fnv1a(container_id)));
    // FNV's upper bits mix poorly over short input.
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    return hash ^ hash >> 33;
}

char sanitise(char c) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.';
    return plain ? c : 'x';
}

}  // namespace

std::string pod_host_ifname_prefix(std::string_view container_id, std::string_view ifname) {
    return fmt::format("w{:05x}-", attachment_hash(container_id, ifname) >> 44);
}

std::string pod_host_ifname(std::string_view container_id, std::string_view ifname,
                            std::string_view pod_name) {
    std::string name = pod_host_ifname_prefix(container_id, ifname);
    if (pod_name.size() > kPodNameTail) pod_name.remove_prefix(pod_name.size() - kPodNameTail);
    for (const char c : pod_name)
        name.push_back(sanitise(c));
    return name;
}

MacAddress pod_mac(std::string_view container_id, std::string_view ifname) {
    uint64_t hash = attachment_hash(container_id, ifname);
    MacAddress mac{};
    for (uint8_t& byte : mac) {
        byte = static_cast<uint8_t>(hash);
        hash >>= 8;
    }
    mac[0] = static_cast<uint8_t>((mac[0] & 0xfc) | 0x02);  // unicast, locally administered
    return mac;
}

std::string alt_name(std::string_view container_id, std::string_view ifname) {
    std::string id(container_id);
    if (id.size() > kMaxContainerId) {
        id = fmt::format("{}~{:016x}", id.substr(0, kMaxContainerId - 17), fnv1a(container_id));
    }
    return fmt::format("{}{}+{}", kAltPrefix, id, ifname);
}

std::optional<Attachment> parse_alt_name(std::string_view name) {
    if (!name.starts_with(kAltPrefix)) return std::nullopt;
    name.remove_prefix(kAltPrefix.size());
    // Container ids have no "+" (CNI spec 1.1.0, CNI_CONTAINERID); interface names may.
    const size_t plus = name.find('+');
    if (plus == std::string_view::npos || plus == 0 || plus + 1 == name.size()) return std::nullopt;
    return Attachment{std::string(name.substr(0, plus)), std::string(name.substr(plus + 1))};
}

}  // namespace weir::netlink
