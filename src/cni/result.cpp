// SPDX-License-Identifier: Apache-2.0
#include "cni/result.h"

#include <initializer_list>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace weir::cni {
namespace {

namespace json = boost::json;

json::object pick(const json::object& from, std::initializer_list<std::string_view> keys) {
    json::object picked;
    for (const std::string_view key : keys) {
        if (const json::value* value = from.if_contains(key)) picked[key] = *value;
    }
    return picked;
}

// The elements of an array of objects, each with the fields that old versions know.
json::array pick_each(const json::object& result, std::string_view list,
                      std::initializer_list<std::string_view> keys) {
    json::array picked;
    const json::value* value = result.if_contains(list);
    if (value == nullptr || !value->is_array()) return picked;
    for (const json::value& element : value->get_array()) {
        if (element.is_object()) picked.push_back(pick(element.get_object(), keys));
    }
    return picked;
}

void mark_family(json::array& ips) {
    for (json::value& ip : ips) {
        json::object& object = ip.get_object();
        const json::value* address = object.if_contains("address");
        const bool v6 = address != nullptr && address->is_string() &&
                        address->get_string().find(':') != json::string::npos;
        object["version"] = v6 ? "6" : "4";
    }
}

json::object shape(const json::object& result, Version version) {
    json::object shaped{{"cniVersion", version.text()}};
    if (version.has_gc_and_status()) {
        for (const auto& [key, value] : pick(result, {"interfaces", "ips", "routes", "dns"})) {
            shaped[key] = value;
        }
        return shaped;
    }
    shaped["interfaces"] = pick_each(result, "interfaces", {"name", "mac", "sandbox"});
    json::array ips = pick_each(result, "ips", {"interface", "address", "gateway"});
    if (version.marks_address_family()) mark_family(ips);
    shaped["ips"] = std::move(ips);
    shaped["routes"] = pick_each(result, "routes", {"dst", "gw"});
    shaped["dns"] = json::object{};
    if (const json::value* dns = result.if_contains("dns")) shaped["dns"] = *dns;
    return shaped;
}

}  // namespace

Outcome<std::string> render_result(const json::object& result, Version version) {
    const json::value* ips = result.if_contains("ips");
    if (ips == nullptr || !ips->is_array()) {
        return refuse(Code::kDecode, "the agent's answer has no \"ips\"");
    }
    return json::serialize(shape(result, version));
}

std::string render_failure(const Failure& failure, Version version) {
    json::object error{
        {"cniVersion", version.text()},
        {"code", static_cast<unsigned>(failure.code)},
        {"msg", failure.message},
    };
    if (!failure.details.empty()) error["details"] = failure.details;
    return json::serialize(error);
}

std::string render_versions(std::string_view asked) {
    json::array supported;
    for (const std::string_view version : kSupportedVersions)
        supported.emplace_back(version);
    return json::serialize(
        json::object{{"cniVersion", asked}, {"supportedVersions", std::move(supported)}});
}

}  // namespace weir::cni
