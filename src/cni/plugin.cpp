// SPDX-License-Identifier: Apache-2.0
#include "cni/plugin.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "cni/client.h"
#include "cni/config.h"
#include "cni/queue.h"
#include "cni/result.h"
#include "common/fd.h"

namespace weir::cni {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

// How long an ADD waits for an agent that is being restarted before the runtime is told to try
// again.
constexpr auto kAddPatience = seconds(3);
constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 50'000'000};

// Longest waits for an answer; a runtime gives up on a sandbox after minutes.
constexpr milliseconds answer_limit(Command command) {
    switch (command) {
        case Command::kAdd:
            return seconds(30);
        case Command::kGc:
            return seconds(60);
        case Command::kStatus:
            return seconds(2);
        default:
            return seconds(15);
    }
}

struct Call {
    const Environment& environment;
    const NetworkConfig& config;
    json::object request;
};

Failure unreachable(const Call& call, const NoAnswer& none) {
    const bool status = call.environment.command == Command::kStatus;
    return {status ? Code::kNotAvailable : Code::kTryLater,
            fmt::format("the Weir agent does not answer on {}: {}", call.config.socket, none.why),
            "pods that run keep their connections; see whether the agent of this node runs"};
}

Failure agent_failure(const Answer& answer) {
    json::error_code failed;
    const json::value body = json::parse(answer.body, failed);
    const json::object* object = failed ? nullptr : body.if_object();
    const json::value* code = object ? object->if_contains("code") : nullptr;
    const json::value* message = object ? object->if_contains("msg") : nullptr;
    if (code == nullptr || !code->is_int64() || message == nullptr || !message->is_string()) {
        return {Code::kIo, fmt::format("the agent answered with HTTP status {}", answer.status),
                answer.body.substr(0, 1000)};
    }
    Failure failure{static_cast<Code>(code->get_int64()), std::string(message->get_string()), {}};
    if (const json::value* details = object->if_contains("details");
        details != nullptr && details->is_string()) {
        failure.details = details->get_string();
    }
    return failure;
}

struct Refusal {
    Failure failure;
    bool retry = false;  // it had no effect, and the agent may be on its way
};

tl::expected<std::string, Refusal> ask(const Call& call) {
    const auto answer =
        exchange(call.config.socket, fmt::format("/v1/cni/{}", operation(call.environment.command)),
                 json::serialize(call.request), answer_limit(call.environment.command));
    if (!answer) {
        return tl::unexpected(Refusal{unreachable(call, answer.error()), answer.error().untouched});
    }
    if (answer->status == 200) return answer->body;
    Failure failure = agent_failure(*answer);
    const bool retry = failure.code == Code::kTryLater;
    return tl::unexpected(Refusal{std::move(failure), retry});
}

// Linux keeps namespaces on a file system of their own.
Outcome<void> judge_netns(const Environment& environment) {
    const int raw = ::open(environment.netns.c_str(), O_RDONLY | O_CLOEXEC);
    if (raw < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return refuse(Code::kNoContainer, "network namespace {} (CNI_NETNS) does not exist",
                      environment.netns);
    }
    if (raw < 0) {
        return refuse(Code::kEnvironment, "CNI_NETNS {}: {}", environment.netns,
                      std::strerror(errno));
    }
    const Fd fd(raw);
    struct statfs file_system{};
    if (::fstatfs(raw, &file_system) != 0 || file_system.f_type != NSFS_MAGIC) {
        return refuse(Code::kEnvironment, "CNI_NETNS {} is not a network namespace",
                      environment.netns);
    }
    struct stat given{};
    struct stat own{};
    if (environment.netns_override || ::fstat(raw, &given) != 0 ||
        ::stat("/proc/self/ns/net", &own) != 0) {
        return {};
    }
    if (given.st_ino == own.st_ino && given.st_dev == own.st_dev) {
        return refuse(Code::kHostNetns, "CNI_NETNS {} is the host's own network namespace",
                      environment.netns);
    }
    return {};
}

Outcome<std::string> add(const Call& call) {
    if (auto netns = judge_netns(call.environment); !netns) return tl::unexpected(netns.error());
    const auto deadline = std::chrono::steady_clock::now() + kAddPatience;
    for (;;) {
        auto answered = ask(call);
        if (answered) {
            json::error_code failed;
            const json::value result = json::parse(*answered, failed);
            if (failed || !result.is_object()) {
                return refuse(Code::kDecode, "the agent's answer is no JSON object");
            }
            return render_result(result.get_object(), call.config.version);
        }
        if (!answered.error().retry || std::chrono::steady_clock::now() > deadline) {
            return tl::unexpected(answered.error().failure);
        }
        ::nanosleep(&kPause, nullptr);
    }
}

Outcome<std::string> del(const Call& call) {
    const auto answered = ask(call);
    if (answered) return std::string();
    const Failure& failure = answered.error().failure;
    // What the agent judged is final; what it did not, it does when it is back.
    if (failure.code != Code::kTryLater) return tl::unexpected(failure);
    std::fprintf(stderr, "weir-cni: DEL %s is left in %s: %s\n",
                 call.environment.container_id.c_str(), call.config.queue_dir.c_str(),
                 failure.message.c_str());
    const bool untouched = answered.error().retry;
    auto queued = queue_del(call.config.queue_dir, call.request,
                            [&] { return untouched && ask(call).has_value(); });
    if (!queued) return tl::unexpected(queued.error());
    return std::string();
}

Outcome<std::string> plain(const Call& call) {
    auto answered = ask(call);
    if (!answered) return tl::unexpected(answered.error().failure);
    return std::string();
}

std::string asked_version(std::string_view input) {
    json::error_code failed;
    const json::value value = json::parse({input.data(), input.size()}, failed);
    const json::object* object = failed ? nullptr : value.if_object();
    const json::value* version = object ? object->if_contains("cniVersion") : nullptr;
    if (version == nullptr || !version->is_string()) return std::string(kNewestVersion);
    return std::string(version->get_string());
}

Outcome<std::string> perform(const Environment& environment, std::string_view input) {
    if (environment.command == Command::kVersion) return render_versions(asked_version(input));
    const auto config = read_config(input, environment.command);
    if (!config) return tl::unexpected(config.error());
    const Call call{environment, *config, make_request(*config, environment)};
    switch (environment.command) {
        case Command::kAdd:
            return add(call);
        case Command::kDel:
            return del(call);
        default:
            return plain(call);
    }
}

}  // namespace

Ending run(const Variables& variables, std::string_view input) {
    const auto environment = read_environment(variables);
    const auto outcome = environment ? perform(*environment, input)
                                     : Outcome<std::string>(tl::unexpected(environment.error()));
    if (!outcome) {
        return {.exit_code = 1,
                .output = render_failure(outcome.error(), version_of(input)) + "\n"};
    }
    return {.exit_code = 0, .output = outcome->empty() ? "" : *outcome + "\n"};
}

}  // namespace weir::cni
