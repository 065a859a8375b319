// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/fd.h"
#include "kube/decode.h"
#include "kube/directory_watch.h"
#include "kube/problem.h"
#include "kube/store.h"

namespace weir::kube {

/// Objects from directories of *.yaml, *.yml and *.json files, followed as they change. No thread
/// of its own: one descriptor that an event loop waits on.
///
///     kube::Store store;
///     kube::EndpointController controller(store);
///     store.subscribe([&](const kube::Delta& delta) { ... });
///     auto files = WEIR_TRY(kube::FileSource::open(store, {"/etc/weir/objects"}));
///     for (;;) {
///         controller.update();             // endpoints of Services with a selector
///         store.publish();                 // calls the subscriber if anything changed
///         if (files.synced()) ...          // every directory has been read once
///         co_await descriptor.async_wait(wait_read);   // on files.fd(), which is not to be closed
///         WEIR_CHECK(files.on_readable());
///     }
///
/// What is wrong changes nothing: the last good state of an object stays while its document has
/// mistakes; all objects of a file stay while it cannot be read, and those missing from it while it
/// holds a document that cannot be told to be about a certain object; all objects of a directory
/// stay while that is away. problems() tells of it until it is mended. A file that is deleted takes
/// its objects along. Of directories the first one wins, of the files in one the first by name.
class FileSource {
  public:
    /// Reads what is there. A directory that does not exist yet is a problem, not an error.
    static Result<FileSource> open(Store& store, std::vector<std::filesystem::path> directories);
    FileSource(FileSource&&) = default;
    FileSource& operator=(FileSource&&) = delete;
    ~FileSource() = default;

    /// Readable when on_readable() should be called. A lone change is taken at once, of a burst the
    /// rest is gathered for a few milliseconds. Valid as long as this object.
    [[nodiscard]] int fd() const { return epoll_.get(); }
    /// Brings the store up to date. Harmless when there is nothing to do.
    Result<void> on_readable();
    /// True once every directory has been read.
    [[nodiscard]] bool synced() const;
    /// What a person has to mend, by file and line.
    [[nodiscard]] std::vector<Problem> problems() const;

    static constexpr uintmax_t kMaxFileBytes = uintmax_t{64} << 20;
    static constexpr size_t kMaxFiles = 65536;  ///< of one directory

  private:
    /// What tells two states of a file apart.
    struct Signature {
        uint64_t device = 0;
        uint64_t inode = 0;
        int64_t size = -1;
        int64_t modified_ns = 0;
        int64_t changed_ns = 0;
        bool operator==(const Signature&) const = default;
    };
    /// A document of a kind that we do not read, where one of ours was before.
    struct Foreign {
        DecodedFile::Foreign document;
        bool stands_for_ours = false;
    };
    struct File {
        SourceId source = 0;
        Signature signature;
        std::vector<Foreign> foreign;
        std::vector<Problem> problems;
    };
    struct Directory {
        std::filesystem::path path;
        std::map<std::string, File> files;
        std::vector<Problem> problems;
        bool scanned = false;
    };
    using Clock = std::chrono::steady_clock;
    enum class Pending : uint8_t { kNothing, kLone, kBurst };
    enum class Reading : uint8_t { kIfChanged, kAlways };

    FileSource(Store& store, std::vector<Directory> directories, DirectoryWatch watch, Fd epoll,
               Fd timer)
        : store_(&store),
          directories_(std::move(directories)),
          watch_(std::move(watch)),
          epoll_(std::move(epoll)),
          timer_(std::move(timer)) {}

    void apply(const DirectoryWatch::Changes& changes);
    void scan(size_t index, Reading reading);
    void drop_missing(Directory& directory, const std::set<std::string>& names);
    void load(Directory& directory, const std::string& name, Reading reading);
    void read_into(Directory& directory, const std::string& name, File& file);
    void merge(File& file, DecodedFile decoded);
    [[nodiscard]] bool stays(const File& file, const DecodedFile& decoded,
                             const ObjectKey& key) const;
    static std::vector<Foreign> judge(const std::vector<Foreign>& before,
                                      const DecodedFile& decoded,
                                      const std::unordered_set<ObjectKey>& defined);
    static void set_problems(std::vector<Problem>& problems, std::vector<Problem> now,
                             const std::string& file);
    [[nodiscard]] Pending judge_pending() const;
    Result<void> set_timer(bool on);

    Store* store_;
    TextPool pool_;
    std::vector<Directory> directories_;
    DirectoryWatch watch_;
    Fd epoll_;
    Fd timer_;
    bool timer_set_ = false;
    Clock::time_point last_applied_;
};

}  // namespace weir::kube
