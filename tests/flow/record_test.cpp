// SPDX-License-Identifier: Apache-2.0
#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "flow/fixture.h"

namespace weir::flow {
namespace {

namespace json = boost::json;
using fixture::World;

json::object json_of(const Record& record) {
    return json::parse(to_json(record, "n1")).as_object();
}

TEST(Record, ShowsWhereAPacketWentAndWhatWasAsked) {
    const World world;
    Recorder recorder(world);
    const RecordPtr record = recorder.make(fixture::service_flow());
    EXPECT_EQ(record->source.ip, fixture::ip("10.1.0.5"));
    EXPECT_EQ(record->destination.ip, fixture::ip("10.1.0.6"));
    EXPECT_EQ(record->destination.port, 8080);
    ASSERT_TRUE(record->sent_to);
    EXPECT_EQ(record->sent_to->first, fixture::ip("10.96.0.10"));
    EXPECT_EQ(record->sent_to->second, 80);
    EXPECT_FALSE(record->source_translated);
    EXPECT_EQ(summary(*record),
              "FORWARDED TCP shop/web-1:41234 -> shop/api-0:8080 via shop/api:http (new)");
}

TEST(Record, JsonIsAContract) {
    const World world;
    Recorder recorder(world);
    json::object line = json_of(*recorder.make(fixture::service_flow()));
    json::object flow = line.at("flow").as_object();
    EXPECT_EQ(flow.at("uuid").as_string().size(), 36U);
    EXPECT_TRUE(flow.at("time").as_string().ends_with("Z"));
    flow.erase("uuid");
    flow.erase("time");
    const json::value expected = json::parse(R"json({
        "verdict": "FORWARDED", "Type": "L3_L4", "node_name": "n1", "is_reply": false,
        "IP": {"source": "10.1.0.5", "destination": "10.1.0.6", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 41234, "destination_port": 8080, "flags": {"SYN": true}}},
        "source": {"namespace": "shop", "pod_name": "web-1", "labels": ["k8s:app=web"]},
        "destination": {"namespace": "shop", "pod_name": "api-0", "labels": ["k8s:app=api"]},
        "destination_service": {"name": "api", "namespace": "shop"},
        "traffic_direction": "EGRESS", "event_type": {"type": 4},
        "Summary": "FORWARDED TCP shop/web-1:41234 -> shop/api-0:8080 via shop/api:http (new)",
        "weir": {"event": "new", "hook": "pod_from", "kind": "service", "protocol": 6,
                 "sent_to": "10.96.0.10:80", "service_port": "http"}})json");
    EXPECT_EQ(json::value(flow), expected) << json::serialize(flow);
}

TEST(Record, ADropSaysWhyAndHowManyMore) {
    const World world;
    Recorder recorder(world);
    const RecordPtr record = recorder.make(fixture::dropped_packet());
    EXPECT_EQ(summary(*record),
              "DROPPED UDP 198.51.100.9:5000 -> 192.0.2.1:30053 (host) (no_endpoints: the Service "
              "has no usable endpoint; the client was answered with a refusal; 12 more like this)");
    const json::object flow = json_of(*record).at("flow").as_object();
    EXPECT_EQ(flow.at("drop_reason_desc"), "NO_ENDPOINTS");
    EXPECT_EQ(flow.at("source").at("labels").at(0), "reserved:world");
    EXPECT_EQ(flow.at("destination").at("labels").at(0), "reserved:host");
    EXPECT_EQ(flow.at("weir").at("device"), "eth0");
    EXPECT_EQ(flow.at("weir").at("bytes"), 99);
    EXPECT_FALSE(flow.contains("is_reply"));
}

TEST(Record, AReasonOfANewerProgramIsNotOutOfBounds) {
    const World world;
    Recorder recorder(world);
    weir_event event = fixture::dropped_packet();
    event.reason = 255;
    event.hook = 255;
    event.ct_kind = 255;
    const RecordPtr record = recorder.make(event);
    EXPECT_EQ(json_of(*record).at("flow").at("drop_reason_desc"), "UNKNOWN");
}

TEST(Record, IPv6AndMasquerade) {
    const World world;
    Recorder recorder(world);
    weir_event event = fixture::service_flow();
    event.family = 6;
    event.type = WEIR_EVENT_FLOW_END;
    event.reason = WEIR_END_EXPIRED;
    event.duration = 10;
    event.service = 0;
    event.endpoint[0] = event.endpoint[1] = 0;
    event.saddr = fixture::ip("fd00::5").abi();
    event.nat_saddr = fixture::ip("2001:db8::1").abi();
    event.nat_sport = htons(50000);
    event.daddr = event.nat_daddr = fixture::ip("2001:db8::99").abi();
    event.nat_dport = event.dport;
    const RecordPtr record = recorder.make(event);
    EXPECT_EQ(summary(*record),
              "FORWARDED TCP [fd00::5]:41234 -> [2001:db8::99]:80 as [2001:db8::1]:50000 "
              "(expired after 11s)");
    const json::object flow = json_of(*record).at("flow").as_object();
    EXPECT_EQ(flow.at("IP").at("ipVersion"), "IPv6");
    EXPECT_EQ(flow.at("IP").at("source_xlated"), "2001:db8::1");
}

TEST(Record, EventTimeBecomesWallClockTime) {
    const World world;
    Recorder recorder(world);
    timespec monotonic{};
    ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
    weir_event event = fixture::service_flow();
    event.time_ns = static_cast<uint64_t>(monotonic.tv_sec) * 1'000'000'000;
    const int64_t wall = int64_t{::time(nullptr)} * 1'000'000'000;
    EXPECT_NEAR(static_cast<double>(recorder.make(event)->time_ns - wall), 0, 3e9);
}

TEST(Record, LostRecordsAreLines) {
    const auto record = Recorder::make_lost(42, "ring");
    const json::object line = json_of(*record);
    EXPECT_EQ(line.at("lost_events").at("num_events_lost"), 42);
    EXPECT_EQ(line.at("lost_events").at("source"), "PERF_EVENT_RING_BUFFER");
    EXPECT_EQ(summary(*record), "LOST 42 records (the kernel's buffer was full)");
}

TEST(DropReasons, LabelsAreUniqueAndFoundAgain) {
    for (unsigned reason = 0; reason < WEIR_DROP_REASONS; ++reason) {
        const auto found = drop_by_label(drop_label(reason));
        ASSERT_TRUE(found);
        EXPECT_EQ(*found, reason);
        EXPECT_FALSE(drop_text(reason).empty());
    }
}

}  // namespace
}  // namespace weir::flow
