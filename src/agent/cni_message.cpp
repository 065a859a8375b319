// SPDX-License-Identifier: Apache-2.0
#include "agent/cni_message.h"

#include <algorithm>
#include <cctype>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace weir::agent {
namespace {

namespace json = boost::json;
using cni::Code;

const json::object* object_in(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value == nullptr ? nullptr : value->if_object();
}

const json::array* array_in(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value == nullptr ? nullptr : value->if_array();
}

// Empty: there is none, or it is no text.
std::string text_of(const json::value* value) {
    const json::string* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : std::string(*text);
}

std::string text_in(const json::object& object, std::string_view key) {
    return text_of(object.if_contains(key));
}

// "10.0.0.5/24" or "10.0.0.5"; a pod's own length is always that of the family.
CniOutcome<IpAddress> parse_wish(std::string_view text, Code code, std::string_view where) {
    const bool has_length = text.find('/') != std::string_view::npos;
    if (has_length && !IpPrefix::parse_lenient(text)) {
        return refuse(code, "requested address \"{}\" of {} is none", text, where);
    }
    auto address = IpAddress::parse(text.substr(0, text.find('/')));
    if (!address) return refuse(code, "requested address \"{}\" of {} is none", text, where);
    return *address;
}

CniOutcome<void> add_wishes(const json::object& holder, std::string_view where,
                            std::vector<IpAddress>& wishes) {
    const json::array* list = array_in(holder, "ips");
    if (list == nullptr) return {};
    for (const json::value& value : *list) {
        const json::string* text = value.if_string();
        if (text == nullptr) return refuse(Code::kConfig, "{} has an entry that is no text", where);
        auto address = parse_wish(*text, Code::kConfig, where);
        if (!address) return tl::unexpected(address.error());
        wishes.push_back(*address);
    }
    return {};
}

CniOutcome<void> read_wishes(const json::object& body, const json::object* args,
                             std::vector<IpAddress>& wishes) {
    if (const json::object* runtime = object_in(body, "runtimeConfig")) {
        if (auto read = add_wishes(*runtime, "runtimeConfig.ips", wishes); !read) return read;
    }
    if (const json::object* cni_args = object_in(body, "cniArgs")) {
        if (auto read = add_wishes(*cni_args, "args.cni.ips", wishes); !read) return read;
    }
    const std::string listed = args == nullptr ? std::string() : text_in(*args, "IP");
    std::string_view rest = listed;
    while (!rest.empty()) {
        const size_t end = std::min(rest.find(','), rest.size());
        auto address = parse_wish(rest.substr(0, end), Code::kEnvironment, "CNI_ARGS IP");
        if (!address) return tl::unexpected(address.error());
        wishes.push_back(*address);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return {};
}

// A member of whatever case: the conventions write hostPort, containerd HostPort, and plugins in Go
// take both.
const json::value* member(const json::object& object, std::string_view key) {
    const auto same = [](unsigned char a, unsigned char b) {
        return std::tolower(a) == std::tolower(b);
    };
    const auto* const found = std::ranges::find_if(object, [&](const auto& entry) {
        return std::ranges::equal(std::string_view(entry.key()), key, same);
    });
    return found == object.end() ? nullptr : &found->value();
}

// A port number; nullopt: there is none, or it is no number that ports have.
std::optional<uint16_t> port_in(const json::object& object, std::string_view key) {
    const json::value* value = member(object, key);
    if (value == nullptr || !value->is_int64()) return std::nullopt;
    const int64_t number = value->get_int64();
    return number < 0 || number > 65535 ? std::nullopt
                                        : std::optional(static_cast<uint16_t>(number));
}

// CNI conventions, "portMappings". Port 0 of the host asks for nothing.
CniOutcome<std::optional<model::HostPort>> read_host_port(const json::value& value) {
    const json::object* object = value.if_object();
    const auto host = object == nullptr ? std::nullopt : port_in(*object, "hostPort");
    if (host == uint16_t{0}) return std::optional<model::HostPort>();
    const auto container = object == nullptr ? std::nullopt : port_in(*object, "containerPort");
    if (!host || container.value_or(0) == 0) {
        return refuse(Code::kConfig,
                      "runtimeConfig.portMappings: {} needs hostPort and containerPort, 1 to 65535",
                      json::serialize(value));
    }
    model::HostPort port{.host_port = *host, .container_port = *container, .host_ip = {}};
    std::string name = text_of(member(*object, "protocol"));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
    if (!name.empty()) {
        const auto protocol = model::parse_protocol(name);
        if (!protocol) {
            return refuse(Code::kConfig, "runtimeConfig.portMappings: {}",
                          protocol.error().message());
        }
        port.protocol = *protocol;
    }
    if (const std::string text = text_of(member(*object, "hostIP")); !text.empty()) {
        const auto address = IpAddress::parse(text);
        if (!address) {
            return refuse(Code::kConfig, "runtimeConfig.portMappings: hostIP: {}",
                          address.error().message());
        }
        port.host_ip = *address;
    }
    return std::optional(port);
}

CniOutcome<std::vector<model::HostPort>> read_host_ports(const json::object& body) {
    std::vector<model::HostPort> ports;
    const json::object* runtime = object_in(body, "runtimeConfig");
    const json::array* list = runtime == nullptr ? nullptr : array_in(*runtime, "portMappings");
    if (list == nullptr) return ports;
    for (const json::value& value : *list) {
        auto port = read_host_port(value);
        if (!port) return tl::unexpected(port.error());
        if (*port) ports.push_back(**port);
    }
    return ports;
}

// What the network's configuration says, else what the runtime does, whose names differ.
json::object read_dns(const json::object& body) {
    if (const json::object* dns = object_in(body, "dns"); dns != nullptr && !dns->empty()) {
        return *dns;
    }
    json::object dns;
    const json::object* runtime = object_in(body, "runtimeConfig");
    const json::object* given = runtime == nullptr ? nullptr : object_in(*runtime, "dns");
    if (given == nullptr) return dns;
    constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kNames = {
        {{"servers", "nameservers"}, {"searches", "search"}, {"options", "options"}}};
    for (const auto& [from, to] : kNames) {
        if (const json::array* list = array_in(*given, from)) dns[to] = *list;
    }
    return dns;
}

CniOutcome<std::set<ipam::AttachmentKey>> read_attachments(const json::value& value) {
    std::set<ipam::AttachmentKey> keys;
    if (value.is_null()) return keys;
    const json::array* list = value.if_array();
    if (list == nullptr) return refuse(Code::kConfig, "cni.dev/valid-attachments is no list");
    for (const json::value& each : *list) {
        const json::object* object = each.if_object();
        ipam::AttachmentKey key;
        if (object != nullptr) {
            key = {.container = text_in(*object, "containerID"),
                   .ifname = text_in(*object, "ifname")};
        }
        // Guessing here would remove a pod that lives.
        if (key.container.empty() || key.ifname.empty()) {
            return refuse(Code::kConfig,
                          "cni.dev/valid-attachments has an entry without containerID or ifname");
        }
        keys.insert(std::move(key));
    }
    return keys;
}

json::object address_json(const IpAddress& address) {
    const unsigned length = address.is_v4() ? 32 : 128;
    return {{"interface", 1},
            {"address", fmt::format("{}/{}", address.to_string(), length)},
            {"gateway", pod_gateway(address.family()).to_string()}};
}

bool has_interface(const json::object& previous, const std::string& ifname) {
    const json::array* interfaces = array_in(previous, "interfaces");
    if (interfaces == nullptr) return false;
    return std::ranges::any_of(*interfaces, [&](const json::value& value) {
        const json::object* each = value.if_object();
        return each != nullptr && text_in(*each, "name") == ifname &&
               !text_in(*each, "sandbox").empty();
    });
}

bool has_address(const json::object& previous, const IpAddress& address) {
    const json::array* ips = array_in(previous, "ips");
    if (ips == nullptr) return false;
    return std::ranges::any_of(*ips, [&](const json::value& value) {
        const json::object* each = value.if_object();
        if (each == nullptr) return false;
        const std::string text = text_in(*each, "address");
        const auto parsed = IpAddress::parse(text.substr(0, text.find('/')));
        return parsed && *parsed == address;
    });
}

}  // namespace

CniOutcome<CniRequest> decode_cni_request(std::string_view text) {
    json::error_code failed;
    const json::value parsed = json::parse({text.data(), text.size()}, failed);
    const json::object* body = failed ? nullptr : parsed.if_object();
    if (body == nullptr) return refuse(Code::kDecode, "the request's body is no JSON object");
    CniRequest request;
    ipam::Claim& claim = request.claim;
    claim.key = {.container = text_in(*body, "containerId"), .ifname = text_in(*body, "ifname")};
    claim.network = text_in(*body, "network");
    claim.netns = text_in(*body, "netns");
    const json::object* args = object_in(*body, "args");
    if (args != nullptr) {
        claim.pod_namespace = text_in(*args, "K8S_POD_NAMESPACE");
        claim.pod_name = text_in(*args, "K8S_POD_NAME");
        claim.pod_uid = text_in(*args, "K8S_POD_UID");
    }
    if (auto read = read_wishes(*body, args, claim.requested); !read) {
        return tl::unexpected(read.error());
    }
    auto host_ports = read_host_ports(*body);
    if (!host_ports) return tl::unexpected(host_ports.error());
    claim.host_ports = std::move(*host_ports);
    request.dns = read_dns(*body);
    if (const json::object* previous = object_in(*body, "prevResult")) request.previous = *previous;
    if (const json::value* valid = body->if_contains("validAttachments")) {
        auto keys = read_attachments(*valid);
        if (!keys) return tl::unexpected(keys.error());
        request.valid_attachments = std::move(*keys);
    }
    return request;
}

std::string encode_cni_result(const ipam::Record& record, const Wired& wired,
                              const json::object& dns) {
    json::array ips;
    json::array routes;
    for (const IpAddress& address : record.addresses) {
        ips.push_back(address_json(address));
        routes.push_back(json::object{{"dst", address.is_v4() ? "0.0.0.0/0" : "::/0"},
                                      {"gw", pod_gateway(address.family()).to_string()}});
    }
    const json::object host{
        {"name", wired.host_ifname}, {"mac", wired.host_mac}, {"mtu", wired.mtu}};
    const json::object pod{{"name", record.key.ifname},
                           {"mac", wired.pod_mac},
                           {"mtu", wired.mtu},
                           {"sandbox", record.netns}};
    json::object result{{"cniVersion", "1.1.0"},
                        {"interfaces", json::array{host, pod}},
                        {"ips", std::move(ips)},
                        {"routes", std::move(routes)}};
    if (!dns.empty()) result["dns"] = dns;
    return json::serialize(result);
}

std::string encode_cni_failure(const CniFailure& failure) {
    return json::serialize(
        json::object{{"code", static_cast<unsigned>(failure.code)}, {"msg", failure.message}});
}

CniOutcome<void> compare_with_previous(const ipam::Record& record, const json::object& previous) {
    if (!has_interface(previous, record.key.ifname)) {
        return refuse(Code::kCheckFailed, "prevResult has no interface {} in a sandbox",
                      record.key.ifname);
    }
    for (const IpAddress& address : record.addresses) {
        if (has_address(previous, address)) continue;
        return refuse(Code::kCheckFailed, "{} has address {}, which prevResult does not",
                      record.key.to_string(), address.to_string());
    }
    return {};
}

}  // namespace weir::agent
