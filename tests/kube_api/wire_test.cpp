// SPDX-License-Identifier: Apache-2.0
// Frames, envelopes and objects in both encodings, as "Wire formats" says.
#include "kube/api/wire.h"

#include <gmock/gmock.h>

#include "kube/api/core.pb.h"
#include "kube/api/gunzip.h"
#include "kube/api/meta.pb.h"

namespace weir::kube::api {
namespace {

using testing::HasSubstr;

std::string envelope(const std::string& kind, const std::string& raw) {
    pb::Unknown unknown;
    unknown.mutable_type_meta()->set_kind(kind);
    unknown.set_raw(raw);
    return std::string("k8s\0", 4) + unknown.SerializeAsString();
}

std::string event(const std::string& type, const std::string& object) {
    pb::WatchEvent out;
    out.set_type(type);
    out.mutable_object()->set_raw(object);
    return out.SerializeAsString();
}

std::string framed(const std::string& frame) {
    std::string out;
    for (const int shift : {24, 16, 8, 0})
        out += static_cast<char>(frame.size() >> shift & 0xff);
    return out + frame;
}

pb::Service service() {
    pb::Service out;
    out.mutable_metadata()->set_name("web");
    out.mutable_metadata()->set_namespace_("shop");
    out.mutable_metadata()->set_resource_version("42");
    out.mutable_spec()->set_cluster_ip("10.96.0.7");
    auto* port = out.mutable_spec()->add_ports();
    port->set_name("");
    port->set_protocol("TCP");
    port->set_port(80);
    port->mutable_target_port()->set_int_val(0);
    port->set_node_port(0);
    return out;
}

Result<WatchEvent> read(std::string_view frame, Kind kind = Kind::kService,
                        Encoding encoding = Encoding::kProtobuf) {
    static TextPool pool;
    return read_watch_event(encoding, kind, frame, pool);
}

TEST(Frames, AnyCutGivesTheSameFrames) {
    const std::string bytes = framed("one") + framed("") + framed(std::string(300, 'x'));
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
        FrameReader reader(Encoding::kProtobuf);
        std::vector<std::string> frames;
        for (const std::string_view part :
             {std::string_view(bytes).substr(0, cut), std::string_view(bytes).substr(cut)}) {
            reader.feed(part);
            for (auto frame = reader.next(); *frame; frame = reader.next())
                frames.emplace_back(**frame);
        }
        EXPECT_EQ(frames, (std::vector<std::string>{"one", "", std::string(300, 'x')}));
        EXPECT_EQ(reader.partial(), 0U);
    }
}

TEST(Frames, LinesInJson) {
    FrameReader reader(Encoding::kJson);
    reader.feed("{1}\n{2");
    EXPECT_EQ(**reader.next(), "{1}");
    EXPECT_FALSE(*reader.next());
    EXPECT_EQ(reader.partial(), 2U);
    reader.feed("}\n");
    EXPECT_EQ(**reader.next(), "{2}");
}

TEST(Frames, AreBounded) {
    FrameReader reader(Encoding::kProtobuf);
    reader.feed("\xff\xff\xff\xff");
    EXPECT_FALSE(reader.next());
    FrameReader lines(Encoding::kJson);
    lines.feed(std::string(FrameReader::kMaxFrame + 1, 'x'));
    EXPECT_FALSE(lines.next());
}

TEST(Wire, AnObjectOfAWatch) {
    const auto got = read(event("MODIFIED", envelope("Service", service().SerializeAsString())));
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(got->type, EventType::kModified);
    EXPECT_EQ(got->resource_version, "42");
    ASSERT_TRUE(got->item.decoded.object);
    const auto& object = std::get<model::Service>(*got->item.decoded.object);
    EXPECT_EQ(object.meta.name.to_string(), "shop/web");
    EXPECT_EQ(object.ports.at(0).target.number, 80) << "an unset targetPort is the port";
    EXPECT_EQ(object.cluster_ips.at(0).to_string(), "10.96.0.7");
}

TEST(Wire, AnObjectWithMistakesKeepsItsName) {
    pb::Service bad = service();
    bad.mutable_spec()->mutable_ports(0)->set_port(70000);
    const auto got = read(event("ADDED", envelope("Service", bad.SerializeAsString())));
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->item.decoded.object);
    EXPECT_EQ(got->item.decoded.key->to_string(), "Service shop/web");
    ASSERT_EQ(got->item.decoded.errors.size(), 1U);
    EXPECT_EQ(got->item.decoded.errors[0].path, "spec.ports[0].port");
}

TEST(Wire, MalformedBytesOfAnObjectAreToldApartFromAMalformedFrame) {
    const auto got = read(event("ADDED", envelope("Service", "\xff\xff\xff")));
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->item.decoded.key);
    EXPECT_FALSE(got->item.decoded.errors.empty());
    EXPECT_FALSE(read("\xff\xff"));
    EXPECT_FALSE(read(event("ADDED", "no envelope")));
    EXPECT_FALSE(read(event("SURPRISE", envelope("Service", ""))));
    EXPECT_FALSE(read(event("ADDED", envelope("Pod", ""))));
}

