// SPDX-License-Identifier: Apache-2.0
#include "common/fd.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir {
namespace {

Result<void> write_all(int fd, std::string_view content) {
    while (!content.empty()) {
        const ssize_t n = ::write(fd, content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(errno, "write");
        content.remove_prefix(static_cast<size_t>(n));
    }
    return {};
}

}  // namespace

Fd::~Fd() {
    if (fd_ >= 0) ::close(fd_);
}

Result<std::string> read_file(const std::filesystem::path& path) {
    const int raw = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "open {}", path.string());
    const Fd fd(raw);
    std::string content;
    std::array<char, 65536> chunk{};
    for (;;) {
        const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(errno, "read {}", path.string());
        if (n == 0) return content;
        content.append(chunk.data(), static_cast<size_t>(n));
    }
}

Result<void> write_file_atomic(const std::filesystem::path& path, std::string_view content,
                               unsigned mode) {
    std::string name = path.string() + ".tmpXXXXXX";
    const int raw = ::mkostemp(name.data(), O_CLOEXEC);
    if (raw < 0) return fail_errno(errno, "create {}", name);
    const Fd fd(raw);
    auto abandon = [&](Error error) {
        ::unlink(name.c_str());
        return Failure(std::move(error).with("{}", path.string()));
    };
    if (auto written = write_all(fd.get(), content); !written) return abandon(written.error());
    if (::fchmod(fd.get(), mode) != 0) return abandon(system_error(errno, "fchmod"));
    if (::fsync(fd.get()) != 0) return abandon(system_error(errno, "fsync"));
    if (::rename(name.c_str(), path.c_str()) != 0) return abandon(system_error(errno, "rename"));
    const int dir = ::open(path.has_parent_path() ? path.parent_path().c_str() : ".",
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return fail_errno(errno, "open the directory of {}", path.string());
    const Fd dir_fd(dir);
    if (::fsync(dir_fd.get()) != 0) return fail_errno(errno, "fsync {}", path.string());
    return {};
}

}  // namespace weir
