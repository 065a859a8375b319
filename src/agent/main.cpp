// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <unistd.h>

#include <fmt/core.h>

#include "agent/app.h"
#include "agent/version.h"

namespace {

constexpr int kUsage = 2;

std::vector<const char*> environment() {
    std::vector<const char*> entries;
    for (char** entry = environ; *entry != nullptr; ++entry)
        entries.push_back(*entry);
    return entries;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<const char*> arguments(argv + 1, argv + argc);
    auto start = weir::agent::parse_start(arguments, environment());
    if (!start) {
        fmt::print(stderr, "weir-agent: {}\n", start.error().message());
        return kUsage;
    }
    switch (start->action) {
        case weir::agent::StartAction::kHelp:
            fmt::print("{}", weir::agent::usage());
            return 0;
        case weir::agent::StartAction::kVersion:
            fmt::print("weir-agent {}\n", weir::agent::build_version());
            return 0;
        case weir::agent::StartAction::kRun:
            break;
    }
    weir::log::init(start->config.log_format, start->config.log_level);
    if (const auto result = weir::agent::run_agent(std::move(*start)); !result) {
        weir::log::error("{}", result.error().message());
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
