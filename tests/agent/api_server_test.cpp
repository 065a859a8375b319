// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <fstream>

#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/server_fixture.h"

namespace weir::api {
namespace {

using fixture::body_of;
using fixture::RawClient;
using fixture::RunningServer;
using fixture::status_of;
using namespace std::chrono_literals;
namespace json = boost::json;

Router small_router() {
    Router router;
    router.get("/v1/hello", [](const Request& request) -> Result<json::value> {
        json::object answer = {{"path", request.path}};
        for (const auto& [key, value] : request.query)
            answer[key] = value;
        if (request.caller) answer["uid"] = request.caller->uid;
        return answer;
    });
    router.get("/v1/missing", [](const Request&) -> Result<json::value> {
        return fail(Errc::kNotFound, "pod a/b does not exist");
    });
    router.post("/v1/echo", [](const Request& request) -> Result<json::value> {
        return json::value(request.body.size());
    });
    router.get_text("/healthz", Reach::kPublic,
                    [](const Request&) { return Response::text(200, "ok\n"); });
    return router;
}

TEST(ApiServer, AnswersJsonAndKeepsTheConnection) {
    RunningServer server(small_router());
    server.start_unix();
    const auto client = RawClient::unix_socket(server.path());
    client.send("GET /v1/hello?pod=a%2Fb&x=1+2 HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string first = client.read("}\n");
    EXPECT_EQ(status_of(first), 200);
    EXPECT_EQ(
        body_of(first),
        (json::value{{"path", "/v1/hello"}, {"pod", "a/b"}, {"x", "1 2"}, {"uid", ::getuid()}}));
    const std::string second = client.get("/healthz");
    EXPECT_TRUE(second.ends_with("\r\n\r\nok\n")) << second;
}

TEST(ApiServer, ErrorsHaveAStatusACodeAndWords) {
    RunningServer server(small_router());
    server.start_unix();
    const std::tuple<std::string, int, std::string, std::string> cases[] = {
        {"GET /v1/missing HTTP/1.1\r\n", 404, "not_found", "pod a/b does not exist"},
        {"GET /v2/x HTTP/1.1\r\n", 404, "not_found", "nothing at /v2/x"},
        {"DELETE /v1/hello HTTP/1.1\r\n", 405, "invalid", "/v1/hello does not take DELETE"},
        {"GET /v1/hello?a=%2 HTTP/1.1\r\n", 400, "invalid", "the query has an incomplete %-escape"},
    };
    for (const auto& [request, status, code, text] : cases) {
        const auto client = RawClient::unix_socket(server.path());
        client.send(request + "Host: x\r\nConnection: close\r\n\r\n");
        const std::string response = client.read();
        EXPECT_EQ(status_of(response), status) << response;
        EXPECT_EQ(body_of(response), (json::value{{"error", text}, {"code", code}}));
    }
}

TEST(ApiServer, GarbageIsAnsweredOnceAndClosed) {
    RunningServer server(small_router());
    server.start_unix();
    for (const std::string& garbage :
         {std::string("\x16\x03\x01\x02\x00 hello\r\n\r\n", 15), std::string("GET\r\n\r\n"),
          std::string("GET / HTTP/9.9\r\n\r\n"),
          std::string("POST /v1/echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
          std::string("GET / HTTP/1.1\r\nbad header line\r\n\r\n")}) {
        const auto client = RawClient::unix_socket(server.path());
        client.send(garbage);
        const std::string response = client.read();
        EXPECT_EQ(status_of(response), 400) << response;
    }
    EXPECT_EQ(status_of(RawClient::unix_socket(server.path()).get("/v1/hello")), 200);
}

TEST(ApiServer, SizesAreBounded) {
    RunningServer server(small_router(), {.header_bytes = 4096, .body_bytes = 1000});
    server.start_unix();
    const auto post = [&](size_t size) {
        const auto client = RawClient::unix_socket(server.path());
        client.send(
            fmt::format("POST /v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        "Content-Length: {}\r\n\r\n",
                        size));
        client.send(std::string(size, 'x'));
        return status_of(client.read());
    };
    EXPECT_EQ(post(1000), 200);
    EXPECT_EQ(post(1001), 413);
    EXPECT_EQ(post(100'000'000), 413);
    for (const size_t size : {size_t{5000}, size_t{10'000'000}}) {
        const auto client = RawClient::unix_socket(server.path());
        client.send("GET /v1/hello HTTP/1.1\r\nHost: x\r\nX: " + std::string(size, 'y'));
        EXPECT_EQ(status_of(client.read()), 431) << size;
    }
    const auto client = RawClient::unix_socket(server.path());
    client.send("POST /v1/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; ++i)
        client.send("64\r\n" + std::string(100, 'z') + "\r\n");
    EXPECT_EQ(status_of(client.read()), 413);
}

TEST(ApiServer, ASlowClientIsCutOffAndHoldsUpNobody) {
    RunningServer server(small_router(), {.request = 300ms});
    server.start_unix();
    const auto slow = RawClient::unix_socket(server.path());
    const auto begin = std::chrono::steady_clock::now();
    slow.send("GET /v1/hel");
    EXPECT_EQ(status_of(RawClient::unix_socket(server.path()).get("/v1/hello")), 200);
    // One byte now and then does not extend the time.
    for (int i = 0; i < 20; ++i) {
        slow.send("l");
        std::this_thread::sleep_for(50ms);
    }
    EXPECT_EQ(slow.read(), "");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST(ApiServer, AnIdleConnectionGivesWayToANewOne) {
    RunningServer server(small_router(), {.connections = 3});
    server.start_unix();
    std::vector<RawClient> idle;
    for (int i = 0; i < 3; ++i) {
        idle.push_back(RawClient::unix_socket(server.path()));
        idle.back().send("GET /v1/hello HTTP/1.1\r\nHost: x\r\n\r\n");
        EXPECT_EQ(status_of(idle.back().read("}\n")), 200);
    }
    EXPECT_EQ(status_of(RawClient::unix_socket(server.path()).get("/v1/hello")), 200);
    EXPECT_EQ(idle[0].read(), "") << "the one that was idle for longest";
    EXPECT_EQ(status_of(idle[2].get("/v1/hello")), 200);
    EXPECT_EQ(server.server().refusals().connections, 1U);
}

TEST(ApiServer, ConnectionsThatAreBeingAnsweredStayAndAreBounded) {
    std::vector<Responder> kept;
    std::atomic<size_t> started = 0;
    Router router = small_router();
    router.get_async("/v1/stuck", [&](const Request&, Responder responder) {
        kept.push_back(std::move(responder));
        ++started;
    });
    RunningServer server(std::move(router), {.connections = 3});
    server.start_unix();
    std::vector<RawClient> busy;
    for (size_t i = 0; i < 3; ++i) {
        busy.push_back(RawClient::unix_socket(server.path()));
        busy.back().send("GET /v1/stuck HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        while (started <= i)
            std::this_thread::sleep_for(1ms);
    }
    const std::string refused = RawClient::unix_socket(server.path()).read();
    EXPECT_EQ(status_of(refused), 503);
    EXPECT_EQ(body_of(refused).at("error"), "too many connections");
    for (const auto& responder : kept)
        responder.respond(Response::text(200, "done"));
    kept.clear();  // a responder ends before its server
    for (const auto& client : busy)
        EXPECT_EQ(status_of(client.read()), 200);
    EXPECT_EQ(status_of(RawClient::unix_socket(server.path()).get("/v1/hello")), 200);
}

/// Status of a request made by another user; negative: could not connect, with errno.
int status_as(const std::filesystem::path& path, uid_t uid, gid_t gid,
              const std::vector<gid_t>& groups) {
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgroups(groups.size(), groups.data()) != 0 || ::setgid(gid) != 0 ||
            ::setuid(uid) != 0) {
            ::_exit(250);
        }
        const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.string().copy(address.sun_path, sizeof address.sun_path - 1);
        if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
            ::_exit(errno == EACCES ? 13 : 251);
        }
        const char request[] = "GET /v1/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        (void)::write(fd, request, sizeof request - 1);
        char text[13] = {};
        for (size_t n = 0; n < 12;) {
            const ssize_t got = ::read(fd, text + n, 12 - n);
            if (got <= 0) ::_exit(252);
            n += static_cast<size_t>(got);
        }
        const int status = std::atoi(text + 9);
        ::_exit(status == 200 ? 20 : status == 403 ? 43 : 253);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(ApiServer, OnlyRootAndTheGroupMayCall) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root to become others";
    constexpr int kOk = 20;
    constexpr int kForbidden = 43;
    RunningServer server(small_router());
    server.start_unix(0666, gid_t{4242});
    struct stat socket{};
    ASSERT_EQ(::stat(server.path().c_str(), &socket), 0);
    EXPECT_EQ(socket.st_gid, 4242U);
    EXPECT_EQ(socket.st_mode & 0777U, 0666U);
    EXPECT_EQ(status_as(server.path(), 0, 0, {}), kOk);
    EXPECT_EQ(status_as(server.path(), 65534, 65534, {}), kForbidden);
    EXPECT_EQ(status_as(server.path(), 65534, 4242, {}), kOk);
    EXPECT_EQ(status_as(server.path(), 65534, 65534, {7, 4242}), kOk);
}

TEST(ApiServer, TheDefaultModeKeepsOthersFromConnecting) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root to become others";
    RunningServer server(small_router());
    server.start_unix();
    EXPECT_EQ(status_as(server.path(), 65534, 65534, {}), 13);
}

TEST(ApiServer, RefusalsSayWhoMay) {
    if (::getuid() != 0) GTEST_SKIP() << "needs root to become others";
    RunningServer server(small_router());
    server.start_unix(0666);
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
        const std::string response = RawClient::unix_socket(server.path()).get("/v1/hello");
        (void)::write(pipe[1], response.data(), response.size());
        ::_exit(0);
    }
    ::close(pipe[1]);
    std::string response(4096, '\0');
    size_t size = 0;
    while (const ssize_t n = ::read(pipe[0], response.data() + size, response.size() - size)) {
        if (n < 0) break;
        size += static_cast<size_t>(n);
    }
    ::close(pipe[0]);
    ::waitpid(child, nullptr, 0);
    response.resize(size);
    EXPECT_EQ(body_of(response).at("error"),
              "uid 65534 may not use the agent's API: root may (try sudo)");
}

TEST(ApiServer, TcpServesOnlyWhatIsPublic) {
    RunningServer server(small_router());
    const auto port = server.server().listen_tcp(IpAddress::parse("127.0.0.1").value(), 0);
    ASSERT_TRUE(port) << port.error().message();
    server.start();
    EXPECT_EQ(status_of(RawClient::tcp(*port).get("/healthz")), 200);
    const std::string hidden = RawClient::tcp(*port).get("/v1/hello");
    EXPECT_EQ(status_of(hidden), 404);
    EXPECT_EQ(body_of(hidden).at("error"),
              "nothing at /v1/hello on this address; use the agent's unix socket");
}

TEST(ApiServer, AnswersFromAnotherThreadArrive) {
    std::vector<std::thread> workers;
    Router router = small_router();
    router.post_async("/v1/work", [&](const Request& request, Responder responder) {
        workers.emplace_back([responder, body = request.body] {
            std::this_thread::sleep_for(100ms);
            responder.respond(Result<json::value>(json::value(body)));
            responder.respond(Result<json::value>(json::value("a second answer is not sent")));
        });
    });
    router.get_async("/v1/dropped", [](const Request&, const Responder&) {});
    {
        RunningServer server(std::move(router));
        server.start_unix();
        const auto first = RawClient::unix_socket(server.path());
        first.send(
            "POST /v1/work HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            "Connection: close\r\n\r\nhi");
        // The loop is free meanwhile.
        EXPECT_EQ(status_of(RawClient::unix_socket(server.path()).get("/v1/hello")), 200);
        EXPECT_EQ(body_of(first.read()), json::value("hi"));
        const std::string dropped = RawClient::unix_socket(server.path()).get("/v1/dropped");
        EXPECT_EQ(status_of(dropped), 500);
        for (auto& worker : workers)
            worker.join();
    }
}

TEST(ApiServer, AHandlerThatTakesTooLongIsAnsweredFor) {
    std::optional<Responder> kept;
    Router router;
    router.get_async("/v1/stuck",
                     [&](const Request&, Responder responder) { kept = std::move(responder); });
    RunningServer server(std::move(router), {.handler = 100ms});
    server.start_unix();
    EXPECT_EQ(status_of(RawClient::unix_socket(server.path()).get("/v1/stuck")), 503);
    kept->respond(Response::text(200, "too late"));
    kept.reset();
}

TEST(ApiServer, AStaleSocketIsReplacedALiveOneIsNot) {
    RunningServer first(small_router());
    first.start_unix();
    boost::asio::io_context io;
    Server second(io, small_router());
    const auto refused = second.listen_unix({first.path(), 0660, std::nullopt});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::kExists);
    EXPECT_TRUE(refused.error().message().ends_with("another agent is listening; stop it first"));

    const auto stale = first.path().parent_path() / "stale.sock";
    {
        const Fd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        stale.string().copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    EXPECT_TRUE(second.listen_unix({stale, 0660, std::nullopt}));
    second.stop();
    EXPECT_FALSE(std::filesystem::exists(stale));

    const auto file = first.path().parent_path() / "file";
    std::ofstream(file) << "x";
    Server third(io, small_router());
    EXPECT_FALSE(third.listen_unix({file, 0660, std::nullopt}));
    EXPECT_TRUE(std::filesystem::exists(file));
}

}  // namespace
}  // namespace weir::api
