// SPDX-License-Identifier: Apache-2.0
#include "ipam/record.h"

#include <array>

#include <boost/json.hpp>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace weir::ipam {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 3> kStates = {"pending", "committed", "released"};

std::string checksum(std::string_view line) {
    return fmt::format("xxh64 {:016x}", XXH64(line.data(), line.size(), 0));
}

std::string text_of(const json::object& object, std::string_view name) {
    return std::string(object.at(name).as_string());
}

BootTime time_of(const json::object& object, std::string_view name) {
    return BootTime(object.at(name).to_number<int64_t>());
}

Result<RecordState> state_of(const json::object& object) {
    const std::string name = text_of(object, "state");
    for (size_t i = 0; i < kStates.size(); ++i) {
        if (kStates[i] == name) return static_cast<RecordState>(i);
    }
    return fail(Errc::kInvalid, "unknown state \"{}\"", name);
}

json::array host_ports_json(const Record& record) {
    json::array out;
    for (const model::HostPort& port : record.host_ports) {
        out.push_back(json::object{
            {"protocol", model::to_string(port.protocol)},
            {"hostPort", port.host_port},
            {"containerPort", port.container_port},
            {"hostIP", port.host_ip ? port.host_ip->to_string() : std::string()},
        });
    }
    return out;
}

Result<model::HostPort> host_port_of(const json::object& object) {
    model::HostPort port{
        .protocol = WEIR_TRY(model::parse_protocol(text_of(object, "protocol"))),
        .host_port = object.at("hostPort").to_number<uint16_t>(),
        .container_port = object.at("containerPort").to_number<uint16_t>(),
        .host_ip = {},
    };
    const std::string address = text_of(object, "hostIP");
    if (!address.empty()) port.host_ip = WEIR_TRY(IpAddress::parse(address));
    return port;
}

// Throws what Boost.JSON throws for a missing or differently typed member.
Result<Record> from_json(const json::object& object) {
    Record record{
        .key = {.container = text_of(object, "container"), .ifname = text_of(object, "ifname")},
        .network = text_of(object, "network"),
        .netns = text_of(object, "netns"),
        .pod_namespace = text_of(object, "podNamespace"),
        .pod_name = text_of(object, "podName"),
        .pod_uid = text_of(object, "podUid"),
        .serial = object.at("serial").to_number<uint64_t>(),
        .created = time_of(object, "created"),
        .released = time_of(object, "released"),
    };
    for (const json::value& address : object.at("addresses").as_array()) {
        record.addresses.push_back(WEIR_TRY(IpAddress::parse(address.as_string())));
    }
    // A record of a build that had none lacks the member.
    if (const json::value* ports = object.if_contains("hostPorts")) {
        for (const json::value& port : ports->as_array())
            record.host_ports.push_back(WEIR_TRY(host_port_of(port.as_object())));
    }
    record.state = WEIR_TRY(state_of(object));
    return record;
}

}  // namespace

std::string encode(const Record& record) {
    json::array addresses;
    for (const IpAddress& address : record.addresses)
        addresses.emplace_back(address.to_string());
    json::object object{
        {"container", record.key.container},
        {"ifname", record.key.ifname},
        {"network", record.network},
        {"netns", record.netns},
        {"podNamespace", record.pod_namespace},
        {"podName", record.pod_name},
        {"podUid", record.pod_uid},
        {"addresses", std::move(addresses)},
        {"serial", record.serial},
        {"created", record.created.count()},
        {"released", record.released.count()},
        {"state", kStates[static_cast<size_t>(record.state)]},
    };
    if (!record.host_ports.empty()) object["hostPorts"] = host_ports_json(record);
    const std::string line = json::serialize(object);
    return line + "\n" + checksum(line) + "\n";
}

Result<Record> decode(std::string_view text) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return fail(Errc::kInvalid, "cut short");
    const std::string_view line = text.substr(0, end);
    if (text.substr(end + 1) != checksum(line) + "\n") {
        return fail(Errc::kInvalid, "checksum does not match");
    }
    try {
        return from_json(json::parse({line.data(), line.size()}).as_object());
    } catch (const std::exception& error) {
        return fail(Errc::kInvalid, "not a record: {}", error.what());
    }
}

std::string record_file_name(const AttachmentKey& key) {
    return key.container + "@" + key.ifname + ".json";
}

}  // namespace weir::ipam
