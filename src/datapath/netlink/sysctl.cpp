// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/sysctl.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "common/fd.h"
#include "common/number.h"

namespace weir::netlink {
namespace {

namespace json = boost::json;

const std::string kReservedPorts = "net/ipv4/ip_local_reserved_ports";
const std::string kLocalRange = "net/ipv4/ip_local_port_range";
constexpr int64_t kVersion = 1;

/// "32768\t60999"
Result<PortRange> parse_local_range(std::string_view text) {
    const size_t tab = text.find('\t');
    const auto first = whole_number<uint16_t>(text.substr(0, tab));
    const auto last =
        tab == std::string_view::npos ? std::nullopt : whole_number<uint16_t>(text.substr(tab + 1));
    if (!first || !last) return fail(Errc::kInvalid, "{} is \"{}\"", kLocalRange, text);
    return PortRange{*first, *last};
}

std::filesystem::path& sysctl_root() {
    static std::filesystem::path root = "/proc/sys";
    return root;
}

std::string trim(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.pop_back();
    return text;
}

}  // namespace

void set_sysctl_root(const std::filesystem::path& root) {
    sysctl_root() = root;
}

Result<std::string> read_sysctl(const std::string& name) {
    return trim(WEIR_TRY(read_file(sysctl_root() / name)));
}

Result<void> write_sysctl(const std::string& name, std::string_view value) {
    const std::filesystem::path path = sysctl_root() / name;
    const int raw = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (raw < 0) {
        const int reason = errno;
        if (reason == EROFS) {
            return fail_errno(reason,
                              "set {} to {} ({} is read-only: mount the host's "
                              "/proc/sys/net elsewhere and name that place with --proc-sys)",
                              name, value, sysctl_root().string());
        }
        return fail_errno(reason, "set {} to {}", name, value);
    }
    const Fd fd(raw);
    // One write: the kernel takes each as a whole value.
    const ssize_t n = ::write(raw, value.data(), value.size());
    if (n < 0) return fail_errno(errno, "set {} to {}", name, value);
    if (static_cast<size_t>(n) != value.size()) {
        return fail(Errc::kSystem, "set {}: the kernel took {} of {} bytes", name, n, value.size());
    }
    return {};
}

Result<SysctlJournal> SysctlJournal::open(std::filesystem::path file) {
    SysctlJournal journal(std::move(file));
    auto content = read_file(journal.file_);
    if (!content && content.error().code() == Errc::kNotFound) return journal;
    if (!content) return Failure(std::move(content).error());
    WEIR_CHECK(journal.load(*content));
    return journal;
}

Result<void> SysctlJournal::load(std::string_view content) {
    const auto bad = [this](std::string_view why) {
        return fail(Errc::kInvalid,
                    "{} is not a journal of kernel settings ({}): move it away; settings changed "
                    "before stay as they are",
                    file_.string(), why);
    };
    boost::system::error_code error;
    const json::value value = json::parse(content, error);
    if (error) return bad(error.message());
    const json::object* root = value.if_object();
    if (root == nullptr) return bad("not an object");
    const json::value* version = root->if_contains("version");
    if (version == nullptr || *version != json::value(kVersion)) return bad("unknown version");
    const json::value* settings = root->if_contains("settings");
    const json::value* ports = root->if_contains("reserved_ports");
    if (settings == nullptr || !settings->is_object()) return bad("no settings");
    if (ports == nullptr || !ports->is_string()) return bad("no reserved_ports");
    for (const auto& [name, item] : settings->get_object()) {
        const json::object* entry = item.if_object();
        const json::value* original = entry == nullptr ? nullptr : entry->if_contains("original");
        const json::value* ours = entry == nullptr ? nullptr : entry->if_contains("ours");
        if (original == nullptr || !original->is_string() || ours == nullptr ||
            !ours->is_string()) {
            return bad("a setting without original or ours");
        }
        entries_[std::string(name)] = {std::string(original->get_string()),
                                       std::string(ours->get_string())};
    }
    auto parsed = parse_ports(std::string(ports->get_string()));
    if (!parsed) return bad(parsed.error().message());
    ports_ = std::move(*parsed);
    return {};
}

Result<void> SysctlJournal::save() const {
    json::object settings;
    for (const auto& [name, entry] : entries_) {
        settings[name] = json::object{{"original", entry.original}, {"ours", entry.ours}};
    }
    const json::object root{{"version", kVersion},
                            {"settings", std::move(settings)},
                            {"reserved_ports", format_ports(ports_)}};
    return write_file_atomic(file_, json::serialize(root) + "\n");
}

Result<void> SysctlJournal::set(const std::string& name, const std::string& value) {
    const std::string current = WEIR_TRY(read_sysctl(name));
    if (current == value) return {};
    // The value before our first change, whatever happened in between.
    auto [at, added] = entries_.try_emplace(name, Entry{current, value});
    at->second.ours = value;
    WEIR_CHECK(save());
    return write_sysctl(name, value);
}

Result<void> SysctlJournal::reserve_ports(const std::vector<PortRange>& ports) {
    const std::string text = WEIR_TRY(read_sysctl(kReservedPorts));
    const auto current = WEIR_TRY(parse_ports(text));
    const auto wanted = merge_ports(ports, {});
    const auto foreign = subtract_ports(current, ports_);
    const auto next = merge_ports(foreign, wanted);
    const auto ours = subtract_ports(wanted, foreign);
    if (ours != ports_) {
        // Until the write below both the old and the new ones may be there: remember all.
        const auto old = std::exchange(ports_, merge_ports(ports_, ours));
        WEIR_CHECK(save());
    }
    // A line end: writing nothing at all would change nothing.
    if (next != current) WEIR_CHECK(write_sysctl(kReservedPorts, format_ports(next) + "\n"));
    if (ours == ports_) return {};
    ports_ = ours;
    return save();
}

Result<void> SysctlJournal::leave_local_range(const PortRange& ports) {
    const std::string current = WEIR_TRY(read_sysctl(kLocalRange));
    std::string base = current;
    if (const auto known = entries_.find(kLocalRange); known != entries_.end()) {
        if (known->second.ours == current) {
            base = known->second.original;
        } else {
            entries_.erase(known);  // somebody's own choice, which is what a cleanup restores
        }
    }
    const auto rest = subtract_ports({WEIR_TRY(parse_local_range(base))}, {ports});
    const auto largest = std::ranges::max_element(
        rest, {}, [](const PortRange& range) { return range.last - range.first; });
    if (largest == rest.end()) {
        return fail(Errc::kInvalid, "{} ({}-{}) lies within Weir's own ports {}-{}: choose others",
                    kLocalRange, base.substr(0, base.find('\t')), base.substr(base.find('\t') + 1),
                    ports.first, ports.last);
    }
    return set(kLocalRange, fmt::format("{}\t{}", largest->first, largest->last));
}

Result<bool> SysctlJournal::put_back(const std::string& name, const Entry& entry) {
    auto current = read_sysctl(name);
    if (!current && current.error().code() == Errc::kNotFound) return true;  // with its device
    if (!current) return Failure(std::move(current).error());
    if (*current == entry.original) return true;
    if (*current != entry.ours) return false;
    WEIR_CHECK(write_sysctl(name, entry.original));
    return true;
}

Result<void> SysctlJournal::restore(const std::string& name) {
    const auto at = entries_.find(name);
    if (at == entries_.end()) return {};
    WEIR_TRY(put_back(name, at->second));
    entries_.erase(at);
    return save();
}

Result<std::vector<std::string>> SysctlJournal::restore_all() {
    std::vector<std::string> left;
    for (const auto& [name, entry] : entries_) {
        if (!WEIR_TRY(put_back(name, entry))) left.push_back(name);
    }
    if (!ports_.empty()) WEIR_CHECK(reserve_ports({}));
    entries_.clear();
    std::error_code error;
    std::filesystem::remove(file_, error);
    if (error) return fail_errno(error.value(), "remove {}", file_.string());
    return left;
}

}  // namespace weir::netlink
