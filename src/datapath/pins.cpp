// SPDX-License-Identifier: Apache-2.0
#include "datapath/pins.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <bpf/bpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/limits.h"

namespace weir::datapath {

namespace fs = std::filesystem;

PinDir::PinDir(const fs::path& bpffs)
    : root_(bpffs / "weir" / ("v" + std::to_string(WEIR_ABI_VERSION))) {}

Result<void> PinDir::create() const {
    for (const fs::path& dir : {root_.parent_path(), root_, maps(), progs(), links(), qdiscs()}) {
        if (::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) {
            return fail_errno(errno, "make the pin directory {}", dir.string());
        }
    }
    return {};
}

Result<Fd> open_pin(const fs::path& path, bool read_only) {
    LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = read_only ? BPF_F_RDONLY : 0U);
    const int fd = bpf_obj_get_opts(path.c_str(), &opts);
    if (fd < 0) return fail_errno(-fd, "open the pinned object {}", path.string());
    return Fd(fd);
}

Result<void> pin(int fd, const fs::path& path) {
    if (const int error = bpf_obj_pin(fd, path.c_str()); error != 0) {
        return fail_errno(-error, "pin {}", path.string());
    }
    return {};
}

Result<void> pin_replacing(int fd, const fs::path& path) {
    const fs::path next = path.string() + std::string(kUnfinished);  // no dots on a bpffs
    ::unlink(next.c_str());
    WEIR_CHECK(pin(fd, next));
    if (::rename(next.c_str(), path.c_str()) != 0) {
        const int error = errno;
        ::unlink(next.c_str());
        return fail_errno(error, "replace the pin {}", path.string());
    }
    return {};
}

Result<bool> unpin(const fs::path& path) {
    if (::unlink(path.c_str()) == 0) return true;
    if (errno == ENOENT) return false;
    return fail_errno(errno, "remove the pin {}", path.string());
}

std::vector<std::string> list_pins(const fs::path& dir) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
        names.push_back(it->path().filename().string());
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace weir::datapath
