// SPDX-License-Identifier: Apache-2.0
#include "kube/api/lease.h"

#include <boost/json.hpp>

#include "kube/cursor.h"
#include "kube/json_parser.h"

namespace weir::kube::api {
namespace {

namespace json = boost::json;

LeaseRecord read(const Cursor& lease) {
    const Cursor spec = lease["spec"];
    LeaseRecord record;
    record.holder = spec["holderIdentity"].string().value_or("");
    record.seconds = spec["leaseDurationSeconds"].integer(0, INT32_MAX).value_or(0);
    record.acquired = spec["acquireTime"].string().value_or("");
    record.renewed = spec["renewTime"].string().value_or("");
    record.transitions = spec["leaseTransitions"].integer(0, INT32_MAX).value_or(0);
    record.resource_version = lease["metadata"]["resourceVersion"].string().value_or("");
    return record;
}

/// A Lease has no empty times and no empty holder.
json::value text_or_null(const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
}

}  // namespace

std::string lease_path(std::string_view ns) {
    return fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", ns);
}

Result<LeaseRecord> read_lease(std::string_view body) {
    LeaseRecord record;
    std::string trouble;
    TextPool pool;
    const auto error = parse_json(body, 1, [&](const Tree& tree) {
        Report report(pool);
        record = read(Cursor(tree, 0, report));
        for (const auto& mistake : report.take())
            trouble = fmt::format("{}: {}", mistake.path, mistake.message);
    });
    if (error) trouble = error->message;
    if (trouble.empty() && record.resource_version.empty()) trouble = "no resourceVersion";
    if (!trouble.empty()) return fail(Errc::kInvalid, "not a Lease: {}", trouble);
    return record;
}

std::string lease_json(std::string_view ns, std::string_view name, const LeaseRecord& record) {
    json::object metadata{{"name", name}, {"namespace", ns}};
    if (!record.resource_version.empty()) metadata["resourceVersion"] = record.resource_version;
    return json::serialize(json::object{{"apiVersion", "coordination.k8s.io/v1"},
                                        {"kind", "Lease"},
                                        {"metadata", std::move(metadata)},
                                        {"spec",
                                         {{"holderIdentity", text_or_null(record.holder)},
                                          {"leaseDurationSeconds", record.seconds},
                                          {"acquireTime", text_or_null(record.acquired)},
                                          {"renewTime", text_or_null(record.renewed)},
                                          {"leaseTransitions", record.transitions}}}});
}

}  // namespace weir::kube::api
