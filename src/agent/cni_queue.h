// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/boot_time.h"
#include "common/fd.h"
#include "ipam/record.h"

namespace weir::agent {

/// The directory where the plugin leaves DELs while no agent answers. One caller at a time.
class DelQueue {
  public:
    struct Entry {
        std::filesystem::path path;
        std::string content;
        ipam::AttachmentKey key;
        BootTime queued{};
    };
    struct Entries {
        std::vector<Entry> sound;
        size_t unreadable = 0;  ///< removed
    };

    /// Makes the directory if need be.
    static Result<DelQueue> open(std::filesystem::path dir);

    /// Readable when entries may have come; list() makes it unreadable again. For an event loop;
    /// a slow timer beside it covers a directory that somebody replaced.
    [[nodiscard]] int watch_fd() const { return watch_.get(); }

    /// All entries, oldest first.
    Result<Entries> list();
    /// The entry is done: it goes, unless the plugin has put a newer one in its place.
    Result<void> remove(const Entry& entry);

  private:
    DelQueue(std::filesystem::path dir, Fd watch)
        : dir_(std::move(dir)), watch_(std::move(watch)) {}
    Result<void> watch();
    void drain_watch() const;
    [[nodiscard]] Result<Fd> lock() const;

    std::filesystem::path dir_;
    Fd watch_;
};

}  // namespace weir::agent