TEST(Wire, TextThatIsNotUtf8IsRefused) {
    pb::Service bad = service();
    (*bad.mutable_metadata()->mutable_annotations())["a"] = "\xff";
    const auto got = read(event("ADDED", envelope("Service", bad.SerializeAsString())));
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->item.decoded.object);
}

TEST(Wire, Bookmarks) {
    pb::ObjectHead head;
    head.mutable_metadata()->set_resource_version("77");
    auto got = read(event("BOOKMARK", envelope("Service", head.SerializeAsString())));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->resource_version, "77");
    EXPECT_FALSE(got->initial_end);
    (*head.mutable_metadata()->mutable_annotations())["k8s.io/initial-events-end"] = "true";
    got = read(event("BOOKMARK", envelope("Service", head.SerializeAsString())));
    EXPECT_TRUE(got->initial_end);
    got = read(R"({"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":
        {"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}})",
               Kind::kPod, Encoding::kJson);
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(got->resource_version, "9");
    EXPECT_TRUE(got->initial_end);
}

TEST(Wire, ErrorEvents) {
    pb::Status status;
    status.set_code(410);
    status.set_reason("Expired");
    status.mutable_details()->set_retry_after_seconds(3);
    auto got = read(event("ERROR", envelope("Status", status.SerializeAsString())));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->type, EventType::kError);
    EXPECT_EQ(got->status.code, 410);
    EXPECT_EQ(got->status.reason, "Expired");
    EXPECT_EQ(got->status.retry_after, std::chrono::seconds(3));
    got = read(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})",
               Kind::kPod, Encoding::kJson);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->status.code, 410);
}

TEST(Wire, ListsInBothEncodings) {
    pb::ObjectList list;
    list.mutable_metadata()->set_resource_version("9");
    list.mutable_metadata()->set_continue_("token");
    list.add_items(service().SerializeAsString());
    list.add_items("\xff");
    TextPool pool;
    const auto page = read_list(Encoding::kProtobuf, Kind::kService,
                                envelope("ServiceList", list.SerializeAsString()), pool);
    ASSERT_TRUE(page);
    EXPECT_EQ(page->next, "token");
    ASSERT_EQ(page->items.size(), 2U);
    EXPECT_FALSE(page->items[1].decoded.key);
    const auto json =
        read_list(Encoding::kJson, Kind::kService,
                  R"({"kind":"ServiceList","metadata":{"resourceVersion":"9"},"items":[
        {"metadata":{"name":"web","namespace":"shop","resourceVersion":"42"},
         "spec":{"clusterIP":"10.96.0.7","ports":[{"protocol":"TCP","port":80}]}}]})",
                  pool);
    ASSERT_TRUE(json) << json.error().message();
    EXPECT_EQ(json->items.at(0).decoded.object, page->items[0].decoded.object);
    EXPECT_FALSE(read_list(Encoding::kJson, Kind::kService, "{}", pool));
    EXPECT_FALSE(read_list(Encoding::kJson, Kind::kService, "<html>", pool));
    EXPECT_FALSE(read_list(Encoding::kProtobuf, Kind::kPod, envelope("ServiceList", ""), pool));
}

TEST(Wire, StatusOfAnything) {
    EXPECT_EQ(read_status(Encoding::kJson, 503, "<html>\n\xff").code, 503);
    EXPECT_EQ(read_status(Encoding::kProtobuf, 500, "").code, 500);
    const auto status =
        read_status(Encoding::kJson, 429,
                    R"({"kind":"Status","message":"slow down","details":{"retryAfterSeconds":2}})");
    EXPECT_EQ(status.message, "slow down");
    EXPECT_EQ(status.retry_after, std::chrono::seconds(2));
    EXPECT_LE(read_status(Encoding::kJson, 500, std::string(5000, 'x')).message.size(), 300U);
}

TEST(Wire, Discovery) {
    const std::string list =
        R"({"kind":"APIResourceList","resources":[{"name":"ingresses"},{"name":"servicecidrs"}]})";
    EXPECT_TRUE(*offers_resource(list, "servicecidrs"));
    EXPECT_FALSE(*offers_resource(list, "networkpolicies"));
    EXPECT_FALSE(offers_resource("{}", "servicecidrs")) << "no answer is no word on it";
}

TEST(Gunzip, RefusesDamage) {
    EXPECT_FALSE(gunzip("", 100));
    EXPECT_FALSE(gunzip("\x1f\x8b\x08", 100));
    const std::string hello(
        "\x1f\x8b\x08\0\0\0\0\0\0\3\xcbH\xcd\xc9\xc9\7\0\x86\xa6\x10\x36\5\0\0\0", 25);
    EXPECT_EQ(*gunzip(hello, 100), "hello");
    EXPECT_EQ(*gunzip(hello + hello, 100), "hellohello");
    EXPECT_FALSE(gunzip(hello, 4)) << "over the limit";
    EXPECT_FALSE(gunzip(hello.substr(0, 20), 100)) << "cut";
}

}  // namespace
}  // namespace weir::kube::api
