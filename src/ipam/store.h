// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "common/fd.h"
#include "ipam/record.h"

namespace weir::ipam {

/// A directory with one small file a record: a change costs the same with one allocation and with
/// thousands. Meant for a tmpfs, which survives the agent but not a reboot, as sandboxes do.
/// Not thread-safe; one process at a time, which open() makes sure of by a lock.
class Store {
  public:
    struct Loaded {
        std::vector<Record> records;
        std::vector<std::string> damaged;  ///< files that only look like records: torn, foreign
    };

    /// Makes the directory if need be. kUnavailable if another process has it open.
    static Result<Store> open(std::filesystem::path dir);

    /// Reads all records and removes what an interrupted write left behind.
    Result<Loaded> load();
    /// Durable and whole when it returns: new, or in place of the record of the same key.
    Result<void> put(const Record& record);
    /// No error if there is none.
    Result<void> remove(const AttachmentKey& key);
    /// Deletes a file that load() called damaged.
    Result<void> discard(const std::string& file_name);

    [[nodiscard]] const std::filesystem::path& dir() const { return dir_; }

  private:
    Store(std::filesystem::path dir, Fd lock) : dir_(std::move(dir)), lock_(std::move(lock)) {}

    std::filesystem::path dir_;
    Fd lock_;
};

}  // namespace weir::ipam
