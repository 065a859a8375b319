// SPDX-License-Identifier: Apache-2.0
#include "kube/file_source.h"

#include <algorithm>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace weir::kube {
namespace {

namespace fs = std::filesystem;

/// How long a burst of changes is gathered, and how quiet it must have been before a change counts
/// as a lone one.
constexpr std::chrono::milliseconds kSettle{5};

/// Not hidden, not an editor's or writer's temporary file, and of a known suffix.
bool is_object_file(std::string_view name) {
    if (name.starts_with('.') || name.starts_with('#') || name.starts_with('~')) return false;
    return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

int64_t nanoseconds(const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<void> add_to_epoll(const Fd& epoll, int fd) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
    return fail_errno(errno, "epoll_ctl");
}

}  // namespace

Result<FileSource> FileSource::open(Store& store, std::vector<fs::path> paths) {
    const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return fail_errno(errno, "epoll_create1");
    Fd epoll_fd(epoll);
    const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) return fail_errno(errno, "timerfd_create");
    Fd timer_fd(timer);
    std::vector<Directory> directories;
    for (const auto& path : paths)
        directories.push_back({.path = path});
    auto watch = WEIR_TRY(DirectoryWatch::open(std::move(paths)));
    WEIR_CHECK(add_to_epoll(epoll_fd, watch.fd()));
    WEIR_CHECK(add_to_epoll(epoll_fd, timer));
    FileSource source(store, std::move(directories), std::move(watch), std::move(epoll_fd),
                      std::move(timer_fd));
    (void)source.watch_.take();
    for (size_t i = 0; i < source.directories_.size(); ++i)
        source.scan(i, Reading::kAlways);
    WEIR_CHECK(source.set_timer(source.watch_.changed()));
    return source;
}

Result<void> FileSource::set_timer(bool on) {
    if (on == timer_set_) return {};
    const itimerspec settle{
        .it_value = {.tv_nsec = on ? std::chrono::nanoseconds(kSettle).count() : 0}};
    if (::timerfd_settime(timer_.get(), 0, &settle, nullptr) != 0) {
        return fail_errno(errno, "timerfd_settime");
    }
    timer_set_ = on;
    return {};
}

Result<void> FileSource::on_readable() {
    WEIR_CHECK(watch_.read());
    uint64_t expirations = 0;
    const bool due = ::read(timer_.get(), &expirations, sizeof expirations) > 0;
    const Pending pending = judge_pending();
    if (due) timer_set_ = false;
    if (due || pending != Pending::kBurst) {
        apply(watch_.take());
        // A writer's temporary file does not make what follows a burst.
        if (pending != Pending::kNothing) last_applied_ = Clock::now();
    }
    return set_timer(watch_.changed());
}

/// A lone change is one file that is there, after a while of quiet. A file that has gone may be the
/// first half of a rename, and a directory that changed is seldom done with one event: those are
/// gathered.
FileSource::Pending FileSource::judge_pending() const {
    const DirectoryWatch::Changes& changes = watch_.pending();
    if (changes.lost || !changes.directories.empty()) return Pending::kBurst;
    const auto ours = [](const auto& change) { return is_object_file(change.second); };
    const auto count = std::ranges::count_if(changes.names, ours);
    if (count == 0) return Pending::kNothing;
    const bool quiet = !timer_set_ && Clock::now() - last_applied_ >= kSettle;
    if (count > 1 || !quiet) return Pending::kBurst;
    const auto& [index, name] = *std::ranges::find_if(changes.names, ours);
    struct stat info{};
    const bool there = ::lstat((directories_[index].path / name).c_str(), &info) == 0;
    return there && S_ISREG(info.st_mode) ? Pending::kLone : Pending::kBurst;
}

void FileSource::apply(const DirectoryWatch::Changes& changes) {
    std::set<size_t> listed = changes.directories;
    // Single files first: their deletion is certain, while a directory that is away changes
    // nothing.
    for (const auto& [index, name] : changes.names) {
        if (!is_object_file(name)) continue;
        load(directories_[index], name, Reading::kAlways);
        std::error_code ignored;  // listing finds out where links lead
        if (fs::is_symlink(directories_[index].path / name, ignored)) listed.insert(index);
    }
    for (size_t i = 0; i < directories_.size(); ++i) {
        if (changes.lost) {
            scan(i, Reading::kAlways);
        } else if (listed.contains(i)) {
            scan(i, Reading::kIfChanged);
        }
    }
}

void FileSource::scan(size_t index, Reading reading) {
    Directory& directory = directories_[index];
    std::error_code error;
    std::set<std::string> names;
    std::set<fs::path> link_targets;
    std::vector<Problem> problems;
    for (fs::directory_iterator it(directory.path, error), end; !error && it != end;
         it.increment(error)) {
        const std::string name = it->path().filename().string();
        if (!is_object_file(name)) continue;
        if (names.size() == kMaxFiles) {
            problems.push_back(
                {.message = fmt::format("holds over {} files; the rest is not read", kMaxFiles)});
            break;
        }
        names.insert(name);
        std::error_code ignored;
        if (it->is_symlink(ignored)) {
            link_targets.insert(fs::weakly_canonical(it->path(), ignored).parent_path());
        }
    }
    if (error) {
        problems.push_back({.message = fmt::format("directory cannot be read: {}; what was read "
                                                   "from it before stays in force",
                                                   error.message())});
        return set_problems(directory.problems, std::move(problems), directory.path);
    }
    set_problems(directory.problems, std::move(problems), directory.path);
    watch_.set_link_targets(index, std::move(link_targets));
    for (const auto& name : names)
        load(directory, name, reading);
    drop_missing(directory, names);
    directory.scanned = true;
}

