// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace weir::netlink {

/// Where kernel settings are, if not at /proc/sys: a container sees its own read-only, and may have
/// the host's mounted elsewhere. To be called before there are threads.
void set_sysctl_root(const std::filesystem::path& root);

/// A kernel setting by its path below /proc/sys, in the calling thread's network namespace.
Result<std::string> read_sysctl(const std::string& name);
Result<void> write_sysctl(const std::string& name, std::string_view value);

/// Ports, both ends included.
struct PortRange {
    uint16_t first = 0;
    uint16_t last = 0;
    bool operator==(const PortRange&) const = default;
};
/// "1-2,7": the kernel's form, sorted and merged.
Result<std::vector<PortRange>> parse_ports(std::string_view text);
std::string format_ports(const std::vector<PortRange>& ports);
std::vector<PortRange> merge_ports(const std::vector<PortRange>& a,
                                   const std::vector<PortRange>& b);
/// What is in `a` and not in `b`.
std::vector<PortRange> subtract_ports(const std::vector<PortRange>& a,
                                      const std::vector<PortRange>& b);

/// Settings of the host that Weir changes, each with what it was before: written to a file before
/// the change, so that a cleanup after any crash can put it back. Not thread-safe.
class SysctlJournal {
  public:
    /// Reads `file` if it is there. kInvalid: it is not a journal (the message says what to do).
    static Result<SysctlJournal> open(std::filesystem::path file);

    /// Nothing happens, and nothing is remembered, if the setting has that value already.
    Result<void> set(const std::string& name, const std::string& value);
    /// Adds `ports` to net.ipv4.ip_local_reserved_ports; of those that Weir added before, the ones
    /// no longer wanted leave.
    Result<void> reserve_ports(const std::vector<PortRange>& ports);

    /// Takes `ports` out of net.ipv4.ip_local_port_range, of which the larger rest stays. Reserved
    /// ports within it would not do: the kernel goes on from one of them to the next that is free,
    /// so the first behind them would be chosen far too often, and found after a long search.
    Result<void> leave_local_range(const PortRange& ports);

    /// Puts one setting back, if it still has the value we gave it, and forgets it.
    Result<void> restore(const std::string& name);
    /// As restore for all, ports of ours included; settings changed by others stay and are named in
    /// the result.
    Result<std::vector<std::string>> restore_all();

  private:
    struct Entry {
        std::string original;
        std::string ours;
    };
    explicit SysctlJournal(std::filesystem::path file) : file_(std::move(file)) {}
    Result<void> load(std::string_view content);
    [[nodiscard]] Result<void> save() const;
    Result<bool> put_back(const std::string& name, const Entry& entry);

    std::filesystem::path file_;
    std::map<std::string, Entry> entries_;
    std::vector<PortRange> ports_;  ///< added by us to the reserved ones
};

}  // namespace weir::netlink
