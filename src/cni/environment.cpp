// SPDX-License-Identifier: Apache-2.0
#include "cni/environment.h"

#include <algorithm>
#include <array>

namespace weir::cni {
namespace {

struct CommandName {
    Command command;
    std::string_view name;
    std::string_view operation;
};
constexpr std::array<CommandName, 6> kCommands = {{
    {Command::kAdd, "ADD", "add"},
    {Command::kDel, "DEL", "del"},
    {Command::kCheck, "CHECK", "check"},
    {Command::kGc, "GC", "gc"},
    {Command::kStatus, "STATUS", "status"},
    {Command::kVersion, "VERSION", "version"},
}};
constexpr size_t kMaxIfname = 15;
constexpr size_t kMaxPath = 4096;

bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool valid_container_id(std::string_view id) {
    if (id.empty() || id.size() > kMaxContainerId || !is_alnum(id.front())) return false;
    return std::ranges::all_of(
        id, [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

// What the kernel takes (dev_valid_name) and the specification adds; control characters would only
// come from a mistake.
bool valid_ifname(std::string_view name) {
    if (name.empty() || name.size() > kMaxIfname || name == "." || name == "..") return false;
    return std::ranges::none_of(name, [](char c) {
        return c == '/' || c == ':' || static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
    });
}

Outcome<Command> read_command(const Variables& variables) {
    const std::string name = variables("CNI_COMMAND");
    if (name.empty()) {
        return refuse(Code::kEnvironment,
                      "CNI_COMMAND is not set: this program is run by a container runtime (CNI)");
    }
    for (const CommandName& each : kCommands) {
        if (each.name == name) return each.command;
    }
    return refuse(Code::kEnvironment,
                  "CNI_COMMAND is \"{}\": ADD, DEL, CHECK, GC, STATUS and VERSION are known", name);
}

Outcome<void> read_args(const std::string& text, Environment& environment) {
    std::string_view rest = text;
    while (!rest.empty()) {
        const size_t end = std::min(rest.find(';'), rest.size());
        const std::string_view pair = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (pair.empty()) continue;
        const size_t equals = pair.find('=');
        if (equals == std::string_view::npos || equals == 0) {
            return refuse(Code::kEnvironment, "CNI_ARGS has \"{}\", which is not KEY=VALUE", pair);
        }
        environment.args.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
    }
    return {};
}

bool is_attachment_command(Command command) {
    return command == Command::kAdd || command == Command::kDel || command == Command::kCheck;
}

std::vector<std::string> problems(const Environment& environment) {
    std::vector<std::string> found;
    const auto judge = [&](const char* name, const std::string& value, bool valid,
                           std::string_view rule) {
        if (value.empty()) {
            found.push_back(fmt::format("{} is not set", name));
        } else if (!valid) {
            found.push_back(fmt::format("{} is \"{}\", which is no {}", name, value, rule));
        }
    };
    judge("CNI_CONTAINERID", environment.container_id, valid_container_id(environment.container_id),
          "container id (up to 100 letters, digits, \"_\", \".\", \"-\")");
    judge("CNI_IFNAME", environment.ifname, valid_ifname(environment.ifname),
          "interface name (up to 15 characters, no \"/\", \":\" or space)");
    const bool optional = environment.command == Command::kDel && environment.netns.empty();
    if (!optional) {
        judge("CNI_NETNS", environment.netns, environment.netns.size() < kMaxPath, "path");
    }
    return found;
}

}  // namespace

std::string_view operation(Command command) {
    return kCommands[static_cast<size_t>(command)].operation;
}

Outcome<Environment> read_environment(const Variables& variables) {
    const auto command = read_command(variables);
    if (!command) return tl::unexpected(command.error());
    Environment environment{.command = *command};
    if (!is_attachment_command(*command)) return environment;
    environment.container_id = variables("CNI_CONTAINERID");
    environment.netns = variables("CNI_NETNS");
    environment.ifname = variables("CNI_IFNAME");
    const std::string override = variables("CNI_NETNS_OVERRIDE");
    environment.netns_override = override == "1" || override == "true" || override == "TRUE";
    const auto wrong = problems(environment);
    if (!wrong.empty()) return refuse(Code::kEnvironment, "{}", fmt::join(wrong, "; "));
    if (auto args = read_args(variables("CNI_ARGS"), environment); !args) {
        return tl::unexpected(args.error());
    }
    return environment;
}

}  // namespace weir::cni
