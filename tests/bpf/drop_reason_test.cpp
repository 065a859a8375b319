// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "bpf/datapath_fixture.h"
#include "weir/policy.h"

/// One way, at least, to each drop reason; what the sender is told; and a proof that none is left
/// out.
namespace weir::test {
namespace {

/// Reasons that BPF_PROG_RUN cannot bring about, each with why.
const std::map<weir_drop_reason, const char*> kUnreachable = {
    {WEIR_DROP_NONE, "not a reason"},
    {WEIR_DROP_REDIRECT_FAILED, "redirect helpers refuse nothing but wrong flags at call time"},
};

class DropReason : public DatapathTest {
  public:
    using Case = void (DropReason::*)();
    static const std::map<weir_drop_reason, Case>& cases();

  protected:
    bool v4() const { return GetParam() == Family::kIpv4; }
    Frame pod_to_pod() const {
        return {.src = world_.pod_a, .dst = world_.pod_b, .sport = 1, .dport = 2};
    }
    Frame to_vip(uint8_t proto = kTcp) const {
        return {.src = world_.pod_a, .dst = world_.vip, .proto = proto, .sport = 4000, .dport = 80};
    }
    void expect_shot(const Datapath::Run& run) { EXPECT_EQ(run.verdict, kDropped); }
    /// The refusal of a TCP SYN: RST that acknowledges it, from whom it was sent to.
    void expect_reset(const Datapath::Run& run, const Frame& asked) {
        expect_clean(run);
        const Frame got = run.frame();
        EXPECT_EQ(got.src, asked.dst);
        EXPECT_EQ(got.sport, asked.dport);
        EXPECT_EQ(got.dst, asked.src);
        EXPECT_EQ(got.dport, asked.sport);
        EXPECT_EQ(got.dst_mac, asked.src_mac);
        EXPECT_EQ(got.tcp_flags & kRst, kRst);
        if (asked.tcp_flags & kAck) {
            EXPECT_EQ(got.seq, asked.ack);
        } else {
            EXPECT_EQ(got.ack, asked.seq + 1);
        }
    }
    /// An ICMP error that quotes the packet as it was sent.
    void expect_error(const Datapath::Run& run, const Frame& asked, uint8_t type, uint8_t code) {
        expect_clean(run);
        const Frame got = run.frame();
        EXPECT_EQ(got.icmp_type, type);
        EXPECT_EQ(got.icmp_code, code);
        EXPECT_EQ(got.dst, asked.src);
        EXPECT_EQ(got.dst_mac, asked.src_mac);
        const Bytes quote = quote_of(build(asked));
        ASSERT_GE(got.payload.size(), quote.size());
        EXPECT_TRUE(std::equal(quote.begin(), quote.end(), got.payload.begin()));
    }
    void serve(std::vector<std::pair<IpAddress, uint16_t>> backends, uint8_t proto = kTcp,
               uint32_t flags = 0, uint32_t vip_flags = WEIR_VIP_CLUSTER_IP) {
        add_service(*datapath_, {.vip = world_.vip,
                                 .proto = proto,
                                 .node_port = kNodePort,
                                 .backends = std::move(backends),
                                 .local = {},
                                 .flags = flags,
                                 .vip_flags = vip_flags});
    }

