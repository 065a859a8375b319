// SPDX-License-Identifier: Apache-2.0
#include "agent/cni_queue.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <boost/json/parse.hpp>

#include "common/cni_protocol.h"
#include "common/log.h"

namespace weir::agent {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

Result<DelQueue::Entry> read_entry(const fs::path& path) {
    std::error_code failed;
    if (fs::file_size(path, failed) > cni::kQueueMaxEntrySize || failed) {
        return fail(Errc::kInvalid, "too long or unreadable");
    }
    DelQueue::Entry entry{.path = path, .content = WEIR_TRY(read_file(path)), .key = {}};
    try {
        const json::value parsed = json::parse(entry.content);
        entry.queued = BootTime(parsed.at("queuedAt").to_number<int64_t>());
        const json::object& request = parsed.at("request").as_object();
        entry.key.container = request.at("containerId").as_string();
        entry.key.ifname = request.at("ifname").as_string();
    } catch (const std::exception& error) {
        return fail(Errc::kInvalid, "{}", error.what());
    }
    return entry;
}

}  // namespace

Result<DelQueue> DelQueue::open(fs::path dir) {
    const int raw = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (raw < 0) return fail_errno(errno, "inotify");
    DelQueue queue(std::move(dir), Fd(raw));
    WEIR_CHECK(queue.watch());
    return queue;
}

// Again each time: the directory may be another one by now. The same one is watched once only.
Result<void> DelQueue::watch() {
    std::error_code failed;
    fs::create_directories(dir_, failed);
    if (failed) return fail_errno(failed.value(), "create directory {}", dir_.string());
    if (::inotify_add_watch(watch_.get(), dir_.c_str(), IN_MOVED_TO | IN_ONLYDIR) < 0) {
        return fail_errno(errno, "watch {}", dir_.string());
    }
    return {};
}

void DelQueue::drain_watch() const {
    alignas(inotify_event) std::array<char, 4096> events{};
    while (::read(watch_.get(), events.data(), events.size()) > 0) {
    }
}

Result<Fd> DelQueue::lock() const {
    const fs::path path = dir_ / cni::kQueueLockName;
    const int raw = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (raw < 0) return fail_errno(errno, "open {}", path.string());
    Fd fd(raw);
    while (::flock(raw, LOCK_EX) != 0) {
        if (errno != EINTR) return fail_errno(errno, "lock {}", path.string());
    }
    return fd;
}

Result<DelQueue::Entries> DelQueue::list() {
    drain_watch();
    WEIR_CHECK(watch());
    Entries entries;
    std::error_code failed;
    for (const auto& file : fs::directory_iterator(dir_, failed)) {
        if (file.path().extension() != cni::kQueueSuffix) continue;
        auto entry = read_entry(file.path());
        if (entry) {
            entries.sound.push_back(std::move(*entry));
            continue;
        }
        log::warn("CNI queue: {} is no DEL and is removed: {}", file.path().string(),
                  entry.error().message());
        fs::remove(file.path(), failed);
        ++entries.unreadable;
    }
    if (failed) return fail_errno(failed.value(), "read directory {}", dir_.string());
    std::ranges::sort(entries.sound, {}, &Entry::queued);
    return entries;
}

Result<void> DelQueue::remove(const Entry& entry) {
    const Fd held = WEIR_TRY(lock());
    const auto now = read_file(entry.path);
    if (!now || *now != entry.content) return {};
    if (::unlink(entry.path.c_str()) != 0 && errno != ENOENT) {
        return fail_errno(errno, "remove {}", entry.path.string());
    }
    return {};
}

}  // namespace weir::agent
