// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "agent/api_server.h"
#include "common/fd.h"

namespace weir::api::fixture {

/// A blocking client that says exactly what it is told.
class RawClient {
  public:
    static RawClient unix_socket(const std::filesystem::path& path) {
        RawClient client(AF_UNIX);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.string().copy(address.sun_path, sizeof address.sun_path - 1);
        client.connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
        return client;
    }
    static RawClient tcp(uint16_t port) {
        RawClient client(AF_INET);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        client.connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
        return client;
    }

    void send(std::string_view text) const {
        while (!text.empty()) {
            const ssize_t n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
            if (n <= 0) return;  // the server closed: the test looks at what it said
            text.remove_prefix(static_cast<size_t>(n));
        }
    }
    /// Until the server closes, `until` has been read, or the time is over (then "TIMEOUT" is
    /// appended).
    std::string read(std::string_view until = {}, int timeout_ms = 10'000) const {
        std::string text;
        for (;;) {
            if (!until.empty() && text.find(until) != std::string::npos) return text;
            pollfd poll{.fd = fd_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&poll, 1, timeout_ms) != 1) return text + "TIMEOUT";
            char chunk[65536];
            const ssize_t n = ::recv(fd_.get(), chunk, sizeof chunk, 0);
            if (n <= 0) return text;
            text.append(chunk, static_cast<size_t>(n));
        }
    }
    std::string get(std::string_view path) const {
        send(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path));
        return read();
    }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    explicit RawClient(int domain) : fd_(::socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
    void connect(const sockaddr* address, socklen_t size) const {
        EXPECT_EQ(::connect(fd_.get(), address, size), 0) << strerror(errno);
    }
    Fd fd_;
};

/// A server on its own thread, with a directory of its own.
class RunningServer {
  public:
    explicit RunningServer(Router router, Limits limits = {})
        : server_(std::make_unique<Server>(io_, std::move(router), limits)) {
        char name[] = "/tmp/weir-api-XXXXXX";
        dir_ = ::mkdtemp(name);
        // Another user must be able to reach the socket for it to be refused by the server.
        std::filesystem::permissions(dir_, std::filesystem::perms(0755));
    }
    RunningServer(const RunningServer&) = delete;
    RunningServer& operator=(const RunningServer&) = delete;
    ~RunningServer() {
        boost::asio::post(io_, [this] { server_->stop(); });
        io_.stop();
        if (thread_.joinable()) thread_.join();
        server_.reset();
        std::filesystem::remove_all(dir_);
    }
    [[nodiscard]] std::filesystem::path path() const { return dir_ / "agent.sock"; }
    Server& server() { return *server_; }
    boost::asio::io_context& io() { return io_; }
    void start() {
        thread_ = std::thread([this] { io_.run(); });
    }
    void start_unix(unsigned mode = 0660, std::optional<gid_t> group = std::nullopt) {
        const auto listening = server_->listen_unix({path(), mode, group});
        ASSERT_TRUE(listening) << listening.error().message();
        start();
    }

  private:
    boost::asio::io_context io_{1};
    std::unique_ptr<Server> server_;
    std::filesystem::path dir_;
    std::thread thread_;
};

inline boost::json::value body_of(const std::string& response) {
    const size_t end = response.find("\r\n\r\n");
    if (end == std::string::npos) return nullptr;
    boost::json::stream_parser parser;
    boost::system::error_code error;
    parser.write_some(response.substr(end + 4), error);
    return error || !parser.done() ? boost::json::value(nullptr) : parser.release();
}

inline int status_of(const std::string& response) {
    return response.starts_with("HTTP/1.1 ") ? std::stoi(response.substr(9, 3)) : 0;
}

}  // namespace weir::api::fixture
