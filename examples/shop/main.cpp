// SPDX-License-Identifier: Apache-2.0
// The shop: a server and a client small enough to read, used by the demo and by tests.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "shop/shop.h"

namespace {

int report(const weir::Error& error) {
    fmt::print(stderr, "shop: {}\n", error.message());
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("A small shop: serve as one of its pods, or put load on it");
    app.require_subcommand(1);

    shop::ServeOptions serving;
    uint64_t drain_ms = 0;
    auto* serve = app.add_subcommand("serve", "HTTP and a UDP echo on one port, both families");
    serve->add_option("--name", serving.name, "name in answers")->required();
    serve->add_option("--port", serving.port, "port");
    serve->add_option("--upstream", serving.upstream, "URL asked for each request");
    serve->add_option("--drain-ms", drain_ms, "go on serving this long after SIGTERM");
    uint64_t timeout_ms = 3000;
    serve->add_option("--timeout-ms", timeout_ms, "patience with the upstream");

    shop::LoadOptions loading;
    uint64_t pause_ms = 0;
    auto* load = app.add_subcommand("load", "requests, never retried, every failure counted");
    load->add_option("urls", loading.urls, "http://ADDRESS:PORT, used in turn")->required();
    load->add_option("--workers", loading.workers, "threads")->check(CLI::Range(1, 256));
    load->add_option("--requests", loading.requests, "how many in all; 0: until a signal");
    load->add_option("--at-least", loading.at_least,
                     "obey a signal only after so many, or a failure");
    load->add_option("--timeout-ms", timeout_ms, "patience with each step of a request");
    load->add_option("--pause-ms", pause_ms, "pause of each worker between requests");
    load->add_flag("--keep-alive", loading.keep_alive, "one connection for each worker");
    CLI11_PARSE(app, argc, argv);

    if (serve->parsed()) {
        serving.drain = std::chrono::milliseconds(drain_ms);
        serving.timeout = std::chrono::milliseconds(timeout_ms);
        const auto result = shop::serve(serving);
        return result ? 0 : report(result.error());
    }
    loading.timeout = std::chrono::milliseconds(timeout_ms);
    loading.pause = std::chrono::milliseconds(pause_ms);
    const auto result = shop::load(loading);
    if (!result) return report(result.error());
    return *result ? 0 : 1;
}
