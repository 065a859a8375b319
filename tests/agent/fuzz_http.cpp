// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes on the API socket: a real server, a socket pair's worth of input, and whatever it
// answers. Finds crashes and hangs in the parser, the router and the session.
#include <chrono>
#include <filesystem>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>

#include "agent/api_server.h"
#include "common/log.h"

namespace {

using namespace weir;

struct Target {
    Target() {
        log::init(log::Format::kText, log::Level::kError);
        api::Router router;
        router.get("/v1/a", [](const api::Request& request) -> Result<boost::json::value> {
            return boost::json::value(request.query.size());
        });
        router.post("/v1/a", [](const api::Request& request) -> Result<boost::json::value> {
            return boost::json::value(request.body.size());
        });
        api::Limits limits;
        limits.header_bytes = 2048;
        limits.body_bytes = 2048;
        limits.request = std::chrono::milliseconds(50);
        server = std::make_unique<api::Server>(io, std::move(router), limits);
        path = std::filesystem::temp_directory_path() / ("weir-fuzz-" + std::to_string(::getpid()));
        if (!server->listen_unix({path, 0600, std::nullopt})) std::abort();
    }
    boost::asio::io_context io{1};
    std::unique_ptr<api::Server> server;
    std::filesystem::path path;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static Target target;
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    target.path.string().copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
    (void)::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
    // Until the server has finished with this client: it closes, or its time for a request is over.
    for (int i = 0; i < 1000; ++i) {
        target.io.run_for(std::chrono::milliseconds(1));
        char answer[4096];
        const ssize_t n = ::recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (n == 0) break;
    }
    ::close(fd);
    return 0;
}
