// SPDX-License-Identifier: Apache-2.0
#include <concepts>
#include <type_traits>

#include <boost/json.hpp>

#include "agent/api_types.h"

namespace weir::api {
namespace {

namespace json = boost::json;

struct IgnoreFields {
    void operator()(const char*, auto, const char*) const {}
};
template <typename T>
concept Described = requires { T::fields(IgnoreFields{}); };
template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsMap : std::false_type {};
template <typename T>
struct IsMap<std::map<std::string, T>> : std::true_type {};

template <typename T>
json::value encode(const T& value) {
    if constexpr (Described<T>) {
        json::object object;
        T::fields([&](const char* name, auto member, const char*) {
            object[name] = encode(value.*member);
        });
        return object;
    } else if constexpr (IsVector<T>::value) {
        json::array array;
        array.reserve(value.size());
        for (const auto& element : value)
            array.push_back(encode(element));
        return array;
    } else if constexpr (IsMap<T>::value) {
        json::object object;
        for (const auto& [key, element] : value)
            object[key] = encode(element);
        return object;
    } else {
        return json::value(value);
    }
}

template <typename T>
Result<void> decode(const json::value& value, T& out);

template <typename T>
Result<void> decode_array(const json::value& value, T& out) {
    if (!value.is_array()) return fail(Errc::kInvalid, "not a list");
    out.clear();
    for (size_t i = 0; i < value.get_array().size(); ++i) {
        if (auto element = decode(value.get_array()[i], out.emplace_back()); !element) {
            return Failure(std::move(element).error().with("[{}]", i));
        }
    }
    return {};
}

template <typename T>
Result<void> decode_map(const json::value& value, T& out) {
    if (!value.is_object()) return fail(Errc::kInvalid, "not an object");
    out.clear();
    for (const auto& [key, element] : value.get_object()) {
        WEIR_CHECK(decode(element, out[std::string(key)]));
    }
    return {};
}

template <typename T>
Result<void> decode_object(const json::value& value, T& out) {
    if (!value.is_object()) return fail(Errc::kInvalid, "not an object");
    Result<void> result;
    T::fields([&](const char* name, auto member, const char*) {
        const json::value* found = value.get_object().if_contains(name);
        if (!result || found == nullptr || found->is_null()) return;
        if (auto decoded = decode(*found, out.*member); !decoded) {
            result = Failure(std::move(decoded).error().with("{}", name));
        }
    });
    return result;
}

template <typename T>
Result<void> decode_number(const json::value& value, T& out) {
    boost::system::error_code error;
    out = value.to_number<T>(error);
    if (error) return fail(Errc::kInvalid, "not a number in range");
    return {};
}

template <typename T>
Result<void> decode(const json::value& value, T& out) {
    if constexpr (Described<T>) {
        return decode_object(value, out);
    } else if constexpr (IsVector<T>::value) {
        return decode_array(value, out);
    } else if constexpr (IsMap<T>::value) {
        return decode_map(value, out);
    } else if constexpr (std::same_as<T, bool>) {
        if (!value.is_bool()) return fail(Errc::kInvalid, "not true or false");
        out = value.get_bool();
        return {};
    } else if constexpr (std::is_arithmetic_v<T>) {
        return decode_number(value, out);
    } else {
        if (!value.is_string()) return fail(Errc::kInvalid, "not a text");
        out = std::string(value.get_string());
        return {};
    }
}

// "object", "list of Map", "number": the type as docs/api.md says it.
template <typename T>
std::string type_text(std::string_view described) {
    if constexpr (Described<T>) {
        return fmt::format("[{0}](#{1})", described, described);
    } else if constexpr (IsVector<T>::value) {
        return "list of " + type_text<typename T::value_type>(described);
    } else if constexpr (IsMap<T>::value) {
        return "object of " + type_text<typename T::mapped_type>(described);
    } else if constexpr (std::same_as<T, bool>) {
        return "boolean";
    } else if constexpr (std::is_arithmetic_v<T>) {
        return "number";
    } else {
        return "string";
    }
}

template <typename T>
struct Innermost {
    using type = T;
};
template <typename T>
struct Innermost<std::vector<T>> : Innermost<T> {};
template <typename T>
struct Innermost<std::map<std::string, T>> : Innermost<T> {};

template <typename T>
std::string_view struct_name();
// clang-format off
#define WEIR_API_TYPES(TYPE) \
    TYPE(Status, "status") \
    TYPE(Source, "source") \
    TYPE(KindState, "kind-state") \
    TYPE(Leader, "leader") \
    TYPE(Problem, "problem") \
    TYPE(Datapath, "datapath") \
    TYPE(Hook, "hook") \
    TYPE(Map, "map") \
    TYPE(Sweep, "sweep") \
    TYPE(IpamPool, "pool") \
    TYPE(Routing, "routing") \
    TYPE(PolicyState, "policy-state") \
    TYPE(Finding, "finding") \
    TYPE(CniCount, "cni-count") \
    TYPE(FlowStats, "flow-stats") \
    TYPE(Pod, "pod") \
    TYPE(Service, "service") \
    TYPE(ServicePort, "service-port") \
    TYPE(ServiceBackend, "service-backend") \
    TYPE(Backend, "backend") \
    TYPE(Conntrack, "conntrack") \
    TYPE(Policy, "policy") \
    TYPE(PodPolicy, "pod-policy") \
    TYPE(PolicyRule, "policy-rule") \
    TYPE(ShadowedRule, "shadowed-rule") \
    TYPE(Explanation, "explanation") \
    TYPE(ExplainedEnd, "explained-end") \
    TYPE(ExplainedRule, "explained-rule") \
    TYPE(Ipam, "ipam") \
    TYPE(IpamAddress, "address") \
    TYPE(Drop, "drop") \
    TYPE(Setting, "setting") \
    TYPE(ErrorBody, "error")
// clang-format on
#define WEIR_API_NAME(type, name)          \
    template <>                            \
    std::string_view struct_name<type>() { \
        return name;                       \
    }
WEIR_API_TYPES(WEIR_API_NAME)
#undef WEIR_API_NAME

template <typename T>
std::string describe() {
    std::string text =
        fmt::format("### {}\n\n| Field | Type | Meaning |\n|---|---|---|\n", struct_name<T>());
    T::fields([&](const char* name, auto member, const char* help) {
        using Member = std::remove_reference_t<decltype(std::declval<T&>().*member)>;
        using Inner = typename Innermost<Member>::type;
        std::string_view described;
        if constexpr (Described<Inner>) described = struct_name<Inner>();
        text += fmt::format("| `{}` | {} | {} |\n", name, type_text<Member>(described), help);
    });
    return text + "\n";
}

constexpr const char* kReferenceHead = R"(# Local API

Generated by `weir-docs api`; do not edit.

The agent listens on a unix socket (default `/run/weir/agent.sock`) and speaks HTTP/1.1 with JSON. Root and members of
the configured group may call it; others get 403 with the reason. Try it:

