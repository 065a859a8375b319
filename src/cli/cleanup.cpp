// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include <boost/json.hpp>

#include "cli/app.h"
#include "cli/exit_code.h"
#include "cli/run/reaper.h"

namespace weir::cli {
namespace {

// Beside this program, else by the search path.
std::string agent_program() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    const auto beside = self.parent_path() / "weir-agent";
    return !error && ::access(beside.c_str(), X_OK) == 0 ? beside.string() : "weir-agent";
}

}  // namespace

// What is on the host is known to the agent's program, so that does the work; runs are known here.
int cleanup_command(const Invocation& invocation) {
    if (::geteuid() != 0) {
        return report(Error(Errc::kPermission, "cleanup changes the host's network; use sudo"));
    }
    if (!invocation.yes && invocation.client().get("/healthz")) {
        return report(
            Error(Errc::kExists,
                  "an agent is running and would make everything again; stop it first, or "
                  "say --yes"));
    }
    run::reap_abandoned(invocation.run_dir);
    std::string program = agent_program();
    std::string bpffs = "--bpffs=" + invocation.bpffs.string();
    std::string run_dir = "--run-dir=" + invocation.run_dir.string();
    std::string verb = "cleanup";
    char* argv[] = {program.data(), verb.data(), bpffs.data(), run_dir.data(), nullptr};
    ::execvp(program.c_str(), argv);
    return report(system_error(errno, "run " + program + " cleanup"));
}

}  // namespace weir::cli
