// SPDX-License-Identifier: Apache-2.0
#include "datapath/sock_links.h"

#include <algorithm>
#include <cerrno>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::datapath {
namespace {

constexpr std::string_view kPrefix = "sock_";

Result<bpf_link_info> link_info(int fd, const std::string& name) {
    bpf_link_info info{};
    uint32_t length = sizeof info;
    if (const int error = bpf_obj_get_info_by_fd(fd, &info, &length); error != 0) {
        return fail_errno(-error, "read the facts of the link {}", name);
    }
    return info;
}

Result<Fd> open_cgroup(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(errno, "open the cgroup {}", path.string());
    return Fd(fd);
}

/// The number by which the kernel's link facts name a cgroup: its inode on 64-bit machines.
Result<uint64_t> cgroup_id(int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat a cgroup");
    return status.st_ino;
}

/// Compare-and-swap; another writer in between is met by one more try.
Result<void> update_link(int link, const LoadedBuild::SockProgram& program) {
    int error = 0;
    for (int attempt = 0; attempt < 2; ++attempt) {
        const bpf_link_info info = WEIR_TRY(link_info(link, program.name));
        const int old = bpf_prog_get_fd_by_id(info.prog_id);
        if (old < 0) return fail_errno(-old, "open the program that {} runs", program.name);
        const Fd old_program(old);
        LIBBPF_OPTS(bpf_link_update_opts, opts, .flags = BPF_F_REPLACE,
                    .old_prog_fd = static_cast<uint32_t>(old_program.get()));
        error = bpf_link_update(link, program.fd, &opts);
        if (error == 0) return {};
        if (error != -EPERM) break;
    }
    return fail_errno(-error, "replace the program of the link {}", program.name);
}

class SockAttacher {
  public:
    SockAttacher(const PinDir& pins, int cgroup, uint64_t id)
        : pins_(pins), cgroup_(cgroup), id_(id) {}

    Result<void> attach(const LoadedBuild::SockProgram& program, SockLinks& report) const {
        const auto path = pins_.link(program.name);
        auto pinned = open_pin(path);
        if (!pinned && pinned.error().code() != Errc::kNotFound) {
            return Failure(std::move(pinned).error());
        }
        if (!pinned) {
            WEIR_CHECK(create(program));
            report.created.push_back(program.name);
            return {};
        }
        const bpf_link_info info = WEIR_TRY(link_info(pinned->get(), program.name));
        const bool here = info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == id_ &&
                          info.cgroup.attach_type == program.attach_type;
        if (here) {
            WEIR_CHECK(update_link(pinned->get(), program));
            report.updated.push_back(program.name);
            return {};
        }
        WEIR_CHECK(create(program));
        report.moved.push_back(program.name);
        return {};
    }

  private:
    [[nodiscard]] Result<void> create(const LoadedBuild::SockProgram& program) const {
        const int link = bpf_link_create(
            program.fd, cgroup_, static_cast<bpf_attach_type>(program.attach_type), nullptr);
        if (link < 0) return fail_errno(-link, "attach {} to the cgroup", program.name);
        return pin_replacing(Fd(link).get(), pins_.link(program.name));
    }

    const PinDir& pins_;
    int cgroup_;
    uint64_t id_;
};

}  // namespace

Result<SockLinks> attach_sock(const std::vector<LoadedBuild::SockProgram>& programs,
                              const std::filesystem::path& cgroup_root, const PinDir& pins,
                              const StepHook& step) {
    const Fd cgroup = WEIR_TRY(open_cgroup(cgroup_root));
    const SockAttacher attacher(pins, cgroup.get(), WEIR_TRY(cgroup_id(cgroup.get())));
    SockLinks report;
    for (const LoadedBuild::SockProgram& program : programs) {
        step("link " + program.name);
        if (auto done = attacher.attach(program, report); !done) {
            return Failure(std::move(done).error().with("{}", cgroup_root.string()));
        }
    }
    for (const std::string& name : list_pins(pins.links())) {
        const bool ours = name.starts_with(kPrefix);
        const bool wanted = std::ranges::any_of(
            programs, [&](const auto& program) { return program.name == name; });
        if (!ours || wanted) continue;
        WEIR_TRY(unpin(pins.link(name)));
        report.removed.push_back(name);
    }
    return report;
}

Result<std::vector<std::string>> detach_sock(const PinDir& pins) {
    std::vector<std::string> removed;
    for (const std::string& name : list_pins(pins.links())) {
        if (!name.starts_with(kPrefix)) continue;
        WEIR_TRY(unpin(pins.link(name)));
        removed.push_back(name);
    }
    return removed;
}

}  // namespace weir::datapath
