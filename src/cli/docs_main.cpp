// SPDX-License-Identifier: Apache-2.0
// weir-docs: the generated pages of docs/. `weir-docs PAGE` prints one, `weir-docs write DIR`
// writes all, `weir-docs check DIR` fails if one of them differs from what is there.
#include <array>
#include <cstdio>
#include <filesystem>

#include <CLI/CLI.hpp>

#include "agent/api_types.h"
#include "agent/metrics.h"
#include "cli/app.h"
#include "common/fd.h"

namespace {

using namespace weir;

std::string cli_page() {
    cli::Invocation invocation;
    return cli::cli_reference(*cli::make_app(invocation));
}

struct Page {
    std::string_view name;
    std::string (*text)();
};
constexpr std::array kPages = {Page{"api", api::api_reference}, Page{"cli", cli_page},
                               Page{"drop-reasons", metrics::drop_reasons_reference},
                               Page{"metrics", metrics::metrics_reference}};

std::filesystem::path file_of(const std::filesystem::path& dir, const Page& page) {
    return dir / (std::string(page.name) + ".md");
}

int write_pages(const std::filesystem::path& dir) {
    for (const auto& page : kPages) {
        if (auto written = write_file_atomic(file_of(dir, page), page.text()); !written) {
            fmt::print(stderr, "weir-docs: {}\n", written.error().message());
            return 1;
        }
    }
    return 0;
}

int check_pages(const std::filesystem::path& dir) {
    int status = 0;
    for (const auto& page : kPages) {
        const auto present = read_file(file_of(dir, page));
        if (present && *present == page.text()) continue;
        fmt::print(stderr, "weir-docs: {} is not what the code says; run `weir-docs write {}`\n",
                   file_of(dir, page).string(), dir.string());
        status = 1;
    }
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string_view> arguments(argv + 1, argv + argc);
    if (arguments.size() == 2 && arguments[0] == "write") return write_pages(arguments[1]);
    if (arguments.size() == 2 && arguments[0] == "check") return check_pages(arguments[1]);
    for (const auto& page : kPages) {
        if (arguments.size() == 1 && arguments[0] == page.name) {
            fmt::print("{}", page.text());
            return 0;
        }
    }
    fmt::print(stderr, "usage: weir-docs api|cli|drop-reasons|metrics | write DIR | check DIR\n");
    return 2;
}
