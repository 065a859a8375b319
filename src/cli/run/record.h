// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"

namespace weir::cli::run {

/// What one run made or is about to make, written down before any of it is made: whoever finds the
/// record of a run that died can take all of it down.
struct Record {
    std::string ns;
    std::string name;
    std::string uid;
    std::string id;            ///< names what is made: NAME-XXXXXX
    std::string container_id;  ///< as a runtime would choose it: 64 hexadecimal digits
    std::filesystem::path netns;
    std::filesystem::path cgroup;
    std::filesystem::path manifest;
    std::string port_mappings;  ///< JSON, as CNI's capability has them; "" for none
    std::string conflist;       ///< the text, so that DEL sees what ADD saw
    std::string cni_bin;
};

/// A record on disk and the lock on it. The lock is an flock that the front process and its reaper
/// share; it ends when both are gone, however they ended. The name is in use while it is held.
class RecordFile {
  public:
    /// `<run_dir>/runs/<ns>_<name>.json`. kExists: such a pod runs now. The file may hold the
    /// record of a run that died: see leftover().
    static Result<RecordFile> acquire(const std::filesystem::path& run_dir, const std::string& ns,
                                      const std::string& name);
    /// Every record in `run_dir` whose processes are gone, locked.
    static std::vector<RecordFile> abandoned(const std::filesystem::path& run_dir);

    /// What the file holds; kNotFound if it is empty.
    [[nodiscard]] Result<Record> leftover() const;
    [[nodiscard]] Result<void> write(const Record& record);
    /// The result of ADD, for DEL; in a file beside the record.
    [[nodiscard]] Result<void> write_result(std::string_view result) const;
    /// "" if there is none.
    [[nodiscard]] std::string result() const;
    /// Removes record and result: everything is taken down.
    void remove() const;
    /// resolv.conf of the pod.
    [[nodiscard]] std::filesystem::path resolv_conf() const;
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    RecordFile(std::filesystem::path path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    static Result<RecordFile> lock(const std::filesystem::path& path, int flags);
    [[nodiscard]] std::filesystem::path result_path() const;

    std::filesystem::path path_;
    Fd fd_;
};

}  // namespace weir::cli::run
