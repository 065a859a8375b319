// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "agent/api_ipam.h"
#include "agent/api_policy.h"
#include "agent/api_status.h"
#include "agent/api_tables.h"
#include "common/result.h"

namespace boost::json {
class value;
}

/// What the local API says, as plain structs: the agent fills them, the CLI reads them, and
/// docs/api.md is written from them. `fields` lists a struct's JSON names with their meaning; the
/// text there is the documentation of the field. A reader ignores fields it does not know and keeps
/// defaults for those that are missing, so that neighbouring versions understand each other.
namespace weir::api {

/// GET /v1/config: a list of these.
struct Setting {
    std::string name;
    std::string value;
    std::string origin;

    static constexpr void fields(auto&& add) {
        add("name", &Setting::name, "name of the setting");
        add("value", &Setting::value, "value in force");
        add("origin", &Setting::origin, "default, file, environment or flag");
    }
};

/// The body of every answer that is not 2xx.
struct ErrorBody {
    std::string error;
    std::string code;

    static constexpr void fields(auto&& add) {
        add("error", &ErrorBody::error, "what failed and what to do");
        add("code", &ErrorBody::code, "invalid, not_found, permission, unavailable, …");
    }
};

/// For every struct here and in the headers above. A list is encoded element by element with the
/// vector form.
template <typename T>
boost::json::value to_json(const T& object);
template <typename T>
boost::json::value to_json(const std::vector<T>& objects);
/// Errors name the field: "datapath.maps[3].bytes: not a number".
template <typename T>
Result<T> from_json(const boost::json::value& value);
template <typename T>
Result<std::vector<T>> list_from_json(const boost::json::value& value);

/// docs/api.md.
std::string api_reference();

}  // namespace weir::api
