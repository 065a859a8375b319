// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdlib>

#include <boost/json.hpp>

#include "cli/exit_code.h"
#include "cli/source.h"

namespace weir::cli {
namespace {

namespace json = boost::json;

// Ctrl-C ends a list that follows: that is how it is meant to end, and scripts can tell.
void exit_on_interrupt() {
    std::signal(SIGINT, [](int) { std::_Exit(kInterrupted); });
}

std::string host_port(const std::string& address, uint64_t port) {
    return address.find(':') == std::string::npos ? fmt::format("{}:{}", address, port)
                                                  : fmt::format("[{}]:{}", address, port);
}

std::string named(const std::string& pod, const std::string& address, uint64_t port) {
    return pod.empty() ? host_port(address, port) : fmt::format("{}:{}", pod, port);
}

std::string translated(const api::Conntrack& entry) {
    if (entry.rewrites.empty()) return "";
    return host_port(entry.nat_source.empty() ? entry.source : entry.nat_source,
                     entry.nat_source.empty() ? entry.source_port : entry.nat_source_port) +
           " > " +
           host_port(
               entry.nat_destination.empty() ? entry.destination : entry.nat_destination,
               entry.nat_destination.empty() ? entry.destination_port : entry.nat_destination_port);
}

bool in_namespace(const api::Conntrack& entry, const std::string& ns) {
    const std::string prefix = ns + "/";
    return entry.source_pod.starts_with(prefix) || entry.destination_pod.starts_with(prefix) ||
           entry.service.starts_with(prefix);
}

Table conntrack_table(const std::vector<api::Conntrack>& entries) {
    Table table({{"PROTOCOL"},
                 {"STATE"},
                 {"SOURCE"},
                 {"DESTINATION"},
                 {"SERVICE"},
                 {"KIND"},
                 {"IDLE", false, true},
                 {"EXPIRES", false, true},
                 {"TRANSLATED", true},
                 {"AGE", true, true},
                 {"DEVICE", true}});
    for (const auto& entry : entries) {
        table.add(
            {entry.protocol, entry.state, named(entry.source_pod, entry.source, entry.source_port),
             named(entry.destination_pod, entry.destination, entry.destination_port), entry.service,
             entry.kind, duration_text(entry.idle_seconds), duration_text(entry.expires_seconds),
             translated(entry), duration_text(entry.age_seconds), entry.device});
    }
    return table;
}

// JSON goes out as it comes, an entry a line: a list may be longer than memory.
int print_conntrack_lines(Source& source, const Invocation& invocation) {
    const auto done = source.conntrack(invocation.query, [&](const api::Conntrack& entry) {
        if (invocation.ns.empty() || in_namespace(entry, invocation.ns)) {
            print(json::serialize(api::to_json(entry)) + "\n");
        }
        return true;
    });
    return done ? kOk : report(done.error());
}

std::string clock_text(const json::object& line) {
    const json::value* time = line.if_contains("time");
    if (time == nullptr || !time->is_string()) return "-";
    const std::string text(time->get_string());
    // 2026-11-21T08:51:38.123456789Z
    return text.size() < 23 ? text : text.substr(5, 5) + " " + text.substr(11, 12);
}

const json::value* at(const json::value* value, const char* key) {
    return value != nullptr && value->is_object() ? value->get_object().if_contains(key) : nullptr;
}

std::string text_at(const json::value* value, const char* key) {
    const json::value* found = at(value, key);
    if (found == nullptr) return "?";
    return found->is_string() ? std::string(found->get_string()) : json::serialize(*found);
}

std::string flow_text(const json::value& line) {
    if (const json::value* lost = at(&line, "lost_events")) {
        return fmt::format("LOST {} records ({})", text_at(lost, "num_events_lost"),
                           text_at(lost, "source"));
    }
    return text_at(at(&line, "flow"), "Summary");
}

std::string colored(const std::string& text) {
    if (text.starts_with("DROPPED") || text.starts_with("LOST")) {
        return "\x1b[31m" + text + "\x1b[0m";
    }
    return text;
}

// One record as asked for; false if it cannot be read.
bool print_flow(std::string_view raw, Format format, bool color) {
    if (format == Format::kJson) {
        print(std::string(raw) + "\n");
        return true;
    }
    boost::system::error_code error;
    const json::value value = json::parse(raw, error);
    if (error || !value.is_object()) return false;
    if (format == Format::kYaml) {
        print("---\n" + to_yaml(value));
        return true;
    }
    const std::string text = flow_text(value);
    print(clock_text(value.get_object()) + "  " + (color ? colored(text) : text) + "\n");
    return true;
}

}  // namespace

int conntrack_list_command(const Invocation& invocation) {
    exit_on_interrupt();
    auto source = open_source(invocation);
    if (!source) return report(source.error());
    const Format format = invocation.output.parsed();
    if (format == Format::kJson) return print_conntrack_lines(**source, invocation);
    std::vector<api::Conntrack> entries;
    const auto done = (*source)->conntrack(invocation.query, [&](const api::Conntrack& entry) {
        if (invocation.ns.empty() || in_namespace(entry, invocation.ns)) entries.push_back(entry);
        return true;
    });
    if (!done) return report(done.error());
    std::ranges::sort(entries, {}, [](const api::Conntrack& entry) {
        return std::tie(entry.protocol, entry.source, entry.source_port, entry.destination,
                        entry.destination_port);
    });
    if (format == Format::kYaml) {
        print(to_yaml(api::to_json(entries)));
    } else if (format == Format::kName) {
        for (const auto& entry : entries) {
            print(fmt::format("{} {} {}\n", entry.protocol,
                              host_port(entry.source, entry.source_port),
                              host_port(entry.destination, entry.destination_port)));
        }
    } else if (entries.empty()) {
        complain("no tracked flow matches");
    } else {
        print(conntrack_table(entries).text(invocation.output));
    }
    return kOk;
}

int flows_command(const Invocation& invocation) {
    exit_on_interrupt();
    QueryParams query = invocation.query;
    if (invocation.follow) query.emplace_back("follow", "1");
    const Format format = invocation.output.parsed();
    const bool color = use_color();
    bool readable = true;
    const auto done = invocation.client().stream("/v1/flows", query, invocation.follow,
                                                 [&](std::string_view raw) {
                                                     readable = print_flow(raw, format, color);
                                                     return readable;
                                                 });
    if (!done) return report(done.error());
    if (!readable)
        return report(Error(Errc::kInternal, "the agent sent a record that is not JSON"));
    return kOk;
}

}  // namespace weir::cli
