// SPDX-License-Identifier: Apache-2.0
#include "agent/node_memory.h"

#include "common/fd.h"
#include "common/log.h"

namespace weir::agent {
namespace {

std::filesystem::path file_of(const std::filesystem::path& run_dir) {
    return run_dir / "node";
}

/// One line "WORD VALUE". Unknown words are of a newer agent and are left out.
Result<void> read_line(std::string_view line, model::Node& node) {
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos) return fail(Errc::kInvalid, "\"{}\"", line);
    const std::string_view word = line.substr(0, blank);
    const std::string_view value = line.substr(blank + 1);
    if (word == "name") node.meta.name.name = value;
    if (word == "pod-cidr") node.pod_cidrs.push_back(WEIR_TRY(IpPrefix::parse(value)));
    if (word == "address") node.internal_ips.push_back(WEIR_TRY(IpAddress::parse(value)));
    return {};
}

}  // namespace

Result<void> save_node(const std::filesystem::path& run_dir, const model::Node& node) {
    std::string text = fmt::format("name {}\n", node.meta.name.name);
    for (const auto& range : node.pod_cidrs)
        text += fmt::format("pod-cidr {}\n", range.to_string());
    for (const auto& address : node.internal_ips)
        text += fmt::format("address {}\n", address.to_string());
    const auto known = read_file(file_of(run_dir));
    if (known && *known == text) return {};
    return write_file_atomic(file_of(run_dir), text, 0600);
}

std::optional<model::Node> load_node(const std::filesystem::path& run_dir,
                                     std::string_view node_name) {
    const auto text = read_file(file_of(run_dir));
    if (!text) return std::nullopt;
    model::Node node;
    for (std::string_view rest = *text; !rest.empty();) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        if (auto read = read_line(rest.substr(0, end), node); !read) {
            log::warn("{}: {}; it is written anew", file_of(run_dir).string(),
                      read.error().message());
            return std::nullopt;
        }
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (node.meta.name.name != node_name || node.pod_cidrs.empty()) return std::nullopt;
    return node;
}

}  // namespace weir::agent
