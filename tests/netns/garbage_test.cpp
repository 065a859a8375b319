// SPDX-License-Identifier: Apache-2.0
// Garbage on the agent's API socket and metrics port: the agent stays up, people and Prometheus
// are served meanwhile, and what was refused is counted.
#include <array>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/un.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "netns/node.h"
#include "support/child.h"
#include "support/exercises.h"

namespace weir::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

constexpr size_t kManyConnections = 1000;

class Garbage : public testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        pid_ = node_.agent().pid();
    }
    /// To the unix socket or, by the parameter, the metrics port.
    [[nodiscard]] Fd connect() const {
        if (!GetParam()) {
            Fd tcp = make_socket(AF_INET, SOCK_STREAM);
            connect_to(tcp, SocketAddress("127.0.0.1", 9470));
            return tcp;
        }
        Fd unix_socket = make_socket(AF_UNIX, SOCK_STREAM);
        sockaddr_un address{.sun_family = AF_UNIX};
        (node_.dir() / "run/agent.sock").string().copy(address.sun_path, 107);
        if (::connect(unix_socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address)) {
            throw std::runtime_error("connect to the API socket");
        }
        return unix_socket;
    }
    /// All that the agent says until it closes.
    static std::string answer(const Fd& fd) {
        std::string text;
        std::array<char, 4096> chunk{};
        for (ssize_t n = 0; (n = ::recv(fd.get(), chunk.data(), chunk.size(), 0)) > 0;)
            text.append(chunk.data(), static_cast<size_t>(n));
        return text;
    }
    /// What the agent answers to these bytes; they may not all be taken.
    [[nodiscard]] std::string say(const std::string& bytes) const {
        const Fd fd = connect();
        for (size_t at = 0; at < bytes.size();) {
            const ssize_t n = ::send(fd.get(), &bytes[at], bytes.size() - at, MSG_NOSIGNAL);
            if (n <= 0) break;
            at += static_cast<size_t>(n);
        }
        ::shutdown(fd.get(), SHUT_WR);
        return answer(fd);
    }
    [[nodiscard]] double refused(const std::string& reason) const {
        return node_.metric("weir_api_refused_total{reason=\"" + reason + "\"}");
    }
    /// The same agent as ever serves people and Prometheus, quickly.
    void expect_served() {
        const auto begin = std::chrono::steady_clock::now();
        EXPECT_TRUE(node_.weir({"status"}).ok());
        EXPECT_TRUE(node_.weir({"service", "list"}).ok());
        EXPECT_EQ(node_.metric("weir_ready"), 1.0);
        EXPECT_LT(std::chrono::steady_clock::now() - begin, 8s);
        EXPECT_EQ(node_.weir_json({"status"}).at("pid").to_number<pid_t>(), pid_);
    }

    Node node_;
    pid_t pid_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Listener, Garbage, testing::Values(true, false),
                         [](const auto& is_unix) { return is_unix.param ? "Api" : "Metrics"; });

TEST_P(Garbage, NonsenseIsRefusedAndCounted) {
    std::mt19937 random(7);  // NOLINT: the same bytes every time
    for (int i = 0; i < 200; ++i) {
        std::string bytes(random() % 400 + 1, '\0');
        for (char& byte : bytes)
            byte = static_cast<char>(random());
        const auto said = say(bytes);
        EXPECT_TRUE(said.empty() || said.starts_with("HTTP/1.1 4")) << said;
    }
    EXPECT_GE(refused("malformed"), 150.0);
    const double before = refused("malformed");
    for (const char* half :
         {"GET /v1/sta",
          "POST /v1/cni/add HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{\"half\":"}) {
        EXPECT_THAT(say(half), testing::AnyOf("", StartsWith("HTTP/1.1 4")));
    }
    EXPECT_EQ(refused("malformed"), before + 2);
    EXPECT_THAT(say("GET / HTTP/1.1\r\nX: " + std::string(64 << 10, 'x') + "\r\n\r\n"),
                testing::AnyOf("", StartsWith("HTTP/1.1 431")));
    EXPECT_THAT(say("POST /v1/cni/add HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nx"),
                StartsWith("HTTP/1.1 413"));
    EXPECT_EQ(refused("too_large"), 2.0);
    EXPECT_THAT(say("GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                StartsWith("HTTP/1.1 404"));
    expect_served();
}

TEST_P(Garbage, RefusedCniRequestsAreCountedUnderTheirErrorCode) {
    if (!GetParam()) return;  // runtimes use the socket
    const auto post = [this](const std::string& operation, const std::string& body) {
        return say("POST /v1/cni/" + operation + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" +
                   "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    };
    const auto counted = [this](const std::string& command, int code) {
        return node_.metric("weir_cni_requests_total{code=\"" + std::to_string(code) +
                            "\",command=\"" + command + "\"}");
    };
    // CNI spec 1.1.0, error codes: 6 is content that cannot be decoded, 7 a bad configuration.
    EXPECT_THAT(post("add", "nonsense"), HasSubstr(R"("code":6)"));
    EXPECT_THAT(post("add", "{}"), HasSubstr(R"("code":6)"));
    EXPECT_THAT(post("gc", "{}"), HasSubstr(R"("code":7)"));
    EXPECT_THAT(post("status", "{}"), StartsWith("HTTP/1.1 200"));
    EXPECT_EQ(counted("ADD", 6), 2.0);
    EXPECT_EQ(counted("GC", 7), 1.0);
    EXPECT_EQ(counted("STATUS", 0), 1.0);
    EXPECT_EQ(counted("ADD", 1), -1.0) << "no such series";
}

TEST_P(Garbage, IdleAndSlowConnectionsDoNotKeepOthersOut) {
    const rlimit many{.rlim_cur = 4096, .rlim_max = 4096};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &many), 0);
    const auto open = [this] {
        return std::stoul(sh("ls /proc/" + std::to_string(pid_) + "/fd | wc -l"));
    };
    const size_t before = open();
    std::vector<Fd> idle;
    for (size_t i = 0; i < kManyConnections; ++i) {
        idle.push_back(connect());
        // A third says nothing, a third is slow, a third has got one answer and stays.
        if (i % 3 == 1) ::send(idle.back().get(), "GET /he", 7, MSG_NOSIGNAL);
        if (i % 3 == 2) {
            const std::string whole = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
            ::send(idle.back().get(), whole.data(), whole.size(), MSG_NOSIGNAL);
        }
    }
    for (int i = 0; i < 3; ++i)
        expect_served();
    EXPECT_GE(refused("connections"), static_cast<double>(kManyConnections - 200));
    // The agent holds no more descriptors than it may: 64 connections, and what answers need.
    EXPECT_LT(open(), before + 80);
}

TEST_P(Garbage, AnotherUserIsRefused) {
    if (!GetParam()) return;  // the metrics are for everybody
    const auto socket = (node_.dir() / "run/agent.sock").string();
    const auto ask_as_nobody = [&] {
        return run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "curl", "-sS",
                    "--max-time", "3", "--unix-socket", socket, "http://weir/v1/status"});
    };
    EXPECT_FALSE(ask_as_nobody().ok()) << "by the mode of the socket";
    sh("chmod 666 " + socket);
    EXPECT_THAT(ask_as_nobody().out, HasSubstr("uid 65534 may not use the agent's API"))
        << "by the agent itself, if somebody opens the socket";
    EXPECT_EQ(refused("permission"), 1.0);
    EXPECT_THAT(node_.agent_log(), HasSubstr("API: refused uid 65534"));
    expect_served();
}

}  // namespace
}  // namespace weir::test
