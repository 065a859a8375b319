// SPDX-License-Identifier: Apache-2.0
#include "prog/scenario.h"

#include <algorithm>
#include <cstring>
#include <random>

#include <endian.h>
#include <linux/pkt_cls.h>

namespace weir::bench {
namespace {

constexpr uint32_t kChunk = 16384;  // fits the half-open table twice, and the ring buffer in parts
constexpr uint32_t kPiece = 4096;   // fits the ring buffer

test::Mac pod_mac(unsigned pod) {
    return {0x02, 0, 0, 0, static_cast<uint8_t>(pod >> 8), static_cast<uint8_t>(pod)};
}

unsigned service_of(const Scenario& scenario, const test::Frame& frame) {
    if (scenario.kind == Scenario::Kind::kNodePort) return frame.dport - kFirstNodePort;
    return frame.dst.low32() - vip(frame.dst.family(), 0).low32();
}

/// All flows in an order that has nothing to do with what they are.
void shuffle(Scenario& scenario) {
    std::vector<uint32_t> order(scenario.frames.size());
    for (uint32_t i = 0; i < order.size(); ++i)
        order[i] = i;
    std::ranges::shuffle(order, std::mt19937(1));
    Scenario mixed = scenario;
    for (uint32_t i = 0; i < order.size(); ++i) {
        mixed.frames[i] = scenario.frames[order[i]];
        mixed.senders[i] = scenario.senders[order[i]];
    }
    scenario = std::move(mixed);
}

/// The answer to the first packet of a flow, as its receiver sends it.
test::Frame answer_to(Family family, const void* raw_key, const weir_ct& entry) {
    weir_addr ends[2];
    __be16 ports[2];
    if (family == Family::kIpv4) {
        weir_ct_key4 key;
        std::memcpy(&key, raw_key, sizeof key);
        for (unsigned i = 0; i < 2; ++i) {
            ends[i] = IpAddress::v4(be32toh(key.addr[i])).abi();
            ports[i] = key.port[i];
        }
    } else {
        weir_ct_key6 key;
        std::memcpy(&key, raw_key, sizeof key);
        std::memcpy(ends, key.addr, sizeof ends);
        std::memcpy(ports, key.port, sizeof ports);
    }
    const unsigned client = (entry.flags & WEIR_CT_ORIG_SECOND) != 0 ? 1 : 0;
    const bool translated = (entry.flags & WEIR_CT_REWRITE_ORIG) != 0;
    return {.src = IpAddress(translated ? entry.nat_addr[1] : ends[1 - client]),
            .dst = IpAddress(translated ? entry.nat_addr[0] : ends[client]),
            .sport = be16toh(translated ? entry.nat_port[1] : ports[1 - client]),
            .dport = be16toh(translated ? entry.nat_port[0] : ports[client]),
            .tcp_flags = test::kSyn | test::kAck};
}

Result<void> run_all(Node& node, Harness& harness, unsigned ifindex, uint32_t count) {
    Cost ignored;
    for (uint32_t first = 0; first < count; first += kPiece) {
        WEIR_TRY(harness.run(first, std::min(kPiece, count - first), ifindex, ignored));
        node.drain();
    }
    return {};
}

}  // namespace

unsigned Scenario::cold_lines() const {
    // A hash costs the head of a chain, and for an element that is found its key and its value.
    constexpr unsigned kNotFound = 1;
    constexpr unsigned kFound = 3;
    constexpr unsigned kService = 1;
    constexpr unsigned kSlot = 1;
    if (warm || frames.empty()) return 0;
    const bool v6 = frames.front().src.family() == Family::kIpv6;
    if (half_open == 0) {
        return kFound + (v6 ? 1 : 0);  // its longer key moves a part into a third line
    }
    // A new flow, by its destination: what is established is ruled out without a look at it.
    if (kind == Kind::kPlain) return kNotFound;
    return (kind == Kind::kNodePort ? kNotFound : 0) + kFound + kService + kSlot;
}

std::string Scenario::wrong(const test::Frame& frame, const Harness::One& one) const {
    if (one.verdict != TC_ACT_REDIRECT) return fmt::format("verdict {}", one.verdict);
    if (const std::string defects = test::defects(one.packet); !defects.empty()) return defects;
    const test::Frame out = test::decode(one.packet);
    const unsigned pod = out.dst.low32() - pod_address(out.dst.family(), 0).low32();
    const bool same_source = out.src == frame.src && out.sport == frame.sport;
    if (!same_source || pod >= kPods || out.dst_mac != pod_mac(pod) || out.ttl != frame.ttl - 1) {
        return "became " + test::describe(one.packet);
    }
    if (kind == Kind::kPlain) {
        const bool same = out.dst == frame.dst && out.dport == frame.dport;
        return same ? "" : "became " + test::describe(one.packet);
    }
    const unsigned service = service_of(*this, frame);
    const unsigned endpoint = (pod + kPods - service * kEndpointsEach % kPods) % kPods;
    const bool backend = out.dport == kFirstBackendPort + service && endpoint < kEndpointsEach;
    return backend ? "" : "no backend of its Service: " + test::describe(one.packet);
}

Scenario plain(const Node& node, Family family, uint8_t tcp_flags, uint16_t first_port) {
    Scenario scenario{.name = "", .kind = Scenario::Kind::kPlain, .frames = {}, .senders = {}};
    for (unsigned i = 0; i < BENCH_FRAMES; ++i) {
        const unsigned from = i % 16;
        const unsigned to = 16 + i / 16 % 128;
        scenario.frames.push_back({.src_mac = pod_mac(from),
                                   .src = pod_address(family, from),
                                   .dst = pod_address(family, to),
                                   .sport = static_cast<uint16_t>(first_port + i / 2048),
                                   .dport = 8080,
                                   .tcp_flags = tcp_flags});
        scenario.senders.push_back(node.pods()[from]);
    }
    shuffle(scenario);
    return scenario;
}

Scenario service(const Node& node, Family family, uint8_t tcp_flags, uint16_t first_port) {
    Scenario scenario{.name = "", .kind = Scenario::Kind::kService, .frames = {}, .senders = {}};
    for (unsigned i = 0; i < BENCH_FRAMES; ++i) {
        // the last pods are no backends of the Services that they ask: nothing is hairpinned
        const unsigned service = i % kServices;
        const unsigned from = (service * kEndpointsEach + kEndpointsEach + i % 16) % kPods;
        scenario.frames.push_back({.src_mac = pod_mac(from),
                                   .src = pod_address(family, from),
                                   .dst = vip(family, service),
                                   .sport = static_cast<uint16_t>(first_port + i / kServices),
                                   .dport = kServicePort,
                                   .tcp_flags = tcp_flags});
        scenario.senders.push_back(node.pods()[from]);
    }
    shuffle(scenario);
    return scenario;
}

Scenario node_port(const Node& node, Family family, uint8_t tcp_flags, uint16_t first_port) {
    (void)node;
    Scenario scenario{.name = "", .kind = Scenario::Kind::kNodePort, .frames = {}, .senders = {}};
    for (unsigned i = 0; i < BENCH_FRAMES; ++i) {
        scenario.frames.push_back({.src = outsider(family, i / kNodePorts),
                                   .dst = node_address(family),
                                   .sport = static_cast<uint16_t>(first_port + i / kNodePorts),
                                   .dport = static_cast<uint16_t>(kFirstNodePort + i % kNodePorts),
                                   .tcp_flags = tcp_flags});
        scenario.senders.push_back(0);
    }
    shuffle(scenario);
    return scenario;
}

Scenario few(Scenario scenario) {
    scenario.warm = true;
    scenario.frames.resize(size_t{kFewFlows} * 64);
    scenario.senders.resize(scenario.frames.size());
    for (size_t i = kFewFlows; i < scenario.frames.size(); ++i) {
        scenario.frames[i] = scenario.frames[i % kFewFlows];
        scenario.senders[i] = scenario.senders[i % kFewFlows];
    }
    return scenario;
}

Scenario datagrams(const Node& node, Family family, uint16_t client_port) {
    Scenario scenario{.name = "", .kind = Scenario::Kind::kService, .frames = {}, .senders = {}};
    scenario.one_way = true;
    for (unsigned service = 0; service < kDatagramServices; ++service) {
        const unsigned from = (service * kEndpointsEach + kEndpointsEach) % kPods;
        scenario.frames.push_back({.src_mac = pod_mac(from),
                                   .src = pod_address(family, from),
                                   .dst = vip(family, service),
                                   .proto = test::kUdp,
                                   .sport = client_port,
                                   .dport = kServicePort});
        scenario.senders.push_back(node.pods()[from]);
    }
    return few(std::move(scenario));
}

Result<void> establish(Node& node, Harness& harness, const Scenario& scenario) {
    const Fd first_hook = WEIR_TRY(node.stub(scenario.hook()));
    const Fd answer_hook = WEIR_TRY(node.stub("pod_from"));
    const unsigned ifindex =
        scenario.kind == Scenario::Kind::kNodePort ? node.external() : node.veth();
    for (size_t first = 0; first < scenario.frames.size(); first += kChunk) {
        const size_t count = std::min<size_t>(kChunk, scenario.frames.size() - first);
        const auto chunk = std::span(scenario.frames).subspan(first, count);
        std::vector<test::Frame> frames(chunk.begin(), chunk.end());
        for (test::Frame& frame : frames)
            frame.tcp_flags = test::kSyn;
        harness.set_frames(frames, std::span(scenario.senders).subspan(first, count));
        WEIR_CHECK(harness.aim_at(first_hook.get()));
        WEIR_CHECK(run_all(node, harness, ifindex, static_cast<uint32_t>(count)));
        if (scenario.one_way) continue;

        std::vector<test::Frame> answers;
        std::vector<uint32_t> senders;
        WEIR_CHECK(node.for_each_half([&](Family family, const void* key, const weir_ct& entry) {
            if ((entry.flags & WEIR_CT_REWRITE_REPLY) != 0) return;
            answers.push_back(answer_to(family, key, entry));
            senders.push_back(entry.endpoint[1]);
        }));
        harness.set_frames(answers, senders);
        if (answers.empty()) continue;
        WEIR_CHECK(harness.aim_at(answer_hook.get()));
        WEIR_CHECK(run_all(node, harness, node.veth(), static_cast<uint32_t>(answers.size())));
    }
    return {};
}

}  // namespace weir::bench
