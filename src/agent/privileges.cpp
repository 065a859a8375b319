// SPDX-License-Identifier: Apache-2.0
#include "agent/privileges.h"

#include <array>
#include <cerrno>

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::agent {
namespace {

constexpr size_t kWords = _LINUX_CAPABILITY_U32S_3;
using Sets = std::array<__user_cap_data_struct, kWords>;

Result<Sets> read_sets() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    Sets sets{};
    if (::syscall(SYS_capget, &header, sets.data()) != 0) {
        return fail_errno(errno, "read the capabilities of this process");
    }
    return sets;
}

Result<void> write_sets(uint64_t kept) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    Sets sets{};
    for (size_t i = 0; i < kWords; ++i) {
        sets[i].permitted = sets[i].effective = static_cast<uint32_t>(kept >> 32 * i);
    }
    if (::syscall(SYS_capset, &header, sets.data()) != 0) {
        return fail_errno(errno, "give up capabilities");
    }
    return {};
}

uint64_t permitted(const Sets& sets) {
    uint64_t all = 0;
    for (size_t i = 0; i < kWords; ++i)
        all |= uint64_t{sets[i].permitted} << 32 * i;
    return all;
}

/// False: that needs CAP_SETPCAP, and it is missing. Capabilities the kernel does not know end the
/// list.
Result<bool> clear_bounding_set() {
    for (unsigned long capability = 0; capability < 64; ++capability) {
        const int held = ::prctl(PR_CAPBSET_READ, capability, 0UL, 0UL, 0UL);
        if (held < 0) return true;
        if (held == 0) continue;
        if (::prctl(PR_CAPBSET_DROP, capability, 0UL, 0UL, 0UL) == 0) continue;
        if (errno == EPERM) return false;
        return fail_errno(errno, "clear capability {} from the bounding set", capability);
    }
    return true;
}

}  // namespace

std::vector<int> wanted_capabilities(bool socket_group) {
    std::vector<int> wanted = {CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_PTRACE};
    if (socket_group) wanted.push_back(CAP_CHOWN);
    return wanted;
}

Result<Privileges> drop_privileges(const std::vector<int>& wanted) {
    const uint64_t had = permitted(WEIR_TRY(read_sets()));
    Privileges out;
    for (const int capability : wanted) {
        const uint64_t bit = uint64_t{1} << capability;
        if ((had & bit) != 0) {
            out.kept |= bit;
        } else {
            out.missing.push_back(capability);
        }
    }
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) {
        return fail_errno(errno, "set no_new_privs");
    }
    if (::prctl(PR_CAP_AMBIENT, static_cast<unsigned long>(PR_CAP_AMBIENT_CLEAR_ALL), 0UL, 0UL,
                0UL) != 0) {
        return fail_errno(errno, "clear the ambient capabilities");
    }
    out.bounding_cleared = WEIR_TRY(clear_bounding_set());
    WEIR_CHECK(write_sets(out.kept));
    return out;
}

std::string capability_names(const std::vector<int>& capabilities) {
    std::string out;
    for (const int capability : capabilities) {
        if (!out.empty()) out += ", ";
        switch (capability) {
            case CAP_BPF:
                out += "bpf";
                break;
            case CAP_PERFMON:
                out += "perfmon";
                break;
            case CAP_NET_ADMIN:
                out += "net_admin";
                break;
            case CAP_SYS_ADMIN:
                out += "sys_admin";
                break;
            case CAP_SYS_PTRACE:
                out += "sys_ptrace";
                break;
            case CAP_CHOWN:
                out += "chown";
                break;
            default:
                out += std::to_string(capability);
        }
    }
    return out;
}

}  // namespace weir::agent
