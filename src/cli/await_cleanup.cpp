// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <thread>

#include <boost/json.hpp>

#include "cli/app.h"
#include "cli/exit_code.h"
#include "flow/filter.h"
#include "kube/api/fetch.h"

namespace weir::cli {
namespace {

namespace json = boost::json;

constexpr auto kStep = std::chrono::seconds(1);

/// How far a DaemonSet is, by its own status.
struct Progress {
    int64_t wanted = 0;
    int64_t ready = 0;
    bool seen = false;  ///< by its controller, as it is now
    [[nodiscard]] bool done() const { return seen && ready == wanted; }
};

int64_t number(const json::value& object, std::string_view section, std::string_view name) {
    const json::object* root = object.if_object();
    const json::value* part = root == nullptr ? nullptr : root->if_contains(section);
    const json::object* fields = part == nullptr ? nullptr : part->if_object();
    const json::value* field = fields == nullptr ? nullptr : fields->if_contains(name);
    const int64_t* value = field == nullptr ? nullptr : field->if_int64();
    return value == nullptr ? 0 : *value;
}

Result<Progress> look(const kube::api::Access& access, const std::string& path) {
    const auto text = WEIR_TRY(kube::api::fetch(access, path));
    boost::system::error_code error;
    const json::value object = json::parse(text, error);
    if (error) return fail(Errc::kUnavailable, "{}: {}", path, error.message());
    const int64_t generation = number(object, "metadata", "generation");
    return Progress{
        .wanted = number(object, "status", "desiredNumberScheduled"),
        .ready = number(object, "status", "numberReady"),
        .seen = generation > 0 && number(object, "status", "observedGeneration") == generation};
}

std::string outcome(const Progress& progress) {
    if (progress.wanted > 0) return fmt::format("{} nodes are done\n", progress.wanted);
    return "no node was to be cleaned, as the chart's nodeSelector and affinity choose none: where "
           "Weir was installed under other values, run `weir cleanup` on the node, or install and "
           "uninstall with those\n";
}

Result<void> wait(const Invocation& invocation) {
    auto access = WEIR_TRY(kube::api::in_cluster_access());
    if (!invocation.api_servers.empty()) {
        WEIR_CHECK(kube::api::use_servers(access, invocation.api_servers));
    }
    const size_t slash = invocation.name.find('/');
    if (slash == std::string::npos) {
        return fail(Errc::kInvalid, "\"{}\" is not NAMESPACE/NAME", invocation.name);
    }
    const auto path =
        fmt::format("/apis/apps/v1/namespaces/{}/daemonsets/{}", invocation.name.substr(0, slash),
                    invocation.name.substr(slash + 1));
    const auto patience = WEIR_TRY(flow::parse_duration_ns(invocation.wait_duration));
    const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(patience);
    for (;;) {
        const auto progress = look(access, path);
        if (progress && progress->done()) {
            print(outcome(*progress));
            return {};
        }
        if (std::chrono::steady_clock::now() >= end) {
            if (!progress) return Failure(Error(progress.error()));
            return fail(Errc::kUnavailable,
                        "{} of {} nodes are done after {}: the logs of the other pods of daemonset "
                        "{} say why, or their nodes are down",
                        progress->ready, progress->wanted, invocation.wait_duration,
                        invocation.name);
        }
        std::this_thread::sleep_for(kStep);
    }
}

}  // namespace

int await_cleanup_command(const Invocation& invocation) {
    const auto done = wait(invocation);
    return done ? kOk : report(done.error());
}

}  // namespace weir::cli
