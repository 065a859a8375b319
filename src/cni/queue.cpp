// SPDX-License-Identifier: Apache-2.0
#include "cni/queue.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include <boost/json/serialize.hpp>

#include "common/boot_time.h"
#include "common/fd.h"

namespace weir::cni {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr auto kLockLimit = std::chrono::seconds(5);
constexpr timespec kLockPause{.tv_sec = 0, .tv_nsec = 5'000'000};

Outcome<Fd> lock_queue(const fs::path& dir) {
    std::error_code failed;
    fs::create_directories(dir, failed);
    if (failed) {
        return refuse(Code::kIo, "create directory {}: {}", dir.string(), failed.message());
    }
    const fs::path path = dir / kQueueLockName;
    const int raw = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (raw < 0) return refuse(Code::kIo, "open {}: {}", path.string(), std::strerror(errno));
    Fd fd(raw);
    const BootTime deadline = boot_now() + kLockLimit;
    while (::flock(raw, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return refuse(Code::kIo, "lock {}: {}", path.string(), std::strerror(errno));
        }
        if (boot_now() > deadline) {
            return refuse(Code::kTryLater, "{} is locked by another process", path.string());
        }
        ::nanosleep(&kLockPause, nullptr);
    }
    return fd;
}

Outcome<size_t> count_entries(const fs::path& dir) {
    std::error_code failed;
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(dir, failed)) {
        if (entry.path().extension() == kQueueSuffix) ++count;
    }
    if (failed) return refuse(Code::kIo, "read directory {}: {}", dir.string(), failed.message());
    return count;
}

fs::path entry_path(const fs::path& dir, const json::object& request) {
    const json::string& container = request.at("containerId").get_string();
    const json::string& ifname = request.at("ifname").get_string();
    return dir / fmt::format("{}@{}{}", std::string_view(container), std::string_view(ifname),
                             kQueueSuffix);
}

}  // namespace

Outcome<void> queue_del(const fs::path& dir, const json::object& request,
                        const std::function<bool()>& once_more) {
    const BootTime asked = boot_now();
    const auto lock = lock_queue(dir);
    if (!lock) return tl::unexpected(lock.error());
    if (once_more()) return {};
    const fs::path path = entry_path(dir, request);
    const std::string entry =
        json::serialize(json::object{{"queuedAt", asked.count()}, {"request", request}});
    if (entry.size() > kQueueMaxEntrySize) {
        return refuse(Code::kTryLater,
                      "the agent does not answer, and the DEL is too long to keep "
                      "for it ({} bytes)",
                      entry.size());
    }
    const auto entries = count_entries(dir);
    if (!entries) return tl::unexpected(entries.error());
    if (*entries >= kQueueMaxEntries && !fs::exists(path)) {
        return refuse(Code::kTryLater,
                      "the agent does not answer, and {} holds {} DELs for it, "
                      "which is the most: start the agent",
                      dir.string(), *entries);
    }
    if (auto written = write_file_atomic(path, entry, 0600); !written) {
        return refuse(Code::kIo, "{}", written.error().message());
    }
    return {};
}

}  // namespace weir::cni
