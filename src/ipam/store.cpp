// SPDX-License-Identifier: Apache-2.0
#include "ipam/store.h"

#include <cerrno>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::ipam {
namespace {

constexpr std::string_view kRecordSuffix = ".json";
// What write_file_atomic() has in its temporary names.
constexpr std::string_view kTemporaryMark = ".json.tmp";
constexpr std::string_view kLockName = "lock";

Result<std::vector<std::string>> list_files(const std::filesystem::path& dir) {
    DIR* stream = ::opendir(dir.c_str());
    if (stream == nullptr) return fail_errno(errno, "open directory {}", dir.string());
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream)) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != ".." && name != kLockName) names.emplace_back(name);
    }
    ::closedir(stream);
    return names;
}

Result<Record> read_record(const std::filesystem::path& path) {
    const std::string text = WEIR_TRY(read_file(path));
    Record record = WEIR_TRY(decode(text));
    if (record_file_name(record.key) != path.filename()) {
        return fail(Errc::kInvalid, "the record of {} under another name", record.key.to_string());
    }
    return record;
}

}  // namespace

Result<Store> Store::open(std::filesystem::path dir) {
    std::error_code failed;
    std::filesystem::create_directories(dir, failed);
    if (failed) return fail_errno(failed.value(), "create directory {}", dir.string());
    const std::filesystem::path path = dir / kLockName;
    const int raw = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (raw < 0) return fail_errno(errno, "open {}", path.string());
    Fd lock(raw);
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Errc::kUnavailable,
                    "{} is in use by another process: stop the other agent first", dir.string());
    }
    return Store(std::move(dir), std::move(lock));
}

Result<Store::Loaded> Store::load() {
    Loaded loaded;
    for (std::string& name : WEIR_TRY(list_files(dir_))) {
        if (!name.ends_with(kRecordSuffix)) {
            // Anything else here is none of ours.
            if (name.find(kTemporaryMark) != std::string::npos) WEIR_CHECK(discard(name));
            continue;
        }
        if (auto record = read_record(dir_ / name)) {
            loaded.records.push_back(std::move(*record));
        } else {
            loaded.damaged.push_back(std::move(name));
        }
    }
    return loaded;
}

Result<void> Store::put(const Record& record) {
    return write_file_atomic(dir_ / record_file_name(record.key), encode(record), 0600);
}

Result<void> Store::remove(const AttachmentKey& key) {
    return discard(record_file_name(key));
}

Result<void> Store::discard(const std::string& file_name) {
    const std::filesystem::path path = dir_ / file_name;
    // A directory is none of ours and may matter to whoever made it.
    if (::unlink(path.c_str()) != 0 && errno != ENOENT && errno != EISDIR) {
        return fail_errno(errno, "remove {}", path.string());
    }
    return {};
}

}  // namespace weir::ipam