    curl --unix-socket /run/weir/agent.sock http://weir/v1/status

| Request | Answer |
|---|---|
| `GET /v1/status` | a [status](#status) |
| `GET /v1/pods` | list of [pod](#pod) |
| `GET /v1/services` | list of [service](#service) |
| `GET /v1/backends` | list of [backend](#backend) |
| `GET /v1/conntrack` | [conntrack](#conntrack) entries, one a line (NDJSON) |
| `GET /v1/flows` | flow records, one a line (NDJSON). `follow=1` keeps the answer open; `since`, `last` and the filters of `weir flows` are parameters, with `not-` in front to exclude |
| `GET /v1/ipam` | an [ipam](#ipam) |
| `GET /v1/drops` | list of [drop](#drop) |
| `GET /v1/policies` | list of [policy](#policy) |
| `GET /v1/pod-policies` | list of [pod-policy](#pod-policy) |
| `GET /v1/shadowed-rules` | list of [shadowed-rule](#shadowed-rule) |
| `GET /v1/policy-explanation` | an [explanation](#explanation) of a flow by `from` and `to` (NAMESPACE/POD or an address; `to` also NAMESPACE/SERVICE), `port` and `protocol` |
| `GET /v1/config` | list of [setting](#setting) |
| `GET /metrics`, `/healthz`, `/readyz` | as on the metrics address |

An answer that is not 2xx has an [error](#error) as its body. A list may be long; fields are only ever added within
`/v1`, and a reader must ignore those it does not know.

A line of `/v1/flows` is `{"flow": {…}, "node_name", "time"}` or, where records are missing,
`{"lost_events": {"source", "num_events_lost"}, …}`. Names are Hubble's where the meaning is the same; `weir` holds the rest.

## Types

)";

}  // namespace

template <typename T>
json::value to_json(const T& object) {
    return encode(object);
}

template <typename T>
json::value to_json(const std::vector<T>& objects) {
    return encode(objects);
}

template <typename T>
Result<T> from_json(const json::value& value) {
    T object;
    WEIR_CHECK(decode(value, object));
    return object;
}

template <typename T>
Result<std::vector<T>> list_from_json(const json::value& value) {
    std::vector<T> objects;
    WEIR_CHECK(decode(value, objects));
    return objects;
}

#define WEIR_API_INSTANTIATE(type, name)                          \
    template json::value to_json<type>(const type&);              \
    template json::value to_json<type>(const std::vector<type>&); \
    template Result<type> from_json<type>(const json::value&);    \
    template Result<std::vector<type>> list_from_json<type>(const json::value&);
WEIR_API_TYPES(WEIR_API_INSTANTIATE)
#undef WEIR_API_INSTANTIATE

std::string api_reference() {
    std::string text = kReferenceHead;
#define WEIR_API_DESCRIBE(type, name) text += describe<type>();
    WEIR_API_TYPES(WEIR_API_DESCRIBE)
#undef WEIR_API_DESCRIBE
    text.pop_back();
    return text;
}

}  // namespace weir::api
