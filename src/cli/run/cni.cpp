// SPDX-License-Identifier: Apache-2.0
#include "cli/run/cni.h"

#include <algorithm>
#include <chrono>

#include <unistd.h>

#include <boost/json.hpp>

#include "cli/run/process.h"

namespace weir::cli::run {
namespace {

namespace json = boost::json;

constexpr auto kPatience = std::chrono::seconds(60);
constexpr const char* kInterface = "eth0";
// Newest first.
constexpr std::string_view kVersions[] = {"1.1.0", "1.0.0", "0.4.0", "0.3.1"};

struct List {
    std::string name;
    std::string version;
    std::vector<json::object> plugins;
};

std::string text_of(const json::object& object, const char* key) {
    const json::value* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// The newest version that both the list and this program speak.
std::string choose_version(const json::object& list) {
    const json::value* versions = list.if_contains("cniVersions");
    if (versions != nullptr && versions->is_array()) {
        for (const auto known : kVersions) {
            for (const auto& offered : versions->get_array()) {
                if (offered.is_string() && offered.get_string() == known) return std::string(known);
            }
        }
    }
    return text_of(list, "cniVersion");
}

Result<List> parse_list(const std::string& text) {
    boost::system::error_code error;
    const json::value value = json::parse(text, error);
    if (error || !value.is_object()) {
        return fail(Errc::kInvalid, "the network configuration list is not a JSON object");
    }
    List list;
    list.name = text_of(value.get_object(), "name");
    list.version = choose_version(value.get_object());
    const json::value* plugins = value.get_object().if_contains("plugins");
    if (list.name.empty() || plugins == nullptr || !plugins->is_array() ||
        plugins->get_array().empty()) {
        return fail(Errc::kInvalid, "the network configuration list has no name or no plugins");
    }
    for (const auto& plugin : plugins->get_array()) {
        if (!plugin.is_object() || text_of(plugin.get_object(), "type").empty()) {
            return fail(Errc::kInvalid, "a plugin of network {} has no type", list.name);
        }
        list.plugins.push_back(plugin.get_object());
    }
    return list;
}

Result<std::filesystem::path> find_plugin(const std::string& type, const std::string& directories) {
    if (type.find('/') != std::string::npos) {
        return fail(Errc::kInvalid, "\"{}\" is no plugin type", type);
    }
    for (size_t begin = 0; begin <= directories.size();) {
        const size_t end = std::min(directories.find(':', begin), directories.size());
        const auto path = std::filesystem::path(directories.substr(begin, end - begin)) / type;
        if (::access(path.c_str(), X_OK) == 0) return path;
        begin = end + 1;
    }
    return fail(Errc::kNotFound, "no CNI plugin \"{}\" in {}; name its directory with --cni-bin",
                type, directories);
}

// Only what the plugin says it understands ("CNI spec 1.1.0, conflist", capabilities).
json::object runtime_config(const json::object& plugin, const Record& record) {
    json::object config;
    const json::value* capabilities = plugin.if_contains("capabilities");
    if (capabilities == nullptr || !capabilities->is_object()) return config;
    const auto wanted = [&](const char* name) {
        const json::value* flag = capabilities->get_object().if_contains(name);
        return flag != nullptr && flag->is_bool() && flag->get_bool();
    };
    if (wanted("cgroupPath")) config["cgroupPath"] = record.cgroup.string();
    if (wanted("io.kubernetes.cri.pod-annotations")) {
        config["io.kubernetes.cri.pod-annotations"] = json::object();
    }
    if (wanted("portMappings") && !record.port_mappings.empty()) {
        config["portMappings"] = json::parse(record.port_mappings);
    }
    return config;
}

std::string plugin_input(const List& list, json::object plugin, const Record& record,
                         const json::value& previous) {
    plugin["name"] = list.name;
    plugin["cniVersion"] = list.version;
    if (json::object config = runtime_config(plugin, record); !config.empty()) {
        plugin["runtimeConfig"] = std::move(config);
    }
    if (!previous.is_null()) plugin["prevResult"] = previous;
    return json::serialize(plugin);
}

std::map<std::string, std::string> environment(const char* command, const Record& record) {
    return {{"CNI_COMMAND", command},
            {"CNI_CONTAINERID", record.container_id},
            {"CNI_NETNS", record.netns.string()},
            {"CNI_IFNAME", kInterface},
            {"CNI_PATH", record.cni_bin},
            {"CNI_ARGS", fmt::format("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};"
                                     "K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
                                     record.ns, record.name, record.container_id, record.uid)}};
}

// What a plugin said when it failed ("CNI spec 1.1.0, Error").
Error plugin_error(const std::string& type, const char* command, const Finished& finished) {
    boost::system::error_code error;
    const json::value value = json::parse(finished.out, error);
    if (!error && value.is_object() && value.get_object().contains("msg")) {
        const json::object& object = value.get_object();
        const json::value* code = object.if_contains("code");
        const bool again = code != nullptr && code->is_int64() && code->get_int64() == 11;
        const std::string details = text_of(object, "details");
        return {again ? Errc::kUnavailable : Errc::kSystem,
                fmt::format("CNI {} by {}: {}{}{} (code {})", command, type, text_of(object, "msg"),
                            details.empty() ? "" : ": ", details,
                            code == nullptr ? "none" : json::serialize(*code))};
    }
    return {Errc::kSystem, fmt::format("CNI {} by {} ended with status {}: {}", command, type,
                                       shell_status(finished.status),
                                       finished.err.empty() ? "it did not say why" : finished.err)};
}

Result<json::value> call(const char* command, const List& list, const json::object& plugin,
                         const Record& record, const json::value& previous) {
    const std::string type = text_of(plugin, "type");
    const auto path = WEIR_TRY(find_plugin(type, record.cni_bin));
    const Finished finished =
        WEIR_TRY(run_program(path, environment(command, record),
                             plugin_input(list, plugin, record, previous), kPatience));
    if (finished.status != 0) return Failure(plugin_error(type, command, finished));
    if (std::string_view(command) == "DEL") return json::value();
    boost::system::error_code error;
    json::value result = json::parse(finished.out, error);
    if (error) {
        return fail(Errc::kSystem, "CNI {} by {}: its result is not JSON: {}", command, type,
                    error.message());
    }
    return result;
}

std::vector<std::string> addresses_of(const json::value& result) {
    std::vector<std::string> addresses;
    const json::value* ips = result.is_object() ? result.get_object().if_contains("ips") : nullptr;
    if (ips == nullptr || !ips->is_array()) return addresses;
    for (const auto& ip : ips->get_array()) {
        if (!ip.is_object()) continue;
        const std::string address = text_of(ip.get_object(), "address");
        addresses.push_back(address.substr(0, address.find('/')));
    }
    return addresses;
}

std::string resolv_conf_of(const json::value& result) {
    const json::value* dns = result.is_object() ? result.get_object().if_contains("dns") : nullptr;
    if (dns == nullptr || !dns->is_object()) return "";
    const auto words = [&](const char* key) {
        std::vector<std::string> found;
        const json::value* list = dns->get_object().if_contains(key);
        if (list == nullptr || !list->is_array()) return found;
        for (const auto& word : list->get_array()) {
            if (word.is_string()) found.emplace_back(word.get_string());
        }
        return found;
    };
    std::string text;
    for (const auto& server : words("nameservers"))
        text += "nameserver " + server + "\n";
    if (text.empty()) return "";
    std::string search;
    for (const auto& domain : words("search"))
        search += " " + domain;
    if (!search.empty()) text += "search" + search + "\n";
    for (const auto& option : words("options"))
        text += "options " + option + "\n";
    return text;
}

}  // namespace

std::string port_mappings(const std::vector<model::HostPort>& ports) {
    if (ports.empty()) return {};
    json::array list;
    for (const model::HostPort& port : ports) {
        json::object entry = {{"hostPort", port.host_port},
                              {"containerPort", port.container_port},
                              {"protocol", model::to_string(port.protocol)}};
        if (port.host_ip) entry["hostIP"] = port.host_ip->to_string();
        list.push_back(std::move(entry));
    }
    return json::serialize(list);
}

Result<void> check_conflist(const std::string& conflist, const std::string& cni_bin) {
    const List list = WEIR_TRY(parse_list(conflist));
    for (const auto& plugin : list.plugins) {
        WEIR_CHECK(find_plugin(text_of(plugin, "type"), cni_bin));
    }
    return {};
}

Result<Network> cni_add(const Record& record) {
    const List list = WEIR_TRY(parse_list(record.conflist));
    json::value previous;
    for (const auto& plugin : list.plugins) {
        previous = WEIR_TRY(call("ADD", list, plugin, record, previous));
    }
    Network network{json::serialize(previous), addresses_of(previous), resolv_conf_of(previous)};
    if (network.ips.empty()) {
        return fail(Errc::kSystem, "CNI ADD of network {} gave no address", list.name);
    }
    return network;
}

Result<void> cni_del(const Record& record, const std::string& result) {
    const List list = WEIR_TRY(parse_list(record.conflist));
    boost::system::error_code error;
    json::value previous = json::parse(result, error);
    // 0.3.1 knows no prevResult on DEL.
    if (error || list.version == "0.3.1") previous = nullptr;
    Result<void> first;
    for (auto plugin = list.plugins.rbegin(); plugin != list.plugins.rend(); ++plugin) {
        auto done = call("DEL", list, *plugin, record, previous);
        if (!done && first) first = Failure(std::move(done).error());
    }
    return first;
}

}  // namespace weir::cli::run
