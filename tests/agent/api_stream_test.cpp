// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <future>

#include "agent/flow_stream.h"
#include "agent/server_fixture.h"
#include "flow/fixture.h"

namespace weir::api {
namespace {

using fixture::RawClient;
using fixture::RunningServer;
using fixture::status_of;
using namespace std::chrono_literals;

/// A hub behind a server; the hub belongs to the server's loop.
struct StreamTest : testing::Test {
    StreamTest() : server(make_router()) { server.start_unix(); }

    Router make_router() {
        Router router;
        router.get_stream("/v1/flows", [this](const Request& request) {
            return flow_stream(hub, "n1", request);
        });
        return router;
    }
    template <typename F>
    void on_loop(F function) {
        std::promise<void> done;
        boost::asio::post(server.io(), [&] {
            function();
            done.set_value();
        });
        done.get_future().wait();
    }
    void publish(uint16_t first, uint16_t count) {
        on_loop([&] {
            for (uint16_t i = 0; i < count; ++i) {
                weir_event event = flow::fixture::service_flow();
                event.sport = event.nat_sport = htons(static_cast<uint16_t>(first + i));
                hub.publish(recorder.make(event));
            }
        });
    }
    size_t readers() {
        size_t count = 0;
        on_loop([&] { count = hub.subscribers(); });
        return count;
    }
    static size_t count(const std::string& text, std::string_view what) {
        size_t found = 0;
        for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at)
            ++found;
        return found;
    }

    flow::fixture::World world;
    flow::Recorder recorder{world};
    flow::Hub hub{100};
    RunningServer server;
};

TEST_F(StreamTest, HistoryEnds) {
    publish(1000, 5);
    const std::string text = RawClient::unix_socket(server.path()).get("/v1/flows?last=2");
    EXPECT_EQ(status_of(text), 200);
    EXPECT_NE(text.find("Transfer-Encoding: chunked"), std::string::npos);
    EXPECT_EQ(count(text, "\"source_port\":"), 2U);
    EXPECT_NE(text.find("\"source_port\":1004"), std::string::npos);
    EXPECT_TRUE(text.ends_with("0\r\n\r\n"));
}

TEST_F(StreamTest, FollowSendsWhatComesAndEndsWithTheClient) {
    publish(1000, 1);
    {
        const auto client = RawClient::unix_socket(server.path());
        client.send("GET /v1/flows?follow=1&port=2000 HTTP/1.1\r\nHost: x\r\n\r\n");
        const std::string header = client.read("\r\n\r\n");
        EXPECT_EQ(status_of(header), 200);
        publish(1999, 3);
        const std::string text = client.read("\n\r\n");
        EXPECT_EQ(count(text, "\"source_port\":2000"), 1U) << text;
        EXPECT_EQ(readers(), 1U);
    }
    for (int i = 0; i < 200 && readers() != 0; ++i)
        std::this_thread::sleep_for(10ms);
    EXPECT_EQ(readers(), 0U);
}

TEST_F(StreamTest, AWrongFilterIsAnErrorNotAStream) {
    const std::string text = RawClient::unix_socket(server.path()).get("/v1/flows?port=x");
    EXPECT_EQ(status_of(text), 400);
    EXPECT_EQ(fixture::body_of(text).at("error"), "--port \"x\": expected 0 to 65535");
}

TEST_F(StreamTest, AReaderThatDoesNotReadLosesCountedAndTheLoopGoesOn) {
    const auto client = RawClient::unix_socket(server.path());
    client.send("GET /v1/flows?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    client.read("\r\n\r\n");
    constexpr size_t kRecords = 20000;
    for (size_t i = 0; i < kRecords / 100; ++i)
        publish(static_cast<uint16_t>(i), 100);
    uint64_t lost = 0;
    on_loop([&] { lost = hub.lost(); });
    ASSERT_GT(lost, 0U);
    const std::string text = client.read("num_events_lost");
    const size_t received = count(text, "\"uuid\"");
    EXPECT_GT(received, kFlowQueue);
    EXPECT_EQ(received + lost, kRecords);
}

}  // namespace
}  // namespace weir::api