void FileSource::drop_missing(Directory& directory, const std::set<std::string>& names) {
    for (auto it = directory.files.begin(); it != directory.files.end();) {
        if (names.contains(it->first)) {
            ++it;
            continue;
        }
        store_->remove_source(it->second.source);
        it = directory.files.erase(it);
    }
}

void FileSource::load(Directory& directory, const std::string& name, Reading reading) {
    const fs::path path = directory.path / name;
    struct stat info{};
    const bool found = ::stat(path.c_str(), &info) == 0;
    const int reason = errno;
    struct stat link{};
    const auto known = directory.files.find(name);
    if (!found && ::lstat(path.c_str(), &link) != 0 && errno == ENOENT) {
        if (known == directory.files.end()) return;
        store_->remove_source(known->second.source);
        directory.files.erase(known);
        return;
    }
    if (found && S_ISDIR(info.st_mode)) return;
    const auto rank = static_cast<uint32_t>(&directory - directories_.data());
    if (known == directory.files.end()) {
        directory.files[name].source = store_->add_source(rank, path.string());
    }
    File& file = directory.files[name];
    const Signature before =
        std::exchange(file.signature, {info.st_dev, info.st_ino, info.st_size,
                                       nanoseconds(info.st_mtim), nanoseconds(info.st_ctim)});
    std::string trouble;
    if (!found) {
        trouble = fmt::format("cannot be read: {}", std::generic_category().message(reason));
    } else if (!S_ISREG(info.st_mode)) {
        trouble = "is no regular file";
    } else if (static_cast<uintmax_t>(info.st_size) > kMaxFileBytes) {
        trouble = fmt::format("is over {} MiB; split it", kMaxFileBytes >> 20);
    }
    if (!trouble.empty()) {
        file.signature = {};
        return set_problems(file.problems, {{.message = trouble}}, path);
    }
    if (reading == Reading::kAlways || before != file.signature) read_into(directory, name, file);
}

void FileSource::read_into(Directory& directory, const std::string& name, File& file) {
    const fs::path path = directory.path / name;
    const auto text = read_file(path);
    if (!text) {
        file.signature = {};
        return set_problems(file.problems, {{.message = text.error().message()}}, path);
    }
    DecodedFile decoded = decode(*text, pool_);
    set_problems(file.problems, std::exchange(decoded.problems, {}), path);
    merge(file, std::move(decoded));
}

void FileSource::merge(File& file, DecodedFile decoded) {
    const std::unordered_set<ObjectKey> before = store_->defined_by(file.source);
    file.foreign = judge(file.foreign, decoded, before);
    std::unordered_set<ObjectKey> now;
    for (auto& [object, line] : decoded.objects) {
        now.insert(key_of(object));
        store_->put(file.source, std::move(object), line);
    }
    for (const ObjectKey& key : before) {
        if (!now.contains(key) && !stays(file, decoded, key)) store_->withdraw(file.source, key);
    }
}

bool FileSource::stays(const File& file, const DecodedFile& decoded, const ObjectKey& key) const {
    return decoded.unidentified || std::ranges::find(decoded.bad, key) != decoded.bad.end() ||
           std::ranges::any_of(file.foreign, [&](const Foreign& foreign) {
               return foreign.stands_for_ours && foreign.document.name == key.name;
           });
}

/// A foreign document that newly has the name of an object that is newly gone is that object with a
/// mistyped kind; one that was there before is just not for us.
std::vector<FileSource::Foreign> FileSource::judge(const std::vector<Foreign>& before,
                                                   const DecodedFile& decoded,
                                                   const std::unordered_set<ObjectKey>& defined) {
    std::vector<Foreign> now;
    for (const auto& document : decoded.foreign) {
        const auto known = std::ranges::find(before, document, &Foreign::document);
        if (known != before.end()) {
            now.push_back(*known);
            continue;
        }
        const bool ours_is_gone = std::ranges::any_of(defined, [&](const ObjectKey& key) {
            return key.name == document.name &&
                   std::ranges::none_of(decoded.objects, [&](const Decoded& other) {
                       return key_of(other.object) == key;
                   });
        });
        now.push_back({document, ours_is_gone});
    }
    return now;
}

void FileSource::set_problems(std::vector<Problem>& problems, std::vector<Problem> now,
                              const std::string& file) {
    const auto time = std::chrono::system_clock::now();
    for (Problem& problem : now) {
        problem.file = file;
        const auto known = std::ranges::find_if(
            problems, [&](const Problem& other) { return other.same_as(problem); });
        problem.since = known == problems.end() ? time : known->since;
    }
    problems = std::move(now);
}

bool FileSource::synced() const {
    return std::ranges::all_of(directories_, &Directory::scanned);
}

std::vector<Problem> FileSource::problems() const {
    std::vector<Problem> all;
    if (!watch_.trouble().empty()) {
        all.push_back({.message = fmt::format("changes may go unnoticed: {}", watch_.trouble())});
    }
    for (const Directory& directory : directories_) {
        all.insert(all.end(), directory.problems.begin(), directory.problems.end());
        for (const auto& [name, file] : directory.files) {
            all.insert(all.end(), file.problems.begin(), file.problems.end());
        }
    }
    for (const auto& conflict : store_->conflicts()) {
        const Origin& used = conflict.used;
        all.push_back({.file = store_->label(conflict.ignored.source),
                       .line = conflict.ignored.line,
                       .object = conflict.key.to_string(),
                       .message = fmt::format("is defined in {}:{} already, which stays in force",
                                              store_->label(used.source), used.line),
                       .since = conflict.since});
    }
    std::ranges::sort(all, {},
                      [](const Problem& p) { return std::tie(p.file, p.line, p.path, p.message); });
    return all;
}

}  // namespace weir::kube
