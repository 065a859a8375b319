// SPDX-License-Identifier: Apache-2.0
#include <csignal>

#include <CLI/CLI.hpp>

#include "cli/app.h"
#include "cli/exit_code.h"

int main(int argc, char** argv) {
    using namespace weir;
    // A reader that closes the pipe is told by the failed write, which print() takes for the end.
    std::signal(SIGPIPE, SIG_IGN);
    cli::Invocation invocation;
    const auto app = cli::make_app(invocation);
    try {
        app->parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app->exit(error);
        return code == 0 ? cli::kOk : cli::kUsage;
    }
    return invocation.action(invocation);
}
