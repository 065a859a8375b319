// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "common/result.h"
#include "model/policy_writes.h"

namespace weir::agent {

/// How many flows each rule decided, for as long as it has been known: the kernel's tables count
/// anew with each load of programs, and a number of theirs is another rule's after a while. Kept in
/// a file, so an agent that ends by itself loses nothing, and one that is killed what was counted
/// since the last save().
class PolicyHits {
  public:
    using Time = std::chrono::system_clock::time_point;
    /// A number of the kernel's table.
    using Read = std::function<Result<uint64_t>(uint32_t number)>;

    struct Total {
        uint64_t flows = 0;
        Time since;                ///< since when they are counted
        std::optional<Time> last;  ///< when look() first saw the latest of them
    };

    /// Takes up what the file holds; a file that cannot be read is told of and begun anew.
    explicit PolicyHits(std::filesystem::path file);

    /// The tables of now are not written any more: what they counted is kept.
    void end();
    /// The tables that are written from now on.
    void begin(Read read) { read_ = std::move(read); }
    /// Before the writes of their transaction.
    void apply(std::span<const model::PolicyCounter> changes, Time now);
    /// What has counted since the last time.
    void look(Time now);
    [[nodiscard]] Result<Total> total(uint32_t number) const;
    Result<void> save();

    /// Rules that are in force nowhere on this node are remembered up to this number.
    static constexpr size_t kMostIdle = 65'536;

  private:
    struct Rule {
        uint64_t before = 0;  ///< of earlier numbers and tables
        uint64_t seen = 0;    ///< by the last look()
        Time since;
        std::optional<Time> last;
    };
    struct Live {
        std::string rule;
        uint64_t start = 0;  ///< what the number had when it became this rule's
    };

    void load();
    /// What a live number has counted for its rule; 0 where the table cannot be read.
    [[nodiscard]] Result<uint64_t> counted(uint32_t number, const Live& live) const;
    void keep(uint32_t number, const Live& live);
    void forget_idle();

    std::filesystem::path file_;
    Read read_;
    std::unordered_map<std::string, Rule> rules_;
    std::unordered_map<uint32_t, Live> live_;
    std::string saved_;
};

}  // namespace weir::agent
