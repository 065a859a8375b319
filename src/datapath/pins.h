// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace weir::datapath {

/// Called before each step that changes pinned state, with the step's name: progress for a log, and
/// the places where a test kills the agent.
using StepHook = std::function<void(std::string_view)>;

/// Where everything that outlives an agent is pinned: <bpffs>/weir/v<ABI>/{maps,progs,links}.
/// Beside them qdiscs/ has an empty directory for each device that got a qdisc from Weir
/// (clsact.h).
class PinDir {
  public:
    /// `bpffs`: a mounted BPF file system (host_checks.h proves it).
    explicit PinDir(const std::filesystem::path& bpffs);

    [[nodiscard]] const std::filesystem::path& root() const { return root_; }
    [[nodiscard]] std::filesystem::path map(std::string_view name) const { return maps() / name; }
    [[nodiscard]] std::filesystem::path prog(std::string_view name) const { return progs() / name; }
    [[nodiscard]] std::filesystem::path link(std::string_view name) const { return links() / name; }
    [[nodiscard]] std::filesystem::path maps() const { return root_ / "maps"; }
    [[nodiscard]] std::filesystem::path progs() const { return root_ / "progs"; }
    [[nodiscard]] std::filesystem::path links() const { return root_ / "links"; }
    [[nodiscard]] std::filesystem::path qdiscs() const { return root_ / "qdiscs"; }

    /// Makes the directories, mode 0700; fine if they exist.
    [[nodiscard]] Result<void> create() const;

  private:
    std::filesystem::path root_;
};

/// Opens a pinned object. `read_only`: a map that can be read but not written (BPF_F_RDONLY).
Result<Fd> open_pin(const std::filesystem::path& path, bool read_only = false);
/// Pins an object; an existing pin is an error (kExists).
Result<void> pin(int fd, const std::filesystem::path& path);
/// Ends the name of a pin that pin_replacing() had not yet renamed when the agent died.
inline constexpr std::string_view kUnfinished = "-next";
/// Pins an object in place of whatever `path` holds, by rename: the path always names one of both.
Result<void> pin_replacing(int fd, const std::filesystem::path& path);
/// Removes a pin; the answer tells whether there was one.
Result<bool> unpin(const std::filesystem::path& path);
/// Names in a pin directory, sorted; none if the directory does not exist.
std::vector<std::string> list_pins(const std::filesystem::path& dir);

}  // namespace weir::datapath
