// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "agent/api_types.h"
#include "cli/app.h"
#include "cli/exit_code.h"

/// How commands show lists of what the API tells.
namespace weir::cli {

inline std::string full_name(const auto& object) {
    return object.ns.empty() ? object.name : object.ns + "/" + object.name;
}

// "shop/web-1" or "web-1" with -n.
inline bool is_named(const Invocation& invocation, const auto& object) {
    if (invocation.name == object.ns + "/" + object.name) return true;
    return invocation.name == object.name && (invocation.ns.empty() || invocation.ns == object.ns);
}

template <typename T>
void keep_namespace(const Invocation& invocation, std::vector<T>& objects) {
    if (invocation.ns.empty()) return;
    std::erase_if(objects, [&](const T& object) { return object.ns != invocation.ns; });
}

template <typename T, typename Key>
void sort_by(std::vector<T>& objects, Key key) {
    std::ranges::sort(objects, {}, key);
}

// One of the four ways to show a list; `table` and `name` only when wanted.
template <typename T>
int show(const Invocation& invocation, const std::vector<T>& objects,
         const std::function<Table()>& table, const std::function<std::string(const T&)>& name) {
    const Format format = invocation.output.parsed();
    if (format == Format::kJson) {
        print(to_pretty_json(api::to_json(objects)));
    } else if (format == Format::kYaml) {
        print(to_yaml(api::to_json(objects)));
    } else if (format == Format::kName) {
        for (const T& object : objects)
            print(name(object) + "\n");
    } else if (objects.empty()) {
        complain(invocation.ns.empty() ? "nothing found"
                                       : "nothing found in namespace " + invocation.ns);
    } else {
        print(table().text(invocation.output));
    }
    return kOk;
}

template <typename T>
int show_one(const Invocation& invocation, std::vector<T> objects, const char* kind,
             const std::function<std::string(const T&)>& text) {
    std::erase_if(objects, [&](const T& object) { return !is_named(invocation, object); });
    if (objects.empty()) {
        return report(
            Error(Errc::kNotFound,
                  fmt::format("no {} \"{}\" on this node; `weir {} list` shows those that "
                              "are",
                              kind, invocation.name, kind)));
    }
    if (objects.size() > 1) {
        return report(Error(Errc::kInvalid,
                            fmt::format("{} \"{}\" exists in several namespaces: say -n NAMESPACE",
                                        kind, invocation.name)));
    }
    const Format format = invocation.output.parsed();
    if (format == Format::kJson) {
        print(to_pretty_json(api::to_json(objects.front())));
    } else if (format == Format::kYaml) {
        print(to_yaml(api::to_json(objects.front())));
    } else if (format == Format::kName) {
        print(fmt::format("{}/{}\n", kind, full_name(objects.front())));
    } else {
        print(text(objects.front()));
    }
    return kOk;
}

}  // namespace weir::cli