    void malformed() {
        Bytes packet = build(pod_to_pod());
        packet.resize(packet.size() - 4);
        expect_shot(datapath_->run(WEIR_HOOK_POD_FROM, packet, {.ifindex = devices().pod_a}));
    }
    void unknown_l3() {
        Bytes packet = build(pod_to_pod());
        packet[12] = 0x88, packet[13] = 0xcc;
        expect_shot(datapath_->run(WEIR_HOOK_POD_FROM, packet, {.ifindex = devices().pod_a}));
    }
    void unknown_endpoint() { expect_shot(from(devices().second, pod_to_pod())); }
    void spoofed_source() {
        Frame frame = pod_to_pod();
        frame.src = world_.pod_b;
        expect_shot(from_a(frame));
    }
    Bytes arp(const IpAddress& sender, const IpAddress& target) {
        Bytes packet(14 + 28);
        std::copy(kPodAMac.begin(), kPodAMac.end(), packet.begin() + 6);
        const Bytes head = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
        std::copy(head.begin(), head.end(), packet.begin() + 12);
        std::copy(kPodAMac.begin(), kPodAMac.end(), packet.begin() + 22);
        std::copy_n(sender.bytes().begin() + 12, 4, packet.begin() + 28);
        std::copy_n(target.bytes().begin() + 12, 4, packet.begin() + 38);
        return packet;
    }
    void spoofed_arp() {
        const World w = World::of(Family::kIpv4);
        const Datapath::Source a{.ifindex = devices().pod_a};
        expect_shot(datapath_->run(WEIR_HOOK_POD_FROM, arp(w.pod_b, w.gateway), a));
        expect_shot(datapath_->run(WEIR_HOOK_POD_FROM, arp(w.pod_a, w.pod_b), a));
        const auto answered = datapath_->run(WEIR_HOOK_POD_FROM, arp(w.pod_a, w.gateway), a);
        EXPECT_EQ(answered.verdict, kRedirect);
        EXPECT_EQ(answered.packet[21], 2) << "a reply";
        EXPECT_TRUE(std::equal(kHostMac.begin(), kHostMac.end(), answered.packet.begin() + 22));
    }
    Frame solicit(const IpAddress& source, const IpAddress& target, uint8_t type = 135) {
        Frame frame{.src = source, .dst = target, .ttl = 255, .proto = kIcmp6, .icmp_type = type};
        frame.payload.assign(target.bytes().begin(), target.bytes().end());
        return frame;
    }
    void spoofed_nd() {
        const World w = World::of(Family::kIpv6);
        expect_shot(from_a(solicit(w.pod_b, w.gateway)));
        expect_shot(from_a(solicit(w.pod_a, w.pod_b)));
        expect_shot(from_a(solicit(w.pod_a, w.gateway, 134)));
        expect_shot(from_a(solicit(w.pod_a, w.gateway, 136)));
        EXPECT_EQ(from_a(solicit(w.pod_a, w.pod_a, 136)).verdict, kPassed);
        const auto answered = from_a(solicit(w.pod_a, w.gateway));
        EXPECT_EQ(answered.verdict, kRedirect);
        EXPECT_EQ(defects(answered.packet), "");
        EXPECT_EQ(answered.frame().icmp_type, 136);
        EXPECT_EQ(answered.frame().src, w.gateway);
    }
    void spoofed_local() {
        Frame frame = pod_to_pod();
        expect_shot(from_outside(frame));
        frame.src = world_.node;
        expect_shot(from_outside(frame));
        from_a(pod_to_pod());
        expect_shot(from_outside(pod_to_pod()));  // also where a flow matches
    }
    void no_endpoints() {
        serve({});
        expect_reset(from_a(to_vip()), to_vip());
        serve({}, kUdp);
        expect_error(from_a(to_vip(kUdp)), to_vip(kUdp), v4() ? 3 : 1, v4() ? 3 : 4);
        serve({}, kSctp);
        expect_error(from_a(to_vip(kSctp)), to_vip(kSctp), v4() ? 3 : 1, v4() ? 3 : 4);
        const Frame outside{
            .src = world_.client, .dst = world_.node, .sport = 9, .dport = kNodePort};
        expect_reset(from_outside(outside), outside);
        EXPECT_EQ(datapath_->counter(WEIR_COUNTER_REJECTS_SENT), 4U);
        EXPECT_EQ(datapath_->half_count(), 0U);
    }
    void no_local_endpoints() {
        serve({{world_.pod_b, 1}}, kTcp, WEIR_SVC_INTERNAL_LOCAL | WEIR_SVC_EXTERNAL_LOCAL);
        expect_shot(from_a(to_vip()));
        expect_shot(from_outside(
            {.src = world_.client, .dst = world_.node, .sport = 9, .dport = kNodePort}));
        // external traffic that starts on this node is served by any endpoint
        Frame near = to_vip();
        near.dst = world_.node;
        near.dport = kNodePort;
        EXPECT_EQ(from_a(near).verdict, kRedirect);
    }
    void service_port_unknown() {
        serve({{world_.pod_b, 1}});
        Frame frame = to_vip();
        frame.dport = 81;
        expect_reset(from_a(frame), frame);
    }
    void service_cidr_miss() {
        expect_shot(from_a(to_vip()));
        Frame host = to_vip();
        host.src = world_.router;
        expect_shot(from_host(devices().host, host));
    }
    void service_race() {
        serve({{world_.pod_b, 1}});
        weir_slot slot = *datapath_->get<weir_slot>("weir_slots", uint32_t{64});
        slot.tag = 0xfff;
        datapath_->set("weir_slots", uint32_t{64}, slot);
        expect_shot(from_a(to_vip()));
        EXPECT_EQ(datapath_->counter(WEIR_COUNTER_SERVICE_RETRY), 2U);
    }
    void torn_vip() {
        serve({{world_.pod_b, 1}});
        weir_vip_key key{world_.vip.abi(), htobe16(80), kTcp, WEIR_VIP_SERVICE};
        datapath_->set("weir_vips", key, weir_vip{1, 0, 12345});
        expect_shot(from_a(to_vip()));
    }
    void source_range() {
        serve({{world_.pod_b, 1}}, kTcp, 0, WEIR_VIP_EXTERNAL | WEIR_VIP_SOURCE_RANGES);
        expect_shot(from_a(to_vip()));
    }
    void ct_full() {
        load({.config = {}, .small_hashes = {{"weir_half4", 1}, {"weir_half6", 1}}});
        EXPECT_EQ(from_a(pod_to_pod()).verdict, kRedirect);
        Frame other = pod_to_pod();
        other.sport = 99;
        expect_shot(from_a(other));
    }
    void ct_miss() {
        serve({{world_.pod_b, 1}});
        Frame frame = to_vip();
        frame.tcp_flags = kAck;
        frame.ack = 777;
        frame.payload = Bytes(100, 'x');
        expect_reset(from_a(frame), frame);
        // a pod's answer to a connection that nobody knows of
        expect_shot(from_b(reply_to(pod_to_pod())));
    }
    void backend_gone() {
        serve({{world_.pod_b, 1}});
        from_a(to_vip());
        weir_backend gone = *datapath_->get<weir_backend>("weir_backends", uint32_t{64});
        gone.state = WEIR_BACKEND_GONE;
        datapath_->set("weir_backends", uint32_t{64}, gone);
        datapath_->for_each_flow([](weir_ct& ct) { ct.seen -= 2; });
        Frame next = to_vip();
        next.tcp_flags = kAck;
        next.ack = 5;
        expect_reset(from_a(next), next);
    }
    void snat_exhausted() {
        load({.config = [](weir_config& cfg) { cfg.snat_max = cfg.snat_min; }, .small_hashes = {}});
        Frame frame = to_vip();
        frame.dst = world_.stranger;
        EXPECT_EQ(from_a(frame).verdict, kRedirect);
        frame.sport++;
        expect_shot(from_a(frame));
        EXPECT_EQ(datapath_->counter(WEIR_COUNTER_SNAT_RETRY), uint64_t{WEIR_SNAT_TRIES});
    }
    void snat_no_address() {
        weir_device bare{};
        bare.kind = WEIR_DEV_EXTERNAL;
        datapath_->set("weir_devices", uint32_t{devices().external}, bare);
        Frame frame = to_vip();
        frame.dst = world_.stranger;
        expect_shot(from_a(frame));
    }
    void snat_reply_miss() {
        expect_shot(from_outside({.src = world_.client,
                                  .dst = world_.node,
                                  .sport = 9,
                                  .dport = 50000,
                                  .tcp_flags = kAck}));
    }
    void fragment_miss() {
        Frame frame = pod_to_pod();
        frame.proto = kUdp;
        frame.frag_id = 3;
        frame.frag_offset = 800;
        frame.payload = Bytes(16, 'x');
        expect_shot(from_a(frame));
    }
    void fragment_full() {
        load({.config = {}, .small_hashes = {{"weir_frags", 1}}});
        Frame frame = pod_to_pod();
        frame.proto = kUdp;
        frame.frag_id = 3;
        frame.more = true;
        EXPECT_EQ(from_a(frame).verdict, kRedirect);
        frame.frag_id = 4;
        expect_shot(from_a(frame));
    }
    void icmp_unrelated() {
        Frame frame{.src = world_.pod_a, .dst = world_.pod_b, .proto = v4() ? kIcmp4 : kIcmp6};
        frame.icmp_type = v4() ? 3 : 1;
        frame.payload = quote_of(build({.src = world_.pod_b, .dst = world_.pod_a, .sport = 8}));
        expect_shot(from_a(frame));
    }
    void no_route() {
        Frame frame = to_vip();
        frame.dst = IpAddress::parse(v4() ? "198.18.0.1" : "2001:db8:dead::1").value();
        expect_shot(from_a(frame));
    }
    void pod_unreachable() {
        Frame frame = pod_to_pod();
        frame.dst = IpAddress::parse(v4() ? "10.0.1.99" : "fd00:0:0:1::99").value();
        expect_error(from_a(frame), frame, v4() ? 3 : 1, v4() ? 1 : 3);
    }
    void ttl_expired() {
        serve({{world_.pod_b, 1}});
        Frame frame = to_vip();
        frame.ttl = 1;
        expect_shot(from_a(frame));
    }
    void too_big() {
        Frame frame = to_vip();
        frame.dst = IpAddress::parse(v4() ? "198.51.100.200" : "2001:db8:2:1::5").value();
        frame.payload = Bytes(1300, 'x');
        expect_error(from_a(frame), frame, v4() ? 3 : 2, v4() ? 4 : 0);
        const auto again = from_a(frame);
        EXPECT_EQ(again.frame().icmp_rest & 0xffff, 1280U) << "says what fits";
    }
    void rewrite_failed() {
        serve({{world_.pod_b, 1}}, kSctp);
        Bytes packet = build(to_vip(kSctp));
        packet.resize(packet.size() - 4);  // the checksum is missing
        packet[v4() ? 17 : 19] = v4() ? 28 : 8;
        expect_shot(datapath_->run(WEIR_HOOK_POD_FROM, packet, {.ifindex = devices().pod_a}));
    }
    void stage_missing() {
        datapath_->erase("weir_progs",
                         uint32_t{WEIR_STAGE_SLOT(1U, 0U, uint32_t{WEIR_STAGE_NEW_FLOW})});
        expect_shot(from_a(pod_to_pod()));
    }
    void internal() {
        datapath_->set("weir_pods", world_.stranger.abi(), weir_pod_ref{77});
        Frame frame = pod_to_pod();
        frame.dst = world_.stranger;
        expect_shot(from_a(frame));
    }
    void multicast() {
        Frame frame = pod_to_pod();
        frame.proto = kUdp;
        frame.dst = IpAddress::parse(v4() ? "224.0.0.251" : "ff02::fb").value();
        expect_shot(from_a(frame));
    }
    void with_overlay() {
        load({.config =
                  [](weir_config& config) {
                      config.overlay_ifindex = devices().second;
                      config.overlay_port = kOverlayPort;
                  },
              .small_hashes = {}});
    }
    /// Nobody's source, and somebody's in a packet that no tunnel brought.
    void overlay_source() {
        with_overlay();
        const Bytes packet =
            build({.src = world_.remote_pod, .dst = world_.pod_a, .sport = 1, .dport = 2});
        const Datapath::Source overlay{.ifindex = devices().second};
        expect_shot(datapath_->run(WEIR_HOOK_DEV_IN, packet, overlay));
        add_peer(*datapath_, world_.remote_pod, world_.client);
        expect_shot(datapath_->run(WEIR_HOOK_DEV_IN, packet, overlay));
        Bytes other = packet;
        other[12] = 0x88, other[13] = 0xcc;
        expect_shot(datapath_->run(WEIR_HOOK_DEV_IN, other, overlay));
        EXPECT_EQ(datapath_->drops(WEIR_DROP_OVERLAY_SOURCE), 3U);
    }
    void overlay_no_peer() {
        with_overlay();
        expect_shot(
            from_host(devices().second,
                      {.src = world_.router, .dst = world_.remote_pod, .sport = 1, .dport = 2}));
    }
    /// With the node's address it would be believed; to a pod here it keeps its own.
    void overlay_forged() {
        with_overlay();
        Frame frame = to_vip(kUdp);
        frame.dport = kOverlayPort;
        frame.dst = world_.stranger;
        expect_shot(from_a(frame));
        frame.dst = world_.pod_b;
        expect_clean(from_a(frame));
    }
    void put_under(uint32_t pod, uint16_t set) {
        auto element = *datapath_->get<weir_endpoint>("weir_endpoints", pod);
        element.policy[1] = WEIR_POLICY_WORD(set, 0, 77);
        datapath_->set("weir_endpoints", pod, element);
    }
    /// One rule, for everybody and everything, both ways.
    void deny_all(uint32_t pod) {
        constexpr uint32_t kSet = 5, kRule = 10, kCells = 20;
        weir_policy_set set{.rules = kRule, .rule_count = 1};
        for (auto& row : set.wildcard)
            row = {.first = kCells, .cells = {1, 1, 1}};
        for (uint32_t i = 0; i < 4; ++i) {
            datapath_->set(
                "weir_policy_cells", kCells + i,
                uint64_t{WEIR_POLICY_CELL(0, 0, WEIR_POLICY_NO_RULE, WEIR_POLICY_NO_RULE)});
        }
        datapath_->set("weir_policy_rules", kRule, uint64_t{WEIR_POLICY_RULE(WEIR_POLICY_DENY, 0)});
        datapath_->set("weir_policy_sets", kSet, set);
        put_under(pod, kSet);
    }
    void policy_denied_egress() {
        deny_all(1);
        expect_shot(from_a(pod_to_pod()));
    }
    void policy_denied_ingress() {
        deny_all(2);
        expect_shot(from_a(pod_to_pod()));
    }
    void policy_closed() {
        put_under(2, WEIR_POLICY_SET_CLOSED);
        expect_shot(from_a(pod_to_pod()));
    }
    /// A set that has no rule at all, which no writer leaves where an endpoint sees it.
    void policy_race() {
        datapath_->set("weir_policy_sets", 6U, weir_policy_set{});
        put_under(2, 6);
        expect_shot(from_a(pod_to_pod()));
    }
};

const std::map<weir_drop_reason, DropReason::Case>& DropReason::cases() {
    static const std::map<weir_drop_reason, Case> all = {
        {WEIR_DROP_MALFORMED, &DropReason::malformed},
        {WEIR_DROP_UNKNOWN_L3, &DropReason::unknown_l3},
        {WEIR_DROP_UNKNOWN_ENDPOINT, &DropReason::unknown_endpoint},
        {WEIR_DROP_SPOOFED_SOURCE, &DropReason::spoofed_source},
        {WEIR_DROP_SPOOFED_ARP, &DropReason::spoofed_arp},
        {WEIR_DROP_SPOOFED_ND, &DropReason::spoofed_nd},
        {WEIR_DROP_SPOOFED_LOCAL, &DropReason::spoofed_local},
        {WEIR_DROP_NO_ENDPOINTS, &DropReason::no_endpoints},
        {WEIR_DROP_NO_LOCAL_ENDPOINTS, &DropReason::no_local_endpoints},
        {WEIR_DROP_SERVICE_PORT_UNKNOWN, &DropReason::service_port_unknown},
        {WEIR_DROP_SERVICE_CIDR_MISS, &DropReason::service_cidr_miss},
        {WEIR_DROP_SERVICE_RACE, &DropReason::service_race},
        {WEIR_DROP_SOURCE_RANGE, &DropReason::source_range},
        {WEIR_DROP_CT_FULL, &DropReason::ct_full},
        {WEIR_DROP_CT_MISS, &DropReason::ct_miss},
        {WEIR_DROP_BACKEND_GONE, &DropReason::backend_gone},
        {WEIR_DROP_SNAT_EXHAUSTED, &DropReason::snat_exhausted},
        {WEIR_DROP_SNAT_NO_ADDRESS, &DropReason::snat_no_address},
        {WEIR_DROP_SNAT_REPLY_MISS, &DropReason::snat_reply_miss},
        {WEIR_DROP_FRAGMENT_MISS, &DropReason::fragment_miss},
        {WEIR_DROP_FRAGMENT_FULL, &DropReason::fragment_full},
        {WEIR_DROP_ICMP_UNRELATED, &DropReason::icmp_unrelated},
        {WEIR_DROP_NO_ROUTE, &DropReason::no_route},
        {WEIR_DROP_POD_UNREACHABLE, &DropReason::pod_unreachable},
        {WEIR_DROP_TTL_EXPIRED, &DropReason::ttl_expired},
        {WEIR_DROP_TOO_BIG, &DropReason::too_big},
        {WEIR_DROP_REWRITE_FAILED, &DropReason::rewrite_failed},
        {WEIR_DROP_STAGE_MISSING, &DropReason::stage_missing},
        {WEIR_DROP_INTERNAL, &DropReason::internal},
        {WEIR_DROP_MULTICAST, &DropReason::multicast},
        {WEIR_DROP_OVERLAY_SOURCE, &DropReason::overlay_source},
        {WEIR_DROP_OVERLAY_NO_PEER, &DropReason::overlay_no_peer},
        {WEIR_DROP_OVERLAY_FORGED, &DropReason::overlay_forged},
        {WEIR_DROP_POLICY_DENIED_EGRESS, &DropReason::policy_denied_egress},
        {WEIR_DROP_POLICY_DENIED_INGRESS, &DropReason::policy_denied_ingress},
        {WEIR_DROP_POLICY_CLOSED, &DropReason::policy_closed},
        {WEIR_DROP_POLICY_RACE, &DropReason::policy_race},
    };
    return all;
}

TEST_P(DropReason, EachIsReachedCountedAndReported) {
    for (const auto& [reason, run] : cases()) {
        SCOPED_TRACE(testing::Message() << "reason " << reason);
        SetUp();
        (this->*run)();
        EXPECT_GT(datapath_->drops(reason), 0U);
        bool reported = false;
        for (const auto& event : datapath_->events()) {
            reported |= event.type == WEIR_EVENT_DROP && event.reason == reason;
        }
        EXPECT_TRUE(reported);
    }
}

TEST_P(DropReason, TornVipIsARaceToo) {
    torn_vip();
    EXPECT_EQ(datapath_->drops(WEIR_DROP_SERVICE_RACE), 1U);
}

TEST_P(DropReason, NoneIsLeftOut) {
    for (int reason = 0; reason < WEIR_DROP_REASONS; reason++) {
        const auto r = static_cast<weir_drop_reason>(reason);
        EXPECT_EQ(cases().count(r) + kUnreachable.count(r), 1U) << "reason " << reason;
    }
}

TEST_P(DropReason, EventsOfAFloodAreLimited) {
    for (int i = 0; i < 1000; i++) {
        spoofed_source();
    }
    EXPECT_EQ(datapath_->drops(WEIR_DROP_SPOOFED_SOURCE), 1000U);
    EXPECT_LT(datapath_->events().size(), 300U);
}

INSTANTIATE_TEST_SUITE_P(, DropReason, testing::ValuesIn(kFamilies), [](const auto& info) {
    return info.param == Family::kIpv4 ? "v4" : "v6";
});

}  // namespace
}  // namespace weir::test
