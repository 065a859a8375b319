// SPDX-License-Identifier: Apache-2.0
#include "cni/config.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace weir::cni {
namespace {

namespace json = boost::json;

constexpr size_t kMaxDepth = 32;
constexpr size_t kMaxNetworkName = 200;
// Capabilities that a runtime may hand over and that Weir does not have: taking them in silence
// would let a pod run without what it asked for.
constexpr std::string_view kForeignCapabilities[] = {"bandwidth", "ipRanges", "mac",
                                                     "infinibandGUID", "deviceID"};

Outcome<json::object> parse_object(std::string_view text) {
    if (text.size() > kMaxMessage) {
        return refuse(Code::kDecode, "the configuration on stdin is longer than {} bytes",
                      kMaxMessage);
    }
    json::error_code failed;
    json::parse_options options;
    options.max_depth = kMaxDepth;
    json::value value = json::parse({text.data(), text.size()}, failed, {}, options);
    if (failed) {
        return refuse(Code::kDecode, "the configuration on stdin is not JSON: {}",
                      failed.message());
    }
    if (!value.is_object()) {
        return refuse(Code::kDecode, "the configuration on stdin is JSON, but not an object");
    }
    return std::move(value.get_object());
}

bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool valid_network_name(std::string_view name) {
    if (name.empty() || name.size() > kMaxNetworkName || !is_alnum(name.front())) return false;
    return name.find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
               "_.-") == std::string_view::npos;
}

// A text that must be one if it is there.
Outcome<std::string> text_or(const json::object& object, std::string_view key,
                             std::string_view otherwise) {
    const json::value* value = object.if_contains(key);
    if (value == nullptr) return std::string(otherwise);
    if (!value->is_string()) {
        return refuse(Code::kConfig, "\"{}\" of the network configuration is not a text", key);
    }
    return std::string(value->get_string());
}

Outcome<std::string> path_or(const json::object& object, std::string_view key,
                             std::string_view otherwise) {
    auto path = text_or(object, key, otherwise);
    if (path && !path->starts_with('/')) {
        return refuse(Code::kConfig,
                      "\"{}\" of the network configuration is \"{}\": it must be an "
                      "absolute path",
                      key, *path);
    }
    return path;
}

bool is_empty(const json::value& value) {
    return value.is_null() || (value.is_array() && value.get_array().empty()) ||
           (value.is_object() && value.get_object().empty()) ||
           (value.is_string() && value.get_string().empty());
}

Outcome<void> refuse_foreign(const json::object& object) {
    if (const json::value* ipam = object.if_contains("ipam"); ipam && !is_empty(*ipam)) {
        return refuse(Code::kUnsupported,
                      "\"ipam\": {} is not supported: addresses come from the node's podCIDRs; "
                      "remove the section",
                      json::serialize(*ipam));
    }
    const json::value* runtime = object.if_contains("runtimeConfig");
    if (runtime == nullptr || runtime->is_null()) return {};
    if (!runtime->is_object()) {
        return refuse(Code::kConfig, "\"runtimeConfig\" is not an object");
    }
    for (const std::string_view key : kForeignCapabilities) {
        const json::value* value = runtime->get_object().if_contains(key);
        if (value == nullptr || is_empty(*value)) continue;
        return refuse(Code::kUnsupported,
                      "runtimeConfig \"{}\": {} is not supported; remove it from \"capabilities\"",
                      key, json::serialize(*value));
    }
    return {};
}

// CNI spec 1.1.0, what each operation is given.
Outcome<void> judge_command(const NetworkConfig& config, Command command) {
    const json::value* previous = config.raw.if_contains("prevResult");
    const bool has_previous = previous != nullptr && !previous->is_null();
    switch (command) {
        case Command::kAdd:
            if (!has_previous) return {};
            return refuse(Code::kConfig,
                          "prevResult is given to ADD: weir-cni makes the interface "
                          "and must be the first in \"plugins\"");
        case Command::kCheck:
            if (!config.version.has_check()) {
                return refuse(Code::kVersion, "CHECK needs cniVersion 0.4.0 or later, not {}",
                              config.version.text());
            }
            if (!has_previous || !previous->is_object()) {
                return refuse(Code::kConfig, "CHECK needs prevResult, the result of the ADD");
            }
            return {};
        case Command::kGc:
        case Command::kStatus:
            if (config.version.has_gc_and_status()) return {};
            return refuse(Code::kVersion, "{} needs cniVersion 1.1.0 or later, not {}",
                          command == Command::kGc ? "GC" : "STATUS", config.version.text());
        default:
            return {};
    }
}

void copy(const json::object& from, std::string_view key, json::object& to, std::string_view name) {
    if (const json::value* value = from.if_contains(key)) to[name] = *value;
}

}  // namespace

Version version_of(std::string_view text) {
    const auto object = parse_object(text);
    if (!object) return Version::newest();
    const json::value* version = object->if_contains("cniVersion");
    if (version == nullptr || !version->is_string()) return Version::newest();
    return Version::parse(version->get_string()).value_or(Version::newest());
}

Outcome<NetworkConfig> read_config(std::string_view text, Command command) {
    auto object = parse_object(text);
    if (!object) return tl::unexpected(object.error());
    NetworkConfig config;
    const auto written = text_or(*object, "cniVersion", "0.1.0");  // what its absence means
    if (!written) return tl::unexpected(written.error());
    const auto version = Version::parse(*written);
    if (!version) return tl::unexpected(version.error());
    config.version = *version;

    auto name = text_or(*object, "name", "");
    if (!name) return tl::unexpected(name.error());
    if (!valid_network_name(*name)) {
        return refuse(Code::kConfig,
                      "\"name\" of the network is \"{}\": letters, digits, \"_\", "
                      "\".\" and \"-\", beginning with a letter or digit, are needed",
                      *name);
    }
    auto socket = path_or(*object, "socket", kDefaultSocket);
    if (!socket) return tl::unexpected(socket.error());
    auto queue_dir = path_or(*object, "queueDir", kDefaultQueueDir);
    if (!queue_dir) return tl::unexpected(queue_dir.error());
    if (command == Command::kAdd) {
        if (auto foreign = refuse_foreign(*object); !foreign)
            return tl::unexpected(foreign.error());
    }
    config.name = std::move(*name);
    config.socket = std::move(*socket);
    config.queue_dir = std::move(*queue_dir);
    config.raw = std::move(*object);
    if (auto judged = judge_command(config, command); !judged) {
        return tl::unexpected(judged.error());
    }
    return config;
}

json::object make_request(const NetworkConfig& config, const Environment& environment) {
    json::object args;
    for (const auto& [key, value] : environment.args)
        args[key] = value;
    json::object request{
        {"cniVersion", config.version.text()},
        {"network", config.name},
        {"containerId", environment.container_id},
        {"netns", environment.netns},
        {"ifname", environment.ifname},
        {"args", std::move(args)},
    };
    copy(config.raw, "runtimeConfig", request, "runtimeConfig");
    copy(config.raw, "dns", request, "dns");
    if (const json::value* cni_args = config.raw.if_contains("args");
        cni_args != nullptr && cni_args->is_object()) {
        copy(cni_args->get_object(), "cni", request, "cniArgs");
    }
    if (environment.command == Command::kCheck) {
        copy(config.raw, "prevResult", request, "prevResult");
    }
    if (environment.command == Command::kGc) {
        // The second is how an earlier text of the specification spelled it.
        copy(config.raw, "cni.dev/attachments", request, "validAttachments");
        copy(config.raw, "cni.dev/valid-attachments", request, "validAttachments");
    }
    return request;
}

}  // namespace weir::cni
