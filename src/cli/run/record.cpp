// SPDX-License-Identifier: Apache-2.0
#include "cli/run/record.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>

namespace weir::cli::run {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

}  // namespace

// The lock belongs to the inode: a file that was removed between open and lock is not the one that
// others see, so it is opened again.
Result<RecordFile> RecordFile::lock(const std::filesystem::path& path, int flags) {
    for (;;) {
        const int raw = ::open(path.c_str(), flags | O_RDWR | O_CLOEXEC, 0600);
        if (raw < 0) return fail_errno(errno, "open {}", path.string());
        Fd fd(raw);
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK) return fail(Errc::kExists, "{} is in use", path.string());
            return fail_errno(errno, "lock {}", path.string());
        }
        struct stat open_file{};
        struct stat named{};
        if (::fstat(fd.get(), &open_file) == 0 && ::stat(path.c_str(), &named) == 0 &&
            open_file.st_ino == named.st_ino) {
            return RecordFile(path, std::move(fd));
        }
        if ((flags & O_CREAT) == 0) return fail(Errc::kNotFound, "{} is gone", path.string());
    }
}

Result<RecordFile> RecordFile::acquire(const std::filesystem::path& run_dir, const std::string& ns,
                                       const std::string& name) {
    const auto dir = run_dir / "runs";
    std::error_code error;
    std::filesystem::create_directories(dir, error);
    if (error) return fail_errno(error.value(), "create {}", dir.string());
    auto file = lock(dir / (ns + "_" + name + ".json"), O_CREAT);
    if (!file && file.error().code() == Errc::kExists) {
        return fail(
            Errc::kExists,
            "pod {}/{} is running on this host already; stop it first or choose another name", ns,
            name);
    }
    return file;
}

std::vector<RecordFile> RecordFile::abandoned(const std::filesystem::path& run_dir) {
    std::vector<RecordFile> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(run_dir / "runs", error)) {
        if (entry.path().extension() != ".json") continue;
        if (auto file = lock(entry.path(), 0)) found.push_back(std::move(*file));
    }
    return found;
}

Result<Record> RecordFile::leftover() const {
    const std::string text = WEIR_TRY(read_file(path_));
    if (text.empty()) return fail(Errc::kNotFound, "{} is empty", path_.string());
    boost::system::error_code error;
    const json::value value = json::parse(text, error);
    if (error || !value.is_object()) {
        return fail(Errc::kInvalid, "{} is not a record of a run", path_.string());
    }
    const json::object& object = value.get_object();
    Record record;
    record.ns = text_of(object, "namespace");
    record.name = text_of(object, "name");
    record.uid = text_of(object, "uid");
    record.id = text_of(object, "id");
    record.container_id = text_of(object, "container_id");
    record.netns = text_of(object, "netns");
    record.cgroup = text_of(object, "cgroup");
    record.manifest = text_of(object, "manifest");
    record.port_mappings = text_of(object, "port_mappings");
    record.conflist = text_of(object, "conflist");
    record.cni_bin = text_of(object, "cni_bin");
    return record;
}

Result<void> RecordFile::write(const Record& record) {
    const json::object object = {{"namespace", record.ns},
                                 {"name", record.name},
                                 {"uid", record.uid},
                                 {"id", record.id},
                                 {"container_id", record.container_id},
                                 {"netns", record.netns.string()},
                                 {"cgroup", record.cgroup.string()},
                                 {"manifest", record.manifest.string()},
                                 {"port_mappings", record.port_mappings},
                                 {"conflist", record.conflist},
                                 {"cni_bin", record.cni_bin}};
    const std::string text = json::serialize(object) + "\n";
    // In place, because the lock belongs to this inode. A torn record is one of a run that has made
    // nothing yet.
    if (::ftruncate(fd_.get(), 0) != 0 ||
        ::pwrite(fd_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
        ::fsync(fd_.get()) != 0) {
        return fail_errno(errno, "write {}", path_.string());
    }
    return {};
}

std::filesystem::path RecordFile::result_path() const {
    return path_.string() + ".result";
}

std::filesystem::path RecordFile::resolv_conf() const {
    return path_.string() + ".resolv.conf";
}

Result<void> RecordFile::write_result(std::string_view result) const {
    return write_file_atomic(result_path(), result, 0600);
}

std::string RecordFile::result() const {
    return read_file(result_path()).value_or("");
}

void RecordFile::remove() const {
    std::error_code ignored;
    std::filesystem::remove(result_path(), ignored);
    std::filesystem::remove(resolv_conf(), ignored);
    std::filesystem::remove(path_, ignored);
}

}  // namespace weir::cli::run
