// SPDX-License-Identifier: Apache-2.0
#include "agent/cni_install.h"

#include <cerrno>

#include <unistd.h>

#include <boost/json.hpp>

#include "common/fd.h"

namespace weir::agent {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kPluginName = "weir-cni";

// write_file_atomic() makes its temporary file beside the target under a name that runtimes do not
// read, and renames: containerd's watcher sees that, and would not see a file that appears.
Result<void> place(const fs::path& path, const std::string& content, unsigned mode) {
    std::error_code failed;
    fs::create_directories(path.parent_path(), failed);
    if (failed) return fail_errno(failed.value(), "create {}", path.parent_path().string());
    if (const auto now = read_file(path); now && *now == content) return {};
    return write_file_atomic(path, content, mode);
}

Result<void> remove_file(const fs::path& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR) {
        return fail_errno(errno, "remove {}", path.string());
    }
    return {};
}

}  // namespace

std::string cni_conflist(const CniInstall& install) {
    const json::object plugin{
        {"type", kPluginName},
        {"socket", install.socket.string()},
        {"queueDir", install.queue_dir.string()},
        {"capabilities", json::object{{"ips", true}, {"dns", true}, {"portMappings", true}}},
    };
    const json::object list{
        // Runtimes that know the list take the newest they can; older ones look here only, and
        // refuse
        // what is newer than themselves.
        {"cniVersion", "1.0.0"},
        {"cniVersions", json::array{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}},
        {"name", install.network},
        {"plugins", json::array{plugin}},
    };
    return json::serialize(list) + "\n";
}

Result<void> install_cni(const CniInstall& install) {
    const std::string binary = WEIR_TRY(read_file(install.binary));
    WEIR_CHECK(place(install.bin_dir / kPluginName, binary, 0755));
    return place(install.conflist, cni_conflist(install), 0600);
}

Result<void> uninstall_cni(const CniInstall& install) {
    WEIR_CHECK(remove_file(install.conflist));
    return remove_file(install.bin_dir / kPluginName);
}

}  // namespace weir::agent
