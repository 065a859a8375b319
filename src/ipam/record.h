// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/boot_time.h"
#include "common/ip.h"
#include "model/types.h"

namespace weir::ipam {

/// What CNI calls an attachment: one interface of one container.
struct AttachmentKey {
    std::string container;
    std::string ifname;
    [[nodiscard]] std::string to_string() const { return container + "/" + ifname; }
    auto operator<=>(const AttachmentKey&) const = default;
};

enum class RecordState : uint8_t {
    kPending,    ///< an ADD is under way, or died: after a restart it is undone
    kCommitted,  ///< wired; the ADD may have been answered
    kReleased,   ///< the addresses rest; kept so that a restart does not hand them out at once
};

/// One attachment and its addresses: what is written to disk before an ADD goes on.
struct Record {
    AttachmentKey key;
    std::string network;  ///< name of the CNI network
    std::string netns;    ///< path of the network namespace, as the runtime named it
    std::string pod_namespace;
    std::string pod_name;
    std::string pod_uid;
    std::vector<IpAddress> addresses;  ///< at most one a family, IPv4 first
    std::vector<model::HostPort> host_ports;
    uint64_t serial = 0;  ///< order of allocation
    BootTime created{};   ///< zero: found on the host, made before anybody here knows
    BootTime released{};
    RecordState state = RecordState::kPending;
    bool operator==(const Record&) const = default;
};

/// One line of JSON and a line with its checksum.
std::string encode(const Record& record);
/// Fails on anything that encode() did not write whole: torn, changed, foreign.
Result<Record> decode(std::string_view text);

/// "<container>@<ifname>.json". A container id has no "@".
std::string record_file_name(const AttachmentKey& key);
/// Longest container id whose record has a file name.
inline constexpr size_t kMaxContainerIdLength = 200;

}  // namespace weir::ipam
