// SPDX-License-Identifier: Apache-2.0
// weir-cni-agent: the agent's side of CNI and nothing else, in a process that tests can kill.
//   weir-cni-agent DIR CIDR[,CIDR...]     socket DIR/agent.sock, queue DIR/cni-queue, pools
//   DIR/ipam
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <poll.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "agent/cni_service.h"
#include "cni/host_wirer.h"
#include "common/log.h"

namespace weir::test {
namespace {

namespace http = boost::beast::http;
using Protocol = boost::asio::local::stream_protocol;

[[noreturn]] void die(const Error& error) {
    std::fprintf(stderr, "weir-cni-agent: %s\n", error.message().c_str());
    std::exit(1);
}

std::vector<IpPrefix> parse_cidrs(std::string_view text) {
    std::vector<IpPrefix> prefixes;
    while (!text.empty()) {
        const size_t end = std::min(text.find(','), text.size());
        prefixes.push_back(IpPrefix::parse(text.substr(0, end)).value());
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return prefixes;
}

void serve(Protocol::socket socket, agent::CniService& service) {
    boost::system::error_code failed;
    boost::beast::flat_buffer buffer;
    http::request<http::string_body> request;
    http::read(socket, buffer, request, failed);
    if (failed) return;
    const auto target = request.target();
    const agent::CniReply reply = service.handle({target.data(), target.size()}, request.body());
    http::response<http::string_body> response;
    response.result(reply.status);
    response.body() = reply.body;
    response.prepare_payload();
    response.keep_alive(false);
    http::write(socket, response, failed);
}

[[noreturn]] void watch_queue(agent::CniService& service) {
    for (;;) {
        pollfd poller{.fd = service.queue_fd(), .events = POLLIN, .revents = 0};
        ::poll(&poller, 1, 1000);
        service.drain_queue();
    }
}

[[noreturn]] void accept_all(Protocol::acceptor& acceptor, agent::CniService& service) {
    for (;;) {
        Protocol::socket socket = acceptor.accept();
        std::thread(serve, std::move(socket), std::ref(service)).detach();
    }
}

int main_of(const std::filesystem::path& dir, std::string_view cidrs) {
    log::init(log::Format::kText, log::Level::kInfo);
    auto pools = ipam::Pools::open({.dir = dir / "ipam", .rest = {}, .clock = boot_now});
    if (!pools) die(pools.error());
    if (auto set = (*pools)->set_ranges(parse_cidrs(cidrs)); !set) die(set.error());
    const auto wirer = HostWirer::open();
    auto service = agent::CniService::open(**pools, *wirer, dir / "cni-queue");
    if (!service) die(service.error());

    const auto path = dir / "agent.sock";
    ::unlink(path.c_str());
    boost::asio::io_context io;
    Protocol::acceptor acceptor(io, Protocol::endpoint(path.string()));
    // Listening before it is ready, as the agent does: an early ADD waits in the plugin.
    std::thread([&service] {
        if (auto started = (*service)->start(); !started) die(started.error());
        std::puts("ready");
        std::fflush(stdout);
        watch_queue(**service);
    }).detach();
    accept_all(acceptor, **service);
}

}  // namespace
}  // namespace weir::test

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: weir-cni-agent DIR CIDR[,CIDR...]\n");
        return 2;
    }
    return weir::test::main_of(argv[1], argv[2]);
}
